"""Before and after in one picture, for people."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import numpy as np
import pyvips

from tapetum.imaging import vips
from tapetum.imaging.picture import Picture

LABELS = ("before", "after", "target")
_GAP = 0.006  # of the whole width
_LABEL = 0.045  # height of a label's box, of the shorter side of a panel
_SHADE = 0.55


def side_by_side(panels: dict[str, np.ndarray], longest: int = 2400) -> Picture:
    """Panels of one size from left to right, with a small label in the lower left corner of each.

    Args:
        panels: label (one of ``LABELS``) to ``(H, W, 3 or 1)`` of any of a picture's dtypes, all of one size.
        longest: the result is shrunk until neither side is larger; it is never enlarged.

    Returns:
        an 8-bit sRGB picture without metadata.
    """
    height, width = next(iter(panels.values())).shape[:2]
    factor = min(1.0, longest / max(height, width * len(panels)))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    gap = max(2, round(_GAP * size[1] * len(panels)))
    images = [_labelled(_panel(pixels, *size), label) for label, pixels in panels.items()]
    joined = pyvips.Image.arrayjoin(images, across=len(images), shim=gap, background=[255.0, 255.0, 255.0])
    return Picture(vips.to_array(joined))


def sheet(panels: Sequence[np.ndarray], across: int, width: int) -> Picture:
    """Panels ``(H, W, 3)`` uint8, ``across`` in a row, each ``width`` pixels wide, with white between them."""
    images = [vips.from_array(np.ascontiguousarray(panel)).thumbnail_image(width) for panel in panels]
    joined = pyvips.Image.arrayjoin(images, across=across, shim=4, background=[255.0, 255.0, 255.0])
    return Picture(vips.to_array(joined))


def _panel(pixels: np.ndarray, height: int, width: int) -> pyvips.Image:
    image = vips.rescale(vips.from_array(pixels), 8)
    if image.bands == 1:
        image = image.bandjoin([image, image])
    image = image.copy(interpretation="srgb")
    if (image.height, image.width) != (height, width):
        image = image.thumbnail_image(width, height=height, size="force")
    return image


def _labelled(image: pyvips.Image, label: str) -> pyvips.Image:
    """``image`` with ``label`` in white on a dark box. A picture too small for it to be read stays without."""
    height = round(max(_LABEL * min(image.height, image.width), 16))
    mask = _mask(label).resize(height / _mask(label).height)
    margin = height // 3
    place = margin, image.height - margin - mask.height
    if mask.width + 4 * margin > image.width or mask.height + 4 * margin > image.height:
        return image
    box = (pyvips.Image.black(mask.width, mask.height) + _SHADE).embed(*place, image.width, image.height)
    letters = mask.embed(*place, image.width, image.height) / 255
    dark = image * (1 - box)
    return (dark + (255 - dark) * letters).linear([1.0], [0.5], uchar=True).copy(interpretation="srgb")


def _mask(label: str) -> pyvips.Image:
    """The label's letters, drawn beforehand: a machine need not have a font."""
    data = (resources.files("tapetum") / "assets" / "labels" / f"{label}.png").read_bytes()
    return pyvips.Image.new_from_buffer(data, "")
