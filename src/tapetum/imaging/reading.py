"""From a file to a :class:`Picture`. The header is judged before a pixel is decoded."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from tapetum.errors import InputError, TapetumWarning
from tapetum.imaging import profiles, vips
from tapetum.imaging.formats import recognise
from tapetum.imaging.picture import Picture

MAX_PIXELS = 200_000_000

_KEPT = (
    "exif-",
    "xmp-data",
    "iptc-data",
    "photoshop-data",
    "png-comment-",
    "image-description",
    "jpeg-chroma-subsample",
)
_DROPPED = ("exif-ifd1-", "exif-ifd0-Orientation")
_MM_PER_INCH = 25.4


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture: upright, in sRGB, at the bit depth of its file.

    The container is recognised by content, not by name. CMYK becomes RGB, a palette becomes RGB, grey stays grey. Of a
    file of several pages the first is read, with a warning. Odd but usable files (a corrupt profile, samples that are
    not numbers) give a :class:`~tapetum.errors.TapetumWarning`.

    Args:
        max_pixels: larger pictures are refused before anything is decoded.

    Raises:
        InputError: missing, unreadable, no picture, truncated or damaged, animated, or too large; the text is one line
            that begins with the path.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {_os_reason(error)}") from None
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a picture")
        start = os.read(descriptor, 32)
        os.lseek(descriptor, 0, os.SEEK_SET)
        container = recognise(start, path)
        # Through the descriptor: libvips would take a name that ends in [...] for options, and only knows UTF-8 names
        source = pyvips.Source.new_from_descriptor(descriptor)
        load = getattr(pyvips.Image, _LOADERS[container])
        image = load(source, access="sequential", fail_on="error")
        _check_header(image, container, path, max_pixels)
        return _to_picture(image, container, path)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    except pyvips.Error as error:
        raise InputError(f"{path}: damaged or truncated {container.upper()}: {vips.reason(error)}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {_os_reason(error)}") from None
    finally:
        os.close(descriptor)


_LOADERS = {
    "jpeg": "jpegload_source",
    "png": "pngload_source",
    "tiff": "tiffload_source",
    "webp": "webpload_source",
    "heif": "heifload_source",
    "gif": "gifload_source",
}


def _os_reason(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _check_header(image: pyvips.Image, container: str, path: Path, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise InputError(
            f"{path}: {image.width} x {image.height} = {image.width * image.height / 1e6:.1f} million pixels, more than "
            f"the limit of {max_pixels / 1e6:g} million (raise it with --max-pixels)"
        )
    pages = image.get_n_pages()
    if pages > 1 and container in ("gif", "webp"):
        raise InputError(f"{path}: an animation of {pages} frames; only still pictures can be enhanced")
    if pages > 1:
        _warn(f"{path}: only the first of its {pages} pages is read")
    if image.format not in ("uchar", "ushort", "float", "double"):
        raise InputError(f"{path}: samples of type {image.format} cannot be read (8 or 16 bit, or float, are needed)")


def _to_picture(image: pyvips.Image, container: str, path: Path) -> Picture:
    orientation = image.get("orientation") if image.get_typeof("orientation") else 1
    icc = image.get(vips.PROFILE) if image.get_typeof(vips.PROFILE) else None
    metadata = _metadata(image)
    # 1 pixel/mm is libvips' way to say that the file is silent
    dpi = (image.xres * _MM_PER_INCH, image.yres * _MM_PER_INCH) if (image.xres, image.yres) != (1.0, 1.0) else None
    depth = {"uchar": 8, "ushort": 16}.get(image.format, 32)
    cmyk = image.interpretation == "cmyk"
    colours = 4 if cmyk else 1 if image.bands < 3 else 3
    if image.format == "double":
        image = image.cast("float")
    profile = _usable_profile(icc, "CMYK" if cmyk else "GRAY" if colours == 1 else "RGB ", path)
    if profile is None:
        icc = None
    alpha = None
    if image.bands > colours:
        # Two ways out of one decoder: it must run once, into memory
        image = image.copy_memory()
        alpha = vips.to_array(_upright(image.extract_band(colours), orientation))[..., 0]
        image = image.extract_band(0, n=colours)
    if cmyk:
        image, profile, icc = _by_tables(image, profile, depth), None, None
    elif image.interpretation in ("lab", "labs"):
        image = image.colourspace("rgb16" if depth == 16 else "srgb")
    elif isinstance(profile, profiles.Tables):
        image = _by_tables(image, profile, 16 if depth == 8 else depth)[0:colours]
    pixels = vips.to_array(_upright(image, orientation))
    if pixels.dtype.kind == "f":
        _mend(pixels, path)
    if isinstance(profile, profiles.Curves) and not profile.is_srgb:
        pixels = profiles.to_srgb(pixels, profile)
    if alpha is not None and alpha.dtype != pixels.dtype:
        alpha = alpha.astype(pixels.dtype) * pixels.dtype.type(257)
    return Picture(pixels, alpha, depth, icc, container, dpi, metadata)


def _by_tables(image: pyvips.Image, profile: profiles.Profile | None, depth: int) -> pyvips.Image:
    if image.format == "float":
        image = image.linear(65535, 0.5).cast("ushort")
    image = profiles.tables_to_srgb(image, profile if isinstance(profile, profiles.Tables) else None)
    if depth == 8:
        return image.linear(1 / 257, 0.5, uchar=True)
    return image if depth == 16 else image.linear(1 / 65535, 0)


def _upright(image: pyvips.Image, orientation: int) -> pyvips.Image:
    """Turned as the EXIF orientation says. Turning reads lines out of order, so the decoder must have run before."""
    if orientation not in range(2, 9):
        return image
    image = image.copy_memory()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return image.autorot()


def _usable_profile(icc: bytes | None, space: str, path: Path) -> profiles.Profile | None:
    if icc is None:
        return None
    try:
        profile = profiles.parse(icc)
    except ValueError as error:
        _warn(f"{path}: its colour profile is corrupt ({error}): the colours are taken as sRGB")
        return None
    profile_space = (
        profile.space if isinstance(profile, profiles.Tables) else "GRAY" if profile.to_srgb is None else "RGB "
    )
    if profile_space != space:
        _warn(f"{path}: its colour profile is for {profile_space.strip()}, not for {space.strip()}: it is ignored")
        return None
    return profile


def _metadata(image: pyvips.Image) -> dict[str, Any]:
    names = [n for n in image.get_fields() if n.startswith(_KEPT) and not n.startswith(_DROPPED)]
    return {name: image.get(name) for name in names}


def _mend(pixels: np.ndarray, path: Path) -> None:
    """In place: NaN -> 0, +Inf -> the largest finite value (at least 1), -Inf -> 0."""
    finite = np.isfinite(pixels)
    bad = pixels.size - int(np.count_nonzero(finite))
    if bad:
        largest = max(1.0, float(np.max(pixels, initial=0.0, where=finite)))
        np.nan_to_num(pixels, copy=False, nan=0.0, posinf=largest, neginf=0.0)
        _warn(f"{path}: {bad} samples are not finite numbers: replaced (NaN and -Inf by 0, Inf by {largest:g})")


def _warn(text: str) -> None:
    warnings.warn(text, TapetumWarning, stacklevel=4)
