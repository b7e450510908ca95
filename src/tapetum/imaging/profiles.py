"""ICC profiles: from the colours of a file to sRGB and back.

Profiles made of three primaries and tone curves (cameras, screens, every working space of photographers) and grey tone
curves are computed here, from the formulas of the ICC specification (ICC.1:2022, 8.3.3, 10.6 and 10.18): little CMS
interpolates 16-bit pixels in a coarse grid, which is up to twenty 8-bit levels off in the deep shadows that this
package is about. Profiles made of tables (CMYK, printers, scanners) go through little CMS in libvips.

Colours outside sRGB are clipped to it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyvips

from tapetum.imaging import vips
from tapetum.imaging.colour import linear_to_srgb, srgb_to_linear

_STRIP = 1 << 18  # pixels that are converted at a time: temporaries stay within a few MB
_CODES = np.linspace(0.0, 1.0, 65536)

# Linear sRGB to XYZ as profiles have it: adapted to D50 (Bradford)
_SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)


@dataclass(frozen=True)
class Tables:
    """A profile that only little CMS understands; its colour space as ICC calls it: "RGB ", "GRAY", "CMYK"."""

    icc: bytes
    space: str
    two_way: bool  # whether colours can be converted into it, too


@dataclass(frozen=True)
class Curves:
    """A profile of tone curves: ``decode`` (C, 65536) to linear light; ``to_srgb`` (3, 3) for RGB, None for grey."""

    decode: np.ndarray
    to_srgb: np.ndarray | None

    @property
    def space(self) -> str:
        return "GRAY" if self.to_srgb is None else "RGB "

    @property
    def is_srgb(self) -> bool:
        """Whether converting would change nothing that can be seen: within half an 8-bit level."""
        if self.to_srgb is not None and np.abs(self.to_srgb - np.eye(3)).max() > 0.002:
            return False
        return bool(np.abs(linear_to_srgb(self.decode) - _CODES).max() < 0.5 / 255)


Profile = Curves | Tables


@lru_cache(maxsize=16)
def parse(icc: bytes) -> Profile:
    """A profile from its bytes.

    Raises:
        ValueError: they are none; says why.
    """
    if len(icc) < 132 or icc[36:40] != b"acsp":
        raise ValueError("no ICC header")
    space = icc[16:20].decode("latin-1")
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 200 or len(icc) < 132 + 12 * count:
        raise ValueError("its table of tags is cut off")
    tags = {}
    for i in range(count):
        name, offset, size = struct.unpack_from(">4sII", icc, 132 + 12 * i)
        if offset + size > len(icc) or size < 8:
            raise ValueError("a tag lies outside the profile")
        tags[name] = icc[offset : offset + size]
    if b"A2B0" in tags:
        return Tables(icc, space, two_way=b"B2A0" in tags)
    if icc[20:24] != b"XYZ ":
        raise ValueError("it has no tables")
    try:
        if space == "GRAY" and b"kTRC" in tags:
            return Curves(_read_curve(tags[b"kTRC"])[None], None)
        if space == "RGB " and {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"} <= tags.keys():
            primaries = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
            to_xyz = np.array(primaries).T / 65536
            if abs(np.linalg.det(to_xyz)) < 1e-6:
                raise ValueError("its primaries span no colour space")
            decode = np.stack([_read_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
            return Curves(decode, np.linalg.inv(_SRGB_TO_XYZ) @ to_xyz)
    except struct.error:
        raise ValueError("a tag is cut off") from None
    raise ValueError("it says no colours")


def _read_curve(tag: bytes) -> np.ndarray:
    """A tone curve (10.6 curveType, 10.18 parametricCurveType) at 65536 codes, from device value to linear light."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return _CODES.copy()
        values = np.array(struct.unpack_from(f">{count}H", tag, 12), np.float64)
        if count == 1:
            return _CODES ** (values[0] / 256)
        return np.interp(_CODES, np.linspace(0, 1, count), np.maximum.accumulate(values) / 65535)
    if tag[:4] != b"para":
        raise ValueError(f"unknown kind of tone curve {tag[:4]!r}")
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind > 4:
        raise ValueError(f"unknown parametric curve {kind}")
    number = (1, 3, 4, 5, 7)[kind]
    values = np.array(struct.unpack_from(f">{number}i", tag, 12)) / 65536
    gamma, a, b, c, d, e, f = _complete_parameters(kind, values.tolist())
    curve = np.where(d <= _CODES, np.maximum(a * _CODES + b, 0) ** gamma + e, c * _CODES + f)
    return np.clip(np.maximum.accumulate(curve), 0, 1)


