"""Camera files through LibRaw (rawpy): what is in them, and LibRaw's own development."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapetum.errors import InputError, os_reason, require
from tapetum.imaging.raw.colour import camera_matrix
from tapetum.imaging.raw.packing import PATTERNS
from tapetum.imaging.raw.picture import RawPicture
from tapetum.imaging.raw.shot import Shot, read_shot, with_block

if TYPE_CHECKING:
    from tapetum.imaging.raw.options import WhiteBalance

_ORIENTATIONS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's flip -> EXIF's
_COMPLAINTS = ("unexpected end of file", "data corrupted at")
_redirecting = threading.Lock()


class NoBayer(InputError):
    """A RAW file without a Bayer mosaic, which LibRaw can develop."""


class NoColours(NoBayer):
    """Of a monochrome camera; or its colour filter array cannot be read, and LibRaw takes it for such."""


def read_mosaic(path: Path, max_pixels: int, white_balance: WhiteBalance) -> RawPicture:
    """The visible area of a camera file's Bayer mosaic. An odd last row or column is left out.

    Raises:
        NoBayer: it holds something else (X-Trans, three colours per pixel, no colours).
        InputError: see :func:`opened`; or levels or a white balance that make no picture.
    """
    with opened(path, max_pixels) as raw:
        try:
            pattern = _pattern(raw)
            visible = raw.raw_image_visible
            height, width = (side // 2 * 2 for side in visible.shape)
            red, green1, blue, green2 = (float(level) for level in raw.black_level_per_channel)
            return RawPicture(
                mosaic=visible[:height, :width].copy(),  # LibRaw's memory goes with the file
                pattern=pattern,
                black=(red, green1, blue, green2),
                white=float(raw.white_level),
                white_balance=_white_balance(raw, white_balance),
                matrix=_matrix(raw),
                orientation=_ORIENTATIONS.get(raw.sizes.flip, 1),
                shot=_shot(raw, path),
            )
        except InputError as error:
            raise type(error)(f"{path}: {error}") from None


def read_linear(path: Path, max_pixels: int, white_balance: WhiteBalance) -> tuple[np.ndarray, Shot]:
    """LibRaw's development (AHD; its own for X-Trans and others): upright linear sRGB ``(H, W, 3)`` uint16.

    Raises:
        InputError: see :func:`opened`.
    """
    rawpy = require("rawpy", "raw", "reading camera RAW files")
    if isinstance(white_balance, tuple):
        red, green, blue = white_balance
        options: dict[str, Any] = {"user_wb": [red, green, blue, green]}
    else:
        options = {"use_camera_wb": white_balance == "camera"}
    with opened(path, max_pixels) as raw:
        pixels = raw.postprocess(
            gamma=(1, 1),
            no_auto_bright=True,
            output_bps=16,
            output_color=rawpy.ColorSpace.sRGB,
            highlight_mode=rawpy.HighlightMode.Clip,
            adjust_maximum_thr=0.0,  # white is the file's level, not its brightest sample
            **options,
        )
        colours = pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)
        return colours, _shot(raw, path)


@contextlib.contextmanager
def opened(path: Path, max_pixels: int) -> Iterator[Any]:
    """rawpy's object of a decoded file.

    Raises:
        InputError: no RAW file, of an unknown kind, truncated or damaged, or too large; the text begins with the path.
        MissingExtraError: rawpy is not installed.
    """
    rawpy = require("rawpy", "raw", "reading camera RAW files")
    complaints: list[str] = []
    try:
        # an open file, since LibRaw does not take every name
        with open(path, "rb") as file, rawpy.RawPy() as raw:
            with _stderr_of_libraw(complaints):
                raw.open_buffer(file)
                sizes = raw.sizes
                if sizes.raw_width * sizes.raw_height > max_pixels:
                    raise InputError(
                        f"{path}: {sizes.raw_width} x {sizes.raw_height} pixels, more than the limit of {max_pixels} "
                        "(raise it with --max-pixels)"
                    )
                raw.unpack()
            if complaints:  # it has filled the rest with something
                raise InputError(f"{path}: the RAW file is truncated or damaged ({complaints[0]})")
            yield raw
    except rawpy.LibRawFileUnsupportedError:
        version = ".".join(map(str, rawpy.libraw_version))
        raise InputError(f"{path}: not a camera RAW file that LibRaw {version} knows") from None
    except rawpy.LibRawError as error:
        told = error.args[0] if error.args else b""
        reason = complaints[0] if complaints else (told.decode() if isinstance(told, bytes) else str(told)).lower()
        raise InputError(f"{path}: the RAW file is truncated or damaged ({reason})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None


@contextlib.contextmanager
def _stderr_of_libraw(complaints: list[str]) -> Iterator[None]:
    """Collects what LibRaw's C code prints of damaged data, which it may then take as if nothing were wrong.

    What others print meanwhile is passed on.
    """
    with _redirecting, tempfile.TemporaryFile() as file:
        try:
            kept = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            file.seek(0)
            for line in file.read().splitlines(keepends=True):
                text = line.decode(errors="replace").strip().lower()
                if any(words in text for words in _COMPLAINTS):
                    complaints.append(text.split(": ", 1)[-1])
                else:
                    os.write(kept, line)
            os.close(kept)


def _pattern(raw: Any) -> str:
    try:
        cell = raw.raw_pattern
    except NotImplementedError:  # a number of LibRaw's for the array that rawpy does not know
        raise InputError("has no colour filter array that can be read") from None
    if cell is None:
        raise NoBayer("holds all colours of each pixel, not a mosaic")
    if cell.shape == (6, 6):
        raise NoBayer("an X-Trans mosaic, which cannot be packed as a Bayer mosaic")
    if cell.shape == (1, 1) and raw.num_colors == 1:
        raise NoColours("has no colour filter array that can be read")
    letters = raw.color_desc.decode(errors="replace")
    if cell.shape != (2, 2):
        raise NoBayer(f"a mosaic that repeats after {cell.shape[0]} x {cell.shape[1]} pixels, which is no Bayer mosaic")
    cell = np.roll(cell, (-raw.sizes.top_margin, -raw.sizes.left_margin), (0, 1))  # of the visible area
    pattern = "".join(letters[code] for code in cell.ravel())
    if not set(pattern) <= set("RGB"):
        raise NoBayer(f"its colours are {pattern}, not red, green and blue")
    if pattern not in PATTERNS:
        raise InputError(f"its colour filter array reads {pattern}, which is no Bayer mosaic")
    return pattern


def _white_balance(raw: Any, wanted: WhiteBalance) -> tuple[float, float, float]:
    if isinstance(wanted, tuple):
        red, green, blue = wanted
    else:
        red, green, blue = (raw.camera_whitebalance if wanted == "camera" else raw.daylight_whitebalance)[:3]
    return (red / green, 1.0, blue / green) if green > 0 else (red, green, blue)


def _matrix(raw: Any) -> np.ndarray | None:
    matrix = np.asarray(raw.rgb_xyz_matrix, np.float64)[:3]
    if np.any(matrix):
        return matrix
    daylight = np.asarray(raw.daylight_whitebalance[:3], np.float64)
    return camera_matrix(np.asarray(raw.color_matrix, np.float64)[:, :3], daylight)


def _shot(raw: Any, path: Path) -> Shot:
    """From the file's EXIF, and where that is silent from what LibRaw has found elsewhere."""
    shot = read_shot(path)
    if shot.iso is None and raw.other.iso_speed > 0:
        shot = dataclasses.replace(shot, iso=raw.other.iso_speed)
    if shot.exif is None and raw.other.shutter_speed > 0:
        shot = dataclasses.replace(shot, exposure_time=raw.other.shutter_speed)
    return with_block(shot)
