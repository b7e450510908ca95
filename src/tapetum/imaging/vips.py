"""What reading and writing share of libvips."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyvips

# No operation of ours runs twice on the same input; a cache would only hold memory, and give a file that was
# overwritten as it was before.
pyvips.cache_set_max(0)
# Without a handler of their own, Python prints libvips' remarks on odd files to stderr: ours are the errors we raise.
logging.getLogger("pyvips").addHandler(logging.NullHandler())

_FORMATS = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
_INTERPRETATIONS = {8: ("b-w", "srgb"), 16: ("grey16", "rgb16"), 32: ("b-w", "scrgb")}  # bits: (grey, RGB)
PROFILE = "icc-profile-data"
_SLACK = 0.5 / 255  # floats so little outside of 0..1 are rounding or resampling, not worth a word


def from_array(pixels: np.ndarray) -> pyvips.Image:
    """``(H, W, C)`` as an image that shares its memory (copied only where it is not contiguous)."""
    pixels = np.ascontiguousarray(pixels)
    height, width, channels = pixels.shape
    # pyvips keeps a reference to the buffer for as long as the image lives
    image = pyvips.Image.new_from_memory(pixels.data, width, height, channels, _FORMATS[pixels.dtype.name])
    return image.copy(interpretation=interpretation(channels, 8 * pixels.dtype.itemsize))


def interpretation(channels: int, depth: int) -> str:
    """What libvips calls grey (1 channel) or RGB samples of so many bits."""
    return _INTERPRETATIONS[depth][channels > 1]


def to_array(image: pyvips.Image) -> np.ndarray:
    """Runs the pipeline: ``(H, W, C)``, writeable, in memory of its own."""
    return image.numpy().reshape(image.height, image.width, image.bands)


def get(image: pyvips.Image, name: str, default: Any = None) -> Any:
    return image.get(name) if image.get_typeof(name) else default


def set_metadata(image: pyvips.Image, name: str, value: bytes | str | int) -> None:
    """In place, so only on a fresh ``copy()``."""
    types = {bytes: pyvips.GValue.blob_type, str: pyvips.GValue.gstr_type, int: pyvips.GValue.gint_type}
    image.set_type(types[type(value)], name, value)  # type: ignore[arg-type]  # their stubs know no bytes


def depth(image: pyvips.Image) -> int:
    """Bits per sample: 8, 16, or 32 for any other type."""
    return {"uchar": 8, "ushort": 16}.get(str(image.format), 32)


def rescale(image: pyvips.Image, bits: int) -> pyvips.Image:
    """Samples of 8 or 16 bits or float to another depth, rounded; where floats become integers they are clipped."""
    if depth(image) == bits:
        return image
    top = {8: 255.0, 16: 65535.0, 32: 1.0}
    factor = [top[bits] / top[depth(image)]]
    if bits == 8:
        return image.linear(factor, [0.5], uchar=True)
    return image.linear(factor, [0.5]).cast("ushort") if bits == 16 else image.linear(factor, [0.0])


def clipping(pixels: np.ndarray) -> str | None:
    """What to say of samples that are to be clipped to 0..1; None where that takes nothing away that can be seen."""
    if pixels.dtype.kind != "f" or (pixels.min() >= -_SLACK and pixels.max() <= 1 + _SLACK):
        return None
    return f"samples from {pixels.min():g} to {pixels.max():g} are clipped to 0..1"


def with_profile(image: pyvips.Image, icc: bytes | None) -> pyvips.Image:
    image = image.copy()
    if image.get_typeof(PROFILE):
        image.remove(PROFILE)
    if icc is not None:
        set_metadata(image, PROFILE, icc)
    return image


def reason(error: pyvips.Error) -> str:
    """The last line of libvips' account, which is the nearest to the cause."""
    lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()]
    return lines[-1] if lines else "its header makes no sense"
