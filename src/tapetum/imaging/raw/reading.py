"""From a RAW file to its mosaic, or to a developed picture, whoever develops it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from tapetum.errors import InputError, TapetumWarning, UsageError, os_reason
from tapetum.imaging.formats import has_header, recognise
from tapetum.imaging.picture import Picture
from tapetum.imaging.raw import headerless, libraw
from tapetum.imaging.raw.develop import develop, develop_linear
from tapetum.imaging.raw.options import Development
from tapetum.imaging.raw.picture import MAX_PIXELS, RawPicture

_AS_SHOT = Development()


def read_raw(
    path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, options: Development = _AS_SHOT
) -> RawPicture:
    """The mosaic of a camera's RAW file, or of a headerless file with a geometry (beside it, or in ``options``).

    Args:
        max_pixels: larger pictures are refused before anything is decoded.
        options: white balance and geometry; the rest is of development.

    Raises:
        InputError: missing, no RAW file, without a Bayer mosaic, truncated, too large, or with levels or a white
            balance that make no picture; one line that begins with the path. NoBayer, one of them, where LibRaw could
            develop it.
        MissingExtraError: a camera's file, and rawpy is not installed.
    """
    path = Path(path)
    sidecar = _geometry(path, options)
    if sidecar is not None:
        raw = headerless.read_headerless(path, headerless.read_geometry(sidecar), max_pixels=max_pixels)
        return raw.replace(white_balance=options.white_balance) if isinstance(options.white_balance, tuple) else raw
    _check_start(path)
    return libraw.read_mosaic(path, max_pixels, options.white_balance)


def read_developed(
    path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, options: Development = _AS_SHOT
) -> Picture:
    """A RAW file as an upright sRGB picture of 16 bits, with its EXIF.

    Bayer mosaics are developed by us, all others (X-Trans, Foveon, linear DNG) by LibRaw, unless ``options.developer``
    says who.

    Raises:
        InputError, MissingExtraError: see :func:`read_raw`.
        UsageError: LibRaw shall develop a headerless file.
    """
    path = Path(path)
    if options.developer == "libraw" and _geometry(path, options) is not None:
        raise UsageError(f"{path}: LibRaw cannot develop a headerless file: leave --developer away")
    if options.developer != "libraw":
        try:
            return develop(read_raw(path, max_pixels=max_pixels, options=options), options.ev)
        except libraw.NoBayer as error:
            if options.developer == "own":
                raise
            if isinstance(error, libraw.NoColours):
                warnings.warn(f"{error}: developed as a monochrome picture", TapetumWarning, stacklevel=2)
    _check_start(path)
    return develop_linear(*libraw.read_linear(path, max_pixels, options.white_balance), options.ev)


def _geometry(path: Path, options: Development) -> Path | None:
    """Of a headerless file."""
    if has_header(_start(path)):
        return None  # a .json beside it is another program's
    return options.geometry or headerless.sidecar_of(path)


def _check_start(path: Path) -> None:
    """Refuses what is no RAW file at all with a better line than LibRaw has."""
    start = _start(path)
    try:
        kind = recognise(start, path)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if kind not in ("raw", "tiff"):
        raise InputError(f"{path}: is a {kind.upper()} picture, not a camera RAW file")
    if path.suffix.lower() == ".raw" and not has_header(start):  # LibRaw would guess a camera by the file's size
        raise InputError(f"{path}: has no header: say what it holds in {path.name}.json beside it, or by --geometry")


def _start(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(32)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None