def _complete_parameters(kind: int, values: list[float]) -> list[float]:
    """Every kind as kind 4: Y = (a X + b)^g + e for X >= d, else c X + f."""
    if kind == 0:
        return [values[0], 1, 0, 0, 0, 0, 0]
    if kind in (1, 2):
        gamma, a, b = values[:3]
        floor = values[3] if kind == 2 else 0.0
        return [gamma, a, b, 0, -b / a if a else 0.0, floor, floor]
    return values if kind == 4 else [*values, 0, 0]


def to_srgb(pixels: np.ndarray, profile: Curves) -> np.ndarray:
    """Pixels in the profile's colours to sRGB: ``(H, W, C)`` to the same, uint8 to uint16, other dtypes stay.

    Floats pass at the precision of 16 bits, clipped to 0..1.
    """
    out = np.empty(pixels.shape, np.uint16 if pixels.dtype == np.uint8 else pixels.dtype)
    encode = _encoder(srgb_to_linear(_CODES)[None].repeat(pixels.shape[2], axis=0))
    _convert(pixels, out, profile.decode, profile.to_srgb, encode)
    return out


def from_srgb(pixels: np.ndarray, profile: Curves) -> np.ndarray:
    """The inverse of :func:`to_srgb`; every dtype stays."""
    out = np.empty_like(pixels)
    decode = srgb_to_linear(_CODES)[None].repeat(pixels.shape[2], axis=0)
    matrix = None if profile.to_srgb is None else np.linalg.inv(profile.to_srgb)
    _convert(pixels, out, decode, matrix, _encoder(profile.decode))
    return out


def _encoder(decode: np.ndarray) -> np.ndarray:
    """The inverse of tone curves, (C, 65536), sampled over the square root of linear light: fine where shadows are."""
    return np.stack([np.interp(_CODES**2, curve, _CODES) for curve in decode])


def _convert(
    pixels: np.ndarray, out: np.ndarray, decode: np.ndarray, matrix: np.ndarray | None, encode: np.ndarray
) -> None:
    if pixels.dtype == np.uint8:
        decode = decode[:, ::257]
    decode = np.ascontiguousarray(decode, dtype=np.float32)
    scale = np.iinfo(out.dtype).max if out.dtype.kind == "u" else 1.0
    encode = encode * scale
    encode = (np.rint(encode) if out.dtype.kind == "u" else encode).astype(out.dtype)
    rows = max(1, _STRIP // pixels.shape[1])
    for top in range(0, pixels.shape[0], rows):
        strip = pixels[top : top + rows]
        if strip.dtype.kind == "f":
            strip = np.rint(np.clip(strip, 0, 1) * 65535).astype(np.uint16)
        linear = np.stack([decode[c][strip[..., c]] for c in range(strip.shape[2])], axis=-1)
        if matrix is not None:
            linear = linear @ matrix.T.astype(np.float32)
        index = np.rint(np.sqrt(np.clip(linear, 0, 1)) * 65535).astype(np.uint16)
        for c in range(strip.shape[2]):
            out[top : top + rows, :, c] = encode[c][index[..., c]]


def tables_to_srgb(image: pyvips.Image, profile: Tables | None) -> pyvips.Image:
    """By little CMS, 16 bits wide. Without a profile, CMYK is taken as libvips' own CMYK. Raises pyvips.Error."""
    image = vips.with_profile(image, profile.icc if profile else None)
    source = {} if profile else {"input_profile": "cmyk"}
    lab = image.icc_import(embedded=profile is not None, intent="relative", black_point_compensation=True, **source)
    return lab.icc_export(output_profile="srgb", intent="relative", black_point_compensation=True, depth=16)


def tables_from_srgb(image: pyvips.Image, profile: Tables) -> pyvips.Image:
    """The inverse of :func:`tables_to_srgb` for grey and RGB profiles. Raises pyvips.Error."""
    lab = image.icc_import(input_profile="srgb", embedded=False, intent="relative", black_point_compensation=True)
    lab = vips.with_profile(lab, profile.icc)
    return lab.icc_export(intent="relative", black_point_compensation=True, depth=16)
