"""What reading and writing share of libvips."""

from __future__ import annotations

import logging

import numpy as np
import pyvips

# No operation of ours runs twice on the same input; a cache would only hold memory, and give a file that was
# overwritten as it was before.
pyvips.cache_set_max(0)
# Without a handler of their own, Python prints libvips' remarks on odd files to stderr: ours are the errors we raise.
logging.getLogger("pyvips").addHandler(logging.NullHandler())

_FORMATS = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
_INTERPRETATIONS = {
    (1, "uint8"): "b-w",
    (1, "uint16"): "grey16",
    (1, "float32"): "b-w",
    (3, "uint8"): "srgb",
    (3, "uint16"): "rgb16",
    (3, "float32"): "scrgb",
}
PROFILE = "icc-profile-data"


def from_array(pixels: np.ndarray) -> pyvips.Image:
    """``(H, W, C)`` as an image that shares its memory (copied only where it is not contiguous)."""
    pixels = np.ascontiguousarray(pixels)
    height, width, channels = pixels.shape
    # pyvips keeps a reference to the buffer for as long as the image lives
    image = pyvips.Image.new_from_memory(pixels.data, width, height, channels, _FORMATS[pixels.dtype.name])
    return image.copy(interpretation=_INTERPRETATIONS[channels, pixels.dtype.name])


def to_array(image: pyvips.Image) -> np.ndarray:
    """Runs the pipeline: ``(H, W, C)``, writeable, in memory of its own."""
    return image.numpy().reshape(image.height, image.width, image.bands)


def with_profile(image: pyvips.Image, icc: bytes | None) -> pyvips.Image:
    image = image.copy()
    if image.get_typeof(PROFILE):
        image.remove(PROFILE)
    if icc is not None:
        image.set_type(pyvips.GValue.blob_type, PROFILE, icc)
    return image


def reason(error: pyvips.Error) -> str:
    """The last line of libvips' account, which is the nearest to the cause, without the operation's name."""
    lines = [line.strip() for line in str(error.detail or error.message).splitlines() if line.strip()]
    return lines[-1] if lines else "libvips gives no reason"
