"""DNG out: the mosaic as it was, linear camera colours, or a finished picture's linear light.

A DNG is a TIFF with some tags of its own (Adobe, Digital Negative Specification 1.4). Written here: one directory, one
uncompressed strip of 16-bit samples; no library is needed. Other programs read it as any camera's file, and the white
balance and exposure stay adjustable.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tapetum import __version__
from tapetum.errors import InputError, TapetumWarning, os_reason
from tapetum.imaging import exif
from tapetum.imaging.colour import srgb_to_linear
from tapetum.imaging.exif import Entry
from tapetum.imaging.picture import Picture
from tapetum.imaging.raw.colour import SRGB_TO_XYZ
from tapetum.imaging.raw.develop import camera_strips
from tapetum.imaging.raw.entries import longs, octets, rationals, shorts, text
from tapetum.imaging.raw.packing import channel_sites
from tapetum.imaging.raw.picture import FULL_SCALE, RawPicture
from tapetum.imaging.raw.shot import Shot
from tapetum.imaging.replacing import replacing

# Demosaiced light is stored above a pedestal, so that noise below black survives. A small one: LibRaw 0.22 takes white
# for 65535 above black in files of three colours, so it shows them darker by this share, 0.8 %.
LINEAR_BLACK = 512
_CFA, _LINEAR = 32803, 34892  # photometric interpretations
_D65 = 21
_LARGEST = (1 << 32) - (1 << 20)  # offsets in a TIFF have 32 bits
_STRIP_ROWS = 256
_UNKNOWN = "unknown"


def write_mosaic(raw: RawPicture, path: str | os.PathLike[str], *, ev: float = 0.0) -> None:
    """The mosaic as a DNG: the same samples, levels, colours, orientation and EXIF.

    Args:
        ev: stops that other programs are told to brighten by (BaselineExposure); samples stay as they are.

    Raises:
        InputError: samples that are no integers of 16 bits, or the file cannot be written.
    """
    mosaic = raw.mosaic
    if mosaic.dtype != np.uint16:
        whole = np.rint(np.clip(mosaic, 0, FULL_SCALE))
        if not np.array_equal(whole, mosaic):
            raise InputError(f"{path}: a DNG of the mosaic holds integers of 16 bits: use with_packed(packed())")
        mosaic = whole.astype(np.uint16)
    sites = {site: channel for channel, site in enumerate(channel_sites(raw.pattern))}
    cell = [sites[row, column] for row in (0, 1) for column in (0, 1)]
    tags = [
        *_picture_tags(raw.width, raw.height, 1, _CFA, raw.orientation),
        shorts(33421, 2, 2),
        octets(33422, *(("R", "G", "B").index(colour) for colour in raw.pattern)),
        octets(50710, 0, 1, 2),
        shorts(50711, 1),
        shorts(50713, 2, 2),
        rationals(50714, *(raw.black[channel] for channel in cell)),
        longs(50717, round(raw.white)),
        *_colour_tags(raw.shot, raw.matrix, raw.white_balance, ev),
    ]
    _write(Path(path), tags, raw.shot.exif, (mosaic,))


def write_linear(raw: RawPicture, path: str | os.PathLike[str], *, ev: float = 0.0) -> None:
    """Demosaiced camera colours as a linear DNG: black 512, white 65535, not white-balanced, nothing else clipped.

    Args:
        ev: see :func:`write_mosaic`.

    Raises:
        InputError: the file cannot be written.
    """
    tags = [
        *_picture_tags(raw.width, raw.height, 3, _LINEAR, raw.orientation),
        *_linear_levels(LINEAR_BLACK),
        *_colour_tags(raw.shot, raw.matrix, raw.white_balance, ev),
    ]
    _write(Path(path), tags, raw.shot.exif, linear_strips(raw))


def linear_strips(raw: RawPicture) -> Iterator[np.ndarray]:
    """The samples of :func:`write_linear`, ``(rows, W, 3)`` uint16 at a time."""
    gains = np.asarray(raw.white_balance, np.float32)
    back = np.float32(FULL_SCALE - LINEAR_BLACK) / gains
    for _, strip in camera_strips(raw, gains, clip=False):  # demosaiced in balance, where edges have one colour
        strip *= back
        strip += np.float32(LINEAR_BLACK + 0.5)
        yield np.clip(strip, 0, FULL_SCALE, out=strip).astype(np.uint16)


def write_picture_as_dng(picture: Picture, path: Path) -> None:
    """A finished picture as a linear DNG: its linear light in sRGB's primaries, 0..65535. Alpha is dropped (warning).

    Raises:
        InputError: the file cannot be written.
    """
    if picture.alpha is not None:
        warnings.warn(f"{path}: DNG has no transparency: it is dropped", TapetumWarning, stacklevel=3)
    block = picture.metadata.get("exif-data")
    told = exif.values(block) if block else {}
    shot = Shot(make=str(told.get(271, "")), model=str(told.get(272, "")))
    tags = [
        *_picture_tags(picture.width, picture.height, 3, _LINEAR, 1),
        *_linear_levels(0),
        *_colour_tags(shot, None, (1.0, 1.0, 1.0), 0.0),
    ]
    _write(path, tags, block, _linear_light(picture.pixels))


def _linear_light(pixels: np.ndarray) -> Iterator[np.ndarray]:
    table = None
    if pixels.dtype.kind == "u":
        top = np.iinfo(pixels.dtype).max
        table = np.rint(srgb_to_linear(np.arange(top + 1) / top) * FULL_SCALE).astype(np.uint16)
    for top in range(0, len(pixels), _STRIP_ROWS):
        rows = pixels[top : top + _STRIP_ROWS]
        if table is None:
            rows = np.rint(srgb_to_linear(np.clip(rows, 0, 1)) * FULL_SCALE).astype(np.uint16)
        else:
            rows = table[rows]
        yield np.repeat(rows, 3, axis=2) if rows.shape[2] == 1 else rows


def _picture_tags(width: int, height: int, channels: int, interpretation: int, orientation: int) -> list[Entry]:
    return [
        longs(254, 0),
        longs(256, width),
        longs(257, height),
        shorts(258, *(16,) * channels),
        shorts(259, 1),
        shorts(262, interpretation),
        shorts(274, orientation),
        shorts(277, channels),
        longs(278, height),
        longs(279, 2 * channels * width * height),
        shorts(284, 1),
        text(305, f"tapetum {__version__}"),
        octets(50706, 1, 4, 0, 0),
        octets(50707, 1, 1, 0, 0),
    ]


def _linear_levels(black: int) -> list[Entry]:
    return [shorts(50713, 1, 1), rationals(50714, *(black,) * 3), longs(50717, *(FULL_SCALE,) * 3)]


def _colour_tags(shot: Shot, matrix: np.ndarray | None, gains: Sequence[float], ev: float) -> list[Entry]:
    model = " ".join(dict.fromkeys(f"{shot.make} {shot.model}".split())) or _UNKNOWN
    xyz_to_camera = np.linalg.inv(SRGB_TO_XYZ) if matrix is None else matrix
    return [
        text(271, shot.make or _UNKNOWN),  # LibRaw takes a file without these for none of a camera
        text(272, shot.model or _UNKNOWN),
        text(50708, model),
        rationals(50721, *xyz_to_camera.ravel(), signed=True),
        rationals(50728, *(1 / gain for gain in gains)),
        rationals(50730, ev, signed=True),
        shorts(50778, _D65),
    ]


def _write(path: Path, tags: list[Entry], exif_block: bytes | None, strips: Iterable[np.ndarray]) -> None:
    size = next(struct.unpack("<I", tag.data)[0] for tag in tags if tag.tag == 279)
    if size > _LARGEST:
        raise InputError(f"{path}: more than a DNG can hold (4 GB)")
    start = -len(exif.head([*tags, longs(273, 0)], exif_block)) % 16
    start += len(exif.head([*tags, longs(273, 0)], exif_block))
    head = exif.head([*tags, longs(273, start)], exif_block)
    try:
        with replacing(path) as descriptor, open(descriptor, "wb", closefd=False) as file:
            file.write(head.ljust(start, b"\0"))
            for strip in strips:
                file.write(np.ascontiguousarray(strip, "<u2").data)
    except OSError as error:
        reason = f"there is no folder {path.parent}" if isinstance(error, FileNotFoundError) else os_reason(error)
        raise InputError(f"{path}: cannot be written: {reason}") from None
