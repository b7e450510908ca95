"""What is looked at beside the loss: how likely each part of a picture is, and whether decoding undoes encoding."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tapetum.methods.contract import Examination
from tapetum.methods.uptflow.invertible import LogDeterminant, gaussian_log_density, spread
from tapetum.methods.uptflow.network import STRIDE, UPTFlow

log = logging.getLogger(__name__)

SHOWN_TEMPERATURE = 0.7  # of the sample that validation shows
LEVELS = 32
"""Of a picture's values, as far as the likelihood distinguishes them: noise of 1/32 is added."""
ROUND_TRIP = 1e-2  # an error above it is warned of: weights whose inverse is not exact decode wrongly


def dequantised(image: Tensor, uniform: Tensor, levels: int = LEVELS) -> Tensor:
    """``image`` in [0, 1] with noise of one level; ``uniform`` in [0, 1), the same shape."""
    return image + (uniform - 0.5) / levels


@torch.no_grad()
def surprise(network: UPTFlow, conditions: Sequence[Tensor], image: Tensor) -> Tensor:
    """How unlikely each part of a picture is as the normal one of a dark one: bits per dimension, by place.

    Args:
        conditions: those of the dark picture (:meth:`UPTFlow.conditions`).
        image: ``(B, 3, H, W)`` in [0, 1], sides multiples of 8.

    Returns:
        ``(B, 1, H, W)``: its mean is the picture's bits per dimension, at 32 levels and without noise. What a layer or
        the latent says of a position is spread evenly over the pixels that this stands for.
    """
    log_det = LogDeterminant()
    latent = network.encode(image, conditions, log_det)
    log_density = spread(gaussian_log_density(latent).sum(dim=1), STRIDE) + log_det.density(image.shape[2:])
    return (math.log2(LEVELS) - log_density / (3 * math.log(2)))[:, None]


@torch.no_grad()
def round_trip_error(network: UPTFlow, conditions: Sequence[Tensor], image: Tensor) -> float:
    """Largest difference between a picture and the decoded latent that it is encoded into; arguments as above."""
    return (network.decode(network.encode(image, conditions), conditions) - image).abs().max().item()


@torch.no_grad()
def examine(network: UPTFlow, low: Tensor, target: Tensor | None) -> Examination:
    """Of a dark picture ``(1, 3, H, W)``, sides multiples of 8.

    Measures, where there is a target: "bits_per_dimension" of the target with noise of one level, as in training,
    always the same; "round_trip" (:func:`round_trip_error`). Pictures: a sample at temperature 0.7; the target's map of
    surprise (without noise), from its 1st (black) to its 99th percentile.
    """
    sample = network(low, temperature=SHOWN_TEMPERATURE).clamp(0, 1)
    if target is None:
        return Examination(None, {}, [sample])
    conditions = network.conditions(low)
    uniform = torch.rand(target.shape, generator=torch.Generator().manual_seed(0)).to(target)
    bits = surprise(network, conditions, dequantised(target, uniform)).mean().item()
    error = round_trip_error(network, conditions, target)
    if not error < ROUND_TRIP:
        log.warning("uptflow: decoding does not undo encoding any more: the largest difference is %.2g", error)
    measures = {"bits_per_dimension": bits, "round_trip": error}
    return Examination(None, measures, [sample, as_picture(surprise(network, conditions, target))])


def as_picture(bits: Tensor) -> Tensor:
    """A map ``(1, 1, H, W)`` as grey ``(1, 3, H, W)``: its 1st percentile is black, its 99th white."""
    values = bits.flatten().float()
    # not torch.quantile, which refuses large pictures
    ordered = values[:: max(1, len(values) // 100_000)].sort().values
    least, most = (ordered[int(share * (len(ordered) - 1))] for share in (0.01, 0.99))
    return ((bits - least) / (most - least).clamp(min=1e-12)).clamp(0, 1).expand(-1, 3, -1, -1)
