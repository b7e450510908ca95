"""From a file to a :class:`Picture`. The header is judged before a pixel is decoded."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyvips

from tapetum.errors import InputError, TapetumWarning, os_reason
from tapetum.imaging import exif, profiles, vips
from tapetum.imaging.formats import has_header, recognise
from tapetum.imaging.picture import Picture

if TYPE_CHECKING:
    from tapetum.imaging.raw.options import Development

MAX_PIXELS = 200_000_000

_KEPT = ("exif-data", "xmp-data", "iptc-data", "photoshop-data", "jpeg-chroma-subsample")
_MM_PER_INCH = 25.4
_LARGEST_DPI = 1e6  # more is damage, and libvips would not write it
_SAMPLES = "unsigned integers of at most 16 bits, or floats of at most 32, are needed"
_PNG_HEAD = 1 << 16  # enough to see all chunks before the pixels of nearly every PNG


def read_picture(
    path: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    development: Development | None = None,
    mend: bool = True,
) -> Picture:
    """Read a picture: upright, in sRGB, at the bit depth of its file.

    The container is recognised by content, not by name. CMYK becomes RGB, a palette becomes RGB, grey stays grey. Of a
    file of several pages the first is read, with a warning. Odd but usable files (a corrupt profile, samples that are
    not numbers) give a :class:`~tapetum.errors.TapetumWarning`.

    Args:
        max_pixels: larger pictures are refused before anything is decoded.
        development: how a camera's RAW file is developed (None: as shot); with a geometry any file without a header is
            one of those.
        mend: replace samples that are not finite numbers, with a warning; else they are an error.

    Raises:
        InputError: missing, unreadable, no picture, truncated or damaged, animated, too large, or not mended; the text
            is one line that begins with the path.
        MissingExtraError: a camera's RAW file, and the ``raw`` extra is not installed.
    """
    path = Path(path)
    descriptor = _open(path)
    try:
        start = os.read(descriptor, _PNG_HEAD)
        headerless = development is not None and development.geometry is not None and not has_header(start)
        kind = "raw" if headerless else recognise(start, path)
        tiff_exif = exif.gather(descriptor) if kind == "tiff" else None
    except ValueError as error:
        os.close(descriptor)
        raise InputError(f"{path}: {error}") from None
    if kind == "raw":
        os.close(descriptor)
        return _developed(path, max_pixels, development)

    def decode(fail_on: str) -> Picture:
        os.lseek(descriptor, 0, os.SEEK_SET)
        # Through the descriptor: libvips would take a name that ends in [...] for options, and only knows UTF-8 names
        source = pyvips.Source.new_from_descriptor(descriptor)
        image = getattr(pyvips.Image, _LOADERS[kind])(source, access="sequential", fail_on=fail_on)
        _check_header(image, kind, path, max_pixels)
        if kind == "png":
            _check_png(start, image, path)
        return _to_picture(image, kind, tiff_exif, path, mend)

    try:
        if kind == "jpeg":
            # libjpeg only warns of damaged data, and fills what is missing with grey
            try:
                return decode("warning")
            except pyvips.Error as error:
                reason = vips.reason(error)
                if "Corrupt JPEG data" not in reason or "premature end" in reason:
                    raise
            _warn(f"{path}: parts of it may be wrong: {reason.removeprefix('VipsJpeg: ')}")
        return decode("error")
    except pyvips.Error as error:
        raise InputError(f"{path}: {_trouble(kind, vips.reason(error))}") from None
    finally:
        os.close(descriptor)


def _developed(path: Path, max_pixels: int, development: Development | None) -> Picture:
    from tapetum.imaging.raw.options import Development
    from tapetum.imaging.raw.reading import read_developed

    return read_developed(path, max_pixels=max_pixels, options=development or Development())


def _open(path: Path) -> int:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path}: is a folder, not a picture")
        if not stat.S_ISREG(mode):
            raise InputError(f"{path}: is not an ordinary file")
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{str(path)!r}: cannot be read: {error}") from None


_LOADERS = {
    "jpeg": "jpegload_source",
    "png": "pngload_source",
    "tiff": "tiffload_source",
    "webp": "webpload_source",
    "heif": "heifload_source",
    "gif": "gifload_source",
}


def _trouble(kind: str, reason: str) -> str:
    if "has not been built in" in reason:  # patents: the wheel decodes AVIF, not the HEVC of most telephones' HEIC
        return "this kind of HEIC cannot be decoded here: convert it to JPEG, PNG or TIFF first"
    if "samples out of range" in reason:
        return f"its samples are of a kind that cannot be read ({_SAMPLES})"
    return f"cannot be decoded, the {kind.upper()} is damaged or cut off: {reason}"


def _check_header(image: pyvips.Image, kind: str, path: Path, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise InputError(
            f"{path}: {image.width} x {image.height} = {_count(image.width * image.height)} pixels, "
            f"more than the limit of {_count(max_pixels)} (raise it with --max-pixels)"
        )
    pages = image.get_n_pages()
    if pages > 1 and kind in ("gif", "webp"):
        raise InputError(f"{path}: an animation of {pages} frames; only still pictures can be enhanced")
    if pages > 1:
        _warn(f"{path}: only the first of its {pages} pages is read")
    if image.interpretation in ("lab", "labs", "labq"):
        raise InputError(f"{path}: CIELAB colours cannot be read: convert it to RGB first")
    if image.bands > (5 if image.interpretation == "cmyk" else 4):
        raise InputError(
            f"{path}: has {image.bands} channels; only grey, RGB, CMYK and one of transparency can be read"
        )
    if image.format not in ("uchar", "ushort", "float", "double"):
        raise InputError(f"{path}: samples of type {image.format} cannot be read ({_SAMPLES})")


def _count(pixels: int) -> str:
    return f"{pixels / 1e6:.1f}".removesuffix(".0") + " million" if pixels >= 1_000_000 else str(pixels)


def _check_png(start: bytes, image: pyvips.Image, path: Path) -> None:
    """What libvips passes over in silence: an animation, a profile that libpng threw away."""
    offset, kinds = 8, set()
    while offset + 8 <= len(start):
        length, kind = struct.unpack_from(">I4s", start, offset)
        kinds.add(kind)
        offset += length + 12
    if b"acTL" in kinds:
        raise InputError(f"{path}: an animation; only still pictures can be enhanced")
    if b"iCCP" in kinds and not image.get_typeof(vips.PROFILE):
        space = "grey" if image.bands < 3 else "RGB"
        _warn(f"{path}: its colour profile is corrupt or not for {space}: the colours are taken as sRGB")


def _to_picture(image: pyvips.Image, kind: str, tiff_exif: bytes | None, path: Path, mend: bool) -> Picture:
    orientation = vips.get(image, "orientation", 1)
    icc = vips.get(image, vips.PROFILE)
    metadata = _metadata(image, tiff_exif)
    dpi = (image.xres * _MM_PER_INCH, image.yres * _MM_PER_INCH)
    if (image.xres, image.yres) == (1.0, 1.0):  # libvips' way to say that the file is silent
        dpi = exif.resolution(metadata.get("exif-data", b""))
    if dpi and not all(0 < d < _LARGEST_DPI for d in dpi):
        dpi = None
    if orientation in range(5, 9) and dpi:  # turned by 90 degrees
        dpi = dpi[1], dpi[0]
    depth = vips.depth(image)
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
        tables = profile if isinstance(profile, profiles.Tables) else None
        image = vips.rescale(profiles.tables_to_srgb(vips.rescale(image, min(depth, 16)), tables), depth)
        profile = icc = None
    elif isinstance(profile, profiles.Tables):
        image = profiles.tables_to_srgb(vips.rescale(image, min(depth, 16)), profile).extract_band(0, n=colours)
        image = vips.rescale(image, max(depth, 16))
        icc = icc if profile.two_way else None
    pixels = vips.to_array(_upright(image, orientation))
    if pixels.dtype.kind == "f":
        _mend(pixels, path, mend)
    if isinstance(profile, profiles.Curves) and not profile.is_srgb:
        if clipping := vips.clipping(pixels):
            _warn(f"{path}: {clipping}")
        pixels = profiles.to_srgb(pixels, profile)
    if alpha is not None and alpha.dtype != pixels.dtype:
        alpha = alpha.astype(pixels.dtype) * pixels.dtype.type(257)
    return Picture(pixels, alpha, depth, icc, kind, dpi, metadata)


def _upright(image: pyvips.Image, orientation: int) -> pyvips.Image:
    """Turned as the EXIF orientation says. Turning reads lines out of order, so the decoder must have run before."""
    if orientation not in range(2, 9):
        return image
    image = image.copy_memory()
    vips.set_metadata(image, "orientation", orientation)
    return image.autorot()


def _usable_profile(icc: bytes | None, space: str, path: Path) -> profiles.Profile | None:
    if icc is None:
        return None
    try:
        profile = profiles.parse(icc)
    except ValueError as error:
        _warn(f"{path}: its colour profile is corrupt ({error}): the colours are taken as sRGB")
        return None
    if profile.space != space:
        _warn(f"{path}: its colour profile is for {profile.space.strip()}, not for {space.strip()}: it is ignored")
        return None
    return profile


def _metadata(image: pyvips.Image, tiff_exif: bytes | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {name: image.get(name) for name in _KEPT if image.get_typeof(name)}
    with contextlib.suppress(UnicodeDecodeError):  # one odd keyword, and there is no list of them
        comments = {name: str(image.get(name)) for name in image.get_fields() if name.startswith("png-comment-")}
        # libvips does not tell the Latin-1 texts of a PNG from UTF-8: what is not ASCII would come out garbled
        metadata |= {name: text for name, text in comments.items() if (name + text).isascii()}
    if tiff_exif is not None:
        metadata["exif-data"] = tiff_exif
    if "exif-data" in metadata:
        metadata["exif-data"] = exif.without_thumbnail(metadata["exif-data"])
    return metadata


def _mend(pixels: np.ndarray, path: Path, allowed: bool) -> None:
    """In place: NaN -> 0, +Inf -> the largest finite value (at least 1), -Inf -> 0. Raises InputError: not allowed."""
    finite = np.isfinite(pixels)
    bad = pixels.size - int(np.count_nonzero(finite))
    if bad and not allowed:
        raise InputError(f"{path}: {bad} samples are not finite numbers (NaN or infinity)")
    if bad:
        largest = max(1.0, float(np.max(pixels, initial=0.0, where=finite)))
        np.nan_to_num(pixels, copy=False, nan=0.0, posinf=largest, neginf=0.0)
        _warn(f"{path}: {bad} samples are not finite numbers: replaced (NaN and -Inf by 0, Inf by {largest:g})")


def _warn(text: str) -> None:
    warnings.warn(text, TapetumWarning, stacklevel=4)
