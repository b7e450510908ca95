"""Pictures: reading, writing, colour, tiles. Knows nothing of methods."""

from tapetum.imaging.colour import linear_to_srgb, luminance, srgb_to_linear
from tapetum.imaging.formats import is_picture, output_suffix
from tapetum.imaging.picture import Picture
from tapetum.imaging.reading import MAX_PIXELS, read_picture
from tapetum.imaging.resize import shrink
from tapetum.imaging.writing import DEFAULT_QUALITY, write_picture

__all__ = [
    "DEFAULT_QUALITY",
    "MAX_PIXELS",
    "Picture",
    "is_picture",
    "linear_to_srgb",
    "luminance",
    "output_suffix",
    "read_picture",
    "shrink",
    "srgb_to_linear",
    "write_picture",
]
