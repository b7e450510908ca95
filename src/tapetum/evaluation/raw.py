"""How a RAW method is measured: packed linear pictures with a reference, by a protocol that has a name.

"reference": the published evaluation of ExposureDiffusion. In every step of the process, and once more at the end, the
picture's brightness is fitted to the truth by least squares: its figures are not those of real use. "blind": nobody
looks at the truth before the measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.errors import UsageError
from tapetum.methods.exposurediffusion.exposure import Draw, correct_illuminance, expose
from tapetum.methods.exposurediffusion.network import Backbone, Prediction
from tapetum.metrics.packed import psnr_packed, ssim_packed

Protocol = Literal["reference", "blind"]
PROTOCOLS: tuple[Protocol, ...] = ("reference", "blind")

_MULTIPLE = 16
_LEAST_OVERLAP = 10  # by which a quarter must reach over the middle


@dataclass(frozen=True)
class Measured:
    """One picture's result.

    Attributes:
        enhanced: ``(4, H, W)``; by the protocol "reference" it may exceed 1.
        psnr, ssim: of ``tapetum.metrics.packed``.
        protocol: by which it was made.
        padded: the picture as the network saw it first, ``(1, 4, H', W')``.
    """

    enhanced: NDArray[np.float32]
    psnr: float
    ssim: float
    protocol: Protocol
    padded: Tensor


def evaluate_picture(
    network: Backbone,
    low: Tensor,
    target: Tensor | None,
    ratio: float,
    gain: float,
    iterations: int,
    *,
    draw: Draw,
    protocol: Protocol = "reference",
    chop: bool = False,
) -> Measured:
    """Enhances and measures one picture.

    Args:
        low: x_T, ``(1, 4, H, W)`` in [0, 1], amplified and clipped.
        target: the long exposure, of the same shape.
        draw: photons of a mean; called with the whole (padded) picture.
        chop: call the network on four overlapping quarters; a picture that is too small for it is padded instead.

    Raises:
        UsageError: an unknown protocol, no target, or one of another size.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    if target is None:
        raise UsageError(f"the protocol {protocol!r} measures against a reference, and none is given")
    if low.shape != target.shape:
        raise UsageError(f"picture and reference differ in size: {tuple(low.shape[2:])} and {tuple(target.shape[2:])}")
    chop = chop and all(side >= _quarter(side) for side in low.shape[2:])
    padded, inner = (low, (slice(None), slice(None))) if chop else pad_published(low)
    reference = None
    if protocol == "reference":
        reference = target if chop else pad_published(target)[0]
    predict = in_quarters(network.predict) if chop else network.predict
    enhanced = padded
    with torch.no_grad():
        steps = expose(predict, network.config, padded, ratio, gain, iterations, draw=draw, reference=reference)
        for step in steps:
            enhanced = step.corrected
        enhanced = enhanced[..., inner[0], inner[1]]
        if protocol == "reference":
            enhanced = correct_illuminance(enhanced, target)[0]
    result, truth = (picture[0].cpu().numpy() for picture in (enhanced, target))
    return Measured(result, psnr_packed(result, truth), ssim_packed(result, truth), protocol, padded)


def pad_published(picture: Tensor) -> tuple[Tensor, tuple[slice, slice]]:
    """Reflects ``(1, C, H, W)`` to multiples of 16: by 1 to 16 rows and columns, half of them (rounded down) in front.

    A side that is too short to be reflected so far repeats its edge.

    Returns:
        The padded picture, and where the picture lies in it.
    """
    places = []
    for axis in (2, 3):
        size = picture.shape[axis]
        total = _MULTIPLE - size % _MULTIPLE
        before = total // 2
        index = torch.arange(-before, size + total - before).abs()
        index = torch.where(index >= size, 2 * (size - 1) - index, index)
        if size <= total - before:
            index = torch.arange(-before, size + total - before).clamp(0, size - 1)
        picture = picture.index_select(axis, index.to(picture.device))
        places.append(slice(before, before + size))
    return picture, (places[0], places[1])


def centre_crop(packed: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """The middle of ``(C, H, W)``; what is smaller stays."""
    top, left = (
        max(0, size // 2 - wanted // 2) for size, wanted in zip(packed.shape[1:], (height, width), strict=True)
    )
    return packed[:, top : top + height, left : left + width]


def in_quarters(predict: Callable[[Tensor], Prediction]) -> Callable[[Tensor], Prediction]:
    """The published tiling ("chop"): four overlapping quarters; only the picture is put together."""

    def predict_quarters(network_input: Tensor) -> Prediction:
        height, width = network_input.shape[2:]
        rows, columns = _quarter(height), _quarter(width)
        joined = []
        for bottom in (False, True):
            row = slice(height - rows, None) if bottom else slice(rows)
            row_parts = []
            for right in (False, True):
                column = slice(width - columns, None) if right else slice(columns)
                clean = predict(network_input[:, :, row, column]).clean
                row_parts.append(clean[..., _share(width, right)])
            joined.append(torch.cat(row_parts, dim=3)[:, :, _share(height, bottom)])
        whole = torch.cat(joined, dim=2)
        return Prediction(whole, whole)

    return predict_quarters


def _share(size: int, last: bool) -> slice:
    """Which part of a quarter's rows (or columns) is used: the first half of the picture is the first quarter's."""
    half = size // 2
    return slice(-(size - half), None) if last else slice(half)


def _quarter(size: int) -> int:
    """Rows (or columns) of a quarter."""
    half = size // 2
    overlap = -half % _MULTIPLE
    return half + overlap + (_MULTIPLE if overlap < _LEAST_OVERLAP else 0)
