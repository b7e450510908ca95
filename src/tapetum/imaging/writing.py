"""From a :class:`Picture` to a file: whole under its name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import warnings
from pathlib import Path

import pyvips

from tapetum.errors import InputError, TapetumWarning
from tapetum.imaging import profiles, vips
from tapetum.imaging.formats import WRITTEN, written_format
from tapetum.imaging.picture import Picture

DEFAULT_QUALITY = 95
_DEPTHS = {"jpeg": (8,), "png": (8, 16), "tiff": (8, 16, 32), "webp": (8,)}
_LARGEST_SIDE = {"jpeg": 65500, "webp": 16383}
_MM_PER_INCH = 25.4


def write_picture(picture: Picture, path: str | os.PathLike[str], *, quality: int | None = None) -> None:
    """Write a picture with its own bit depth, profile, resolution and metadata.

    The suffix says the container; without a suffix it is that of the picture. Where the container cannot hold the
    depth, it gets the deepest it can (JPEG and WebP: 8 bit, rounded). JPEG keeps the chroma subsampling of a JPEG that
    was read, else has none. The file is written under a temporary name in the same folder, then renamed.

    Args:
        quality: 1..100 of JPEG and WebP; default 95.

    Raises:
        InputError: unknown suffix, no such folder or not writeable, too large for the container. Nothing remains then.
    """
    path = Path(path)
    container = written_format(path.suffix) if path.suffix else picture.format
    if container not in WRITTEN:
        known = ", ".join(suffix for suffixes in WRITTEN.values() for suffix in suffixes)
        raise InputError(f"{path}: cannot write this kind of file: choose a name that ends in one of {known}")
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"quality must be 1 to 100, got {quality}")
    side = max(picture.height, picture.width)
    if side > _LARGEST_SIDE.get(container, side):
        raise InputError(
            f"{path}: {container.upper()} has at most {_LARGEST_SIDE[container]} pixels a side, not {side}"
        )
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a name for a picture")
    image = _to_image(picture, container, path)
    options = _options(picture, container, quality or DEFAULT_QUALITY)
    # Short, so that it fits wherever the final name does
    temporary = path.parent / f".tapetum-{secrets.token_hex(8)}"
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            target = pyvips.Target.new_to_descriptor(descriptor)
            getattr(image, f"{container}save_target")(target, **options)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, pyvips.Error):
            raise InputError(f"{path}: cannot be written: {vips.reason(error)}") from None
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written: {_os_reason(error, path)}") from None
        raise


def _os_reason(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOENT:
        return f"there is no folder {path.parent}"
    return (error.strerror or str(error)).lower()


def _options(picture: Picture, container: str, quality: int) -> dict[str, object]:
    if container == "jpeg":
        subsampled = picture.metadata.get("jpeg-chroma-subsample", "4:4:4") != "4:4:4"
        return {"Q": quality, "subsample_mode": "on" if subsampled else "off"}
    if container == "webp":
        return {"Q": quality}
    if container == "tiff":
        return {"compression": "deflate", "predictor": "float" if picture.depth == 32 else "horizontal"}
    return {"compression": 6}


def _to_image(picture: Picture, container: str, path: Path) -> pyvips.Image:
    depth = max(d for d in _DEPTHS[container] if d <= picture.depth) if picture.depth > 8 else 8
    pixels, icc = picture.pixels, picture.icc
    profile = profiles.parse(icc) if icc else None
    if profile is not None and not profiles.fits(profile, pixels.shape[2]):
        profile = icc = None
    if isinstance(profile, profiles.Curves) and not profile.is_srgb:
        pixels = profiles.from_srgb(pixels, profile)
    if isinstance(profile, profiles.Tables):
        image = profiles.tables_from_srgb(_rescale(vips.from_array(pixels), 16), profile)
    else:
        image = vips.from_array(pixels)
    image = _rescale(image, depth)
    if picture.alpha is not None and container == "jpeg":
        warnings.warn(f"{path}: JPEG has no transparency: it is dropped", TapetumWarning, stacklevel=3)
    elif picture.alpha is not None:
        image = image.bandjoin(_rescale(vips.from_array(picture.alpha[..., None]), depth))
    grey = pixels.shape[2] == 1
    image = image.copy(
        interpretation={
            8: "b-w" if grey else "srgb",
            16: "grey16" if grey else "rgb16",
            32: "b-w" if grey else "scrgb",
        }[depth]
    )
    if picture.dpi is not None:
        image = image.copy(xres=picture.dpi[0] / _MM_PER_INCH, yres=picture.dpi[1] / _MM_PER_INCH)
        image.set_type(pyvips.GValue.gstr_type, "resolution-unit", "in")
    image = vips.with_profile(image, icc)
    for name, value in picture.metadata.items():
        kind = pyvips.GValue.blob_type if isinstance(value, bytes) else pyvips.GValue.gstr_type
        image.set_type(kind, name, value)
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def _rescale(image: pyvips.Image, depth: int) -> pyvips.Image:
    """Samples of any of our types to a bit depth, rounded; floats are clipped to 0..1 by it, unless they stay floats."""
    have = {"uchar": 8, "ushort": 16, "float": 32}[image.format]
    if have == depth:
        return image
    top = {8: 255.0, 16: 65535.0, 32: 1.0}
    factor = top[depth] / top[have]
    if depth == 8:
        return image.linear(factor, 0.5, uchar=True)
    return image.linear(factor, 0.5).cast("ushort") if depth == 16 else image.linear(factor, 0)
