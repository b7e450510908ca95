"""A picture's size without its pixels."""

from __future__ import annotations

import os

import pyvips

from tapetum.errors import InputError, os_reason
from tapetum.imaging import vips


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height in pixels of the upright picture, from the header alone.

    Raises:
        InputError: missing, unreadable, or no picture.
    """
    try:
        # Through a descriptor: libvips would take a name that ends in [...] for options
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None
    try:
        source = pyvips.Source.new_from_descriptor(descriptor)
        image = pyvips.Image.new_from_source(source, "", access="sequential")
        width, height = image.width, image.height
        orientation = vips.get(image, "orientation", 1)
    except pyvips.Error as error:
        raise InputError(f"{path}: not a picture that can be read ({vips.reason(error)})") from None
    finally:
        os.close(descriptor)
    return (height, width) if orientation >= 5 else (width, height)  # EXIF: 5 to 8 lie on their side
