"""Headerless Bayer files: nothing but samples, told about by a small JSON or YAML file.

    {"width": 768, "height": 512, "pattern": "RGGB", "bits": 14, "black": 600, "white": 15520,
     "white_balance": [1.949, 1, 1.344]}

It lies beside the file (``night.raw.json``, ``.yaml`` or ``.yml``), or one is given for all (``--geometry``).
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.errors import InputError, os_reason, require
from tapetum.imaging.raw.packing import PATTERNS
from tapetum.imaging.raw.picture import MAX_PIXELS, RawPicture
from tapetum.imaging.raw.shot import Shot, with_block

_ENDINGS = (".json", ".yaml", ".yml")
_NUMBERS = {"black": (1, 4), "white_balance": (3,), "matrix": (9,)}  # how many each list may have


@dataclass(frozen=True)
class Geometry:
    """What a headerless file holds: unpacked samples row by row, one byte each up to 8 bits, else two.

    Attributes:
        width, height: of the mosaic, in samples.
        pattern: "RGGB", "BGGR", "GRBG" or "GBRG".
        bits: of a sample, 1 to 16.
        black: of all colours, or of R, G1, B, G2.
        white: saturation; None: the largest number of ``bits``.
        white_balance: multipliers of R, G, B.
        matrix: XYZ (D65) -> camera, nine numbers row by row; None: the colours are taken for sRGB's.
        big_endian: the high byte of a sample comes first.
        offset: bytes before the first sample.
        orientation: EXIF's 1, 3, 6 or 8.
        make, model, iso, exposure_time: of the shot, where known.

    Raises:
        InputError: impossible values.
    """

    width: int
    height: int
    pattern: str
    bits: int = 16
    black: float | tuple[float, ...] = 0.0
    white: float | None = None
    white_balance: tuple[float, ...] = (1.0, 1.0, 1.0)
    matrix: tuple[float, ...] | None = None
    big_endian: bool = False
    offset: int = 0
    orientation: int = 1
    make: str = ""
    model: str = ""
    iso: float | None = None
    exposure_time: float | None = None

    def __post_init__(self) -> None:
        if self.width < 2 or self.height < 2:
            raise InputError(f"width and height must be at least 2, got {self.width} and {self.height}")
        if self.pattern not in PATTERNS:
            raise InputError(f"pattern must be one of {', '.join(PATTERNS)}, got {self.pattern!r}")
        if not 1 <= self.bits <= 16:
            raise InputError(f"bits must be 1 to 16, got {self.bits}")
        if self.offset < 0:
            raise InputError(f"offset must be 0 or more, got {self.offset}")
        for name, value, most in (("iso", self.iso, 1e7), ("exposure_time", self.exposure_time, 1e5)):
            if value is not None and not 0 < value <= most:
                raise InputError(f"{name} must be above 0 and at most {most:g}, got {value:g}")


def read_headerless(path: str | os.PathLike[str], geometry: Geometry, *, max_pixels: int = MAX_PIXELS) -> RawPicture:
    """A headerless file's mosaic. An odd last row or column is left out.

    Raises:
        InputError: the file has not the size that the geometry asks for, or its values make no picture; the text begins
            with the path.
    """
    path = Path(path)
    if geometry.width * geometry.height > max_pixels:
        raise InputError(
            f"{path}: {geometry.width} x {geometry.height} pixels, more than the limit of {max_pixels} "
            "(raise it with --max-pixels)"
        )
    dtype = np.dtype("u1") if geometry.bits <= 8 else np.dtype(">u2" if geometry.big_endian else "<u2")
    needed = geometry.width * geometry.height * dtype.itemsize
    try:
        size = os.stat(path).st_size - geometry.offset
        if size != needed:
            raise InputError(
                f"{path}: {geometry.width} x {geometry.height} samples of {geometry.bits} bits are {needed} bytes, "
                f"but there are {size}: the file is truncated, or its geometry is another"
            )
        samples = np.fromfile(path, dtype, offset=geometry.offset)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None
    height, width = geometry.height // 2 * 2, geometry.width // 2 * 2
    mosaic = samples.reshape(geometry.height, geometry.width)[:height, :width].astype(np.uint16)
    black = geometry.black if isinstance(geometry.black, tuple) else (geometry.black,)
    red, green1, blue, green2 = black * 4 if len(black) == 1 else black
    gain_r, gain_g, gain_b = geometry.white_balance
    try:
        return RawPicture(
            mosaic=mosaic,
            pattern=geometry.pattern,
            black=(red, green1, blue, green2),
            white=float(geometry.white or 2**geometry.bits - 1),
            white_balance=(gain_r / gain_g, 1.0, gain_b / gain_g) if gain_g > 0 else (gain_r, gain_g, gain_b),
            matrix=None if geometry.matrix is None else np.reshape(geometry.matrix, (3, 3)),
            orientation=geometry.orientation,
            shot=with_block(Shot(geometry.make, geometry.model, geometry.iso, geometry.exposure_time)),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def sidecar_of(path: Path) -> Path | None:
    """The geometry file beside a headerless file, or None."""
    return next((found for e in _ENDINGS if (found := path.with_name(path.name + e)).is_file()), None)


def read_geometry(path: str | os.PathLike[str]) -> Geometry:
    """From a JSON or YAML file (YAML needs the ``raw`` extra).

    Raises:
        InputError: cannot be read, an unknown or missing field, a value of another type; the text begins with the path.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text") from None
    try:
        return _geometry(_parsed(text, path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _parsed(text: str, path: Path) -> dict[str, Any]:
    if path.suffix.lower() == ".json":
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise InputError(f"is no JSON: {error}") from None
    else:
        yaml = require("yaml", "raw", "a geometry in YAML")
        try:
            fields = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(fields, dict):
        raise InputError("must hold names and values, such as width: 768")
    return fields


def _geometry(fields: dict[str, Any]) -> Geometry:
    known = [field.name for field in dataclasses.fields(Geometry)]
    if unknown := sorted(str(name) for name in set(fields) - set(known)):
        raise InputError(f"unknown field {unknown[0]!r}: choose from {', '.join(known)}")
    for name in ("width", "height", "pattern"):
        if name not in fields:
            raise InputError(f"{name} is missing")
    return Geometry(**{name: _value(name, value) for name, value in fields.items()})


def _value(name: str, value: Any) -> Any:
    if name in ("width", "height", "bits", "offset", "orientation"):
        if type(value) is not int:
            raise InputError(f"{name} must be a whole number, got {value!r}")
    elif name in ("pattern", "make", "model"):
        if not isinstance(value, str):
            raise InputError(f"{name} must be a text, got {value!r}")
    elif name == "big_endian":
        if not isinstance(value, bool):
            raise InputError(f"{name} must be true or false, got {value!r}")
    elif isinstance(value, list) and name in _NUMBERS:
        if len(value) not in _NUMBERS[name] or not all(_is_number(item) for item in value):
            raise InputError(f"{name} must be {' or '.join(map(str, _NUMBERS[name]))} numbers, got {value!r}")
        return tuple(float(item) for item in value)
    elif value is None and name not in ("black", "white_balance"):
        return None
    elif not _is_number(value) or name in ("white_balance", "matrix"):
        raise InputError(f"{name} must be {'numbers' if name in _NUMBERS else 'a number'}, got {value!r}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
