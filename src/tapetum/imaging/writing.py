"""From a :class:`Picture` to a file: whole under its name, or not at all."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from typing import Any

import pyvips

from tapetum.errors import InputError, TapetumWarning, UsageError, os_reason
from tapetum.imaging import exif, profiles, vips
from tapetum.imaging.formats import WRITTEN, written_format
from tapetum.imaging.picture import Picture
from tapetum.imaging.replacing import replacing

DEFAULT_QUALITY = 95
_DEPTHS = {"jpeg": (8,), "png": (8, 16), "tiff": (8, 16, 32), "webp": (8,)}
_LARGEST_SIDE = {"jpeg": 65500, "webp": 16383}
_MM_PER_INCH = 25.4
_PHOTOSHOP = b"Photoshop 3.0\0"
_LARGEST_SEGMENT = 65000  # of a JPEG: it has 65533 bytes, libvips adds some
_PROBE = 1 << 20
_DEFAULT_DPI = (72.0, 72.0)  # what readers assume; libvips would write its own 25.4


def write_picture(picture: Picture, path: str | os.PathLike[str], *, quality: int | None = None) -> None:
    """Write a picture with its own bit depth, profile, resolution and metadata.

    The suffix says the container (".dng": linear light); without a suffix it is that of the picture. Where the
    container cannot hold the depth, it gets the deepest it can (JPEG and WebP: 8 bit, rounded; floats outside of 0..1
    are clipped, with a warning). JPEG keeps the chroma subsampling of a JPEG that was read, else has none. The file is
    written under a temporary name in the same folder, then renamed.

    Args:
        quality: 1..100 of JPEG and WebP; default 95.

    Raises:
        UsageError: an impossible quality.
        InputError: unknown suffix, no such folder or not writeable, too large for the container. Nothing remains then.
    """
    path = Path(path)
    container = written_format(path.suffix) if path.suffix else picture.format
    if container not in WRITTEN:
        known = ", ".join(suffix for suffixes in WRITTEN.values() for suffix in suffixes)
        raise InputError(f"{path}: cannot write this kind of file: choose a name that ends in one of {known}")
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"quality must be 1 to 100, got {quality}")
    side = max(picture.height, picture.width)
    if side > _LARGEST_SIDE.get(container, side):
        most = _LARGEST_SIDE[container]
        raise InputError(f"{path}: {container.upper()} has at most {most} pixels a side, this picture {side}: use PNG")
    if os.path.isdir(path):  # unlike Path.is_dir, never raises
        raise InputError(f"{path}: is a folder, not a name for a picture")
    if container == "dng":
        from tapetum.imaging.raw.dng import write_picture_as_dng

        if clipping := vips.clipping(picture.pixels):
            warnings.warn(f"{path}: {clipping}", TapetumWarning, stacklevel=2)
        return write_picture_as_dng(picture, path)
    image = _to_image(picture, container, path)
    options = _options(picture, container, quality or DEFAULT_QUALITY)
    try:
        with replacing(path) as descriptor:
            target = pyvips.Target.new_to_descriptor(descriptor)
            try:
                getattr(image, f"{container}save_target")(target, **options)
            except pyvips.Error:
                os.write(descriptor, bytes(_PROBE))  # libvips does not say that the disk is full: this does
                raise
            if container == "tiff":
                exif.scatter(picture.metadata.get("exif-data"), picture.metadata.get("iptc-data"), descriptor)
    except (pyvips.Error, OSError) as error:
        if isinstance(error, pyvips.Error):
            raise InputError(f"{path}: cannot be written: {vips.reason(error)}") from None
        raise InputError(f"{path}: cannot be written: {_os_reason(error, path)}") from None


def _os_reason(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOENT:
        return f"there is no folder {path.parent}"
    return os_reason(error)


def _options(picture: Picture, container: str, quality: int) -> dict[str, object]:
    if container == "jpeg":
        subsampled = picture.metadata.get("jpeg-chroma-subsample", "4:4:4") != "4:4:4"
        return {"Q": quality, "subsample_mode": "on" if subsampled else "off"}
    if container == "webp":
        return {"Q": quality}
    if container == "tiff":
        return {"compression": "lzw", "predictor": "float" if picture.depth == 32 else "horizontal"}
    return {"compression": 6}


def _to_image(picture: Picture, container: str, path: Path) -> pyvips.Image:
    depth = max(d for d in _DEPTHS[container] if d <= picture.depth) if picture.depth > 8 else 8
    pixels, icc = picture.pixels, picture.icc
    profile = _usable_profile(icc, pixels.shape[2])
    icc = icc if profile else None
    converted = isinstance(profile, profiles.Tables) or (profile is not None and not profile.is_srgb)
    if (converted or depth < 32) and (clipping := vips.clipping(pixels)):
        warnings.warn(f"{path}: {clipping}", TapetumWarning, stacklevel=3)
    if isinstance(profile, profiles.Curves) and converted:
        pixels = profiles.from_srgb(pixels, profile)
    if isinstance(profile, profiles.Tables):
        image = profiles.tables_from_srgb(vips.rescale(vips.from_array(pixels), 16), profile)
    else:
        image = vips.from_array(pixels)
    image = vips.rescale(image, depth)
    if picture.alpha is not None and container == "jpeg":
        warnings.warn(f"{path}: JPEG has no transparency: it is dropped", TapetumWarning, stacklevel=3)
    elif picture.alpha is not None:
        image = image.bandjoin(vips.rescale(vips.from_array(picture.alpha[..., None]), depth))
    image = image.copy(interpretation=vips.interpretation(pixels.shape[2], depth))
    across, down = picture.dpi or _DEFAULT_DPI
    image = image.copy(xres=across / _MM_PER_INCH, yres=down / _MM_PER_INCH)
    vips.set_metadata(image, "resolution-unit", "in")
    image = vips.with_profile(image, icc)
    for name, value in _metadata(picture, container).items():
        vips.set_metadata(image, name, value)
    vips.set_metadata(image, "orientation", 1)
    return image


def _usable_profile(icc: bytes | None, channels: int) -> profiles.Profile | None:
    try:
        profile = profiles.parse(icc) if icc else None
    except ValueError:
        return None
    return profile if profile and profile.space == ("GRAY" if channels == 1 else "RGB ") else None


def _metadata(picture: Picture, container: str) -> dict[str, Any]:
    """What libvips is to write. A TIFF keeps in two tags of its own what other files have in one Photoshop block."""
    metadata = dict(picture.metadata)
    iptc: bytes = metadata.get("iptc-data", b"")
    if container == "tiff":
        metadata.pop("iptc-data", None)  # libvips cuts it to a quarter; exif.scatter writes it
        if iptc.startswith(_PHOTOSHOP):
            metadata["photoshop-data"] = iptc[len(_PHOTOSHOP) :]
    elif "photoshop-data" in metadata:
        metadata["iptc-data"] = _PHOTOSHOP + metadata.pop("photoshop-data")
    if container == "jpeg":
        for name in ("exif-data", "iptc-data"):
            if len(metadata.get(name, b"")) > _LARGEST_SEGMENT:
                del metadata[name]
    return metadata
