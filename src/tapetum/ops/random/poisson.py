"""Poisson counts from normal numbers, one for one: the inverse of the Poisson law, vectorised.

Torch's own Poisson sampler runs on one core and draws as many numbers as it happens to need, so that no count can be
drawn again alone. Here a count is a function of its mean and of one normal number: any tile, any device and any order
give the same counts, a larger mean never gives a smaller count, and counts of all cores come at once.

Source of the expansion: M. Giles, "Algorithm 955: Approximation of the inverse Poisson cumulative distribution
function", ACM TOMS 42(1), 2016, section 2; its higher terms follow by inverting the Cornish-Fisher expansion of the
gamma law, whose upper tail is the Poisson law's lower one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FEW = 10.0
"""Below this mean the counts are summed up one by one, from it on the expansion is taken."""
_CHUNK = 1 << 15  # values worked on at once: a hundred passes over them find them in the cache


def poisson_of_normal(mean: Tensor, normal: Tensor) -> Tensor:
    """The Poisson count whose cumulative probability is that of the normal number.

    The law of the counts is within a total variation distance of 5e-5 of the Poisson law for every mean
    (``tests/ops/test_random.py``).

    Args:
        mean: any shape, float, any size; below zero counts as zero.
        normal: standard normal numbers, the same shape and type.

    Returns:
        Whole numbers in the type of ``mean``; no gradient.

    Raises:
        ValueError: the shapes differ, or ``mean`` is no float.
    """
    if mean.shape != normal.shape or not mean.is_floating_point():
        raise ValueError(f"need floats of one shape, got {tuple(mean.shape)} {mean.dtype} and {tuple(normal.shape)}")
    with torch.no_grad():
        if mean.device.type != "cpu" or mean.numel() <= _CHUNK:
            return _counts(mean, normal)
        counts = torch.empty(mean.shape, dtype=mean.dtype)
        parts = (t.reshape(-1).split(_CHUNK) for t in (mean, normal))
        for out, m, w in zip(counts.view(-1).split(_CHUNK), *parts, strict=True):
            out.copy_(_counts(m, w))
        return counts


def _counts(mean: Tensor, normal: Tensor) -> Tensor:
    if mean.device.type != "cpu":  # no look at the values: it would wait for the device
        return torch.where(mean < FEW, _few(mean.clamp(0, FEW), normal, FEW), _many(mean.clamp(min=FEW), normal))
    if mean.numel() == 0:
        return torch.empty_like(mean)
    least, largest = (float(value) for value in torch.aminmax(mean))
    if least >= FEW:
        return _many(mean, normal)
    most = min(max(largest, 0.0), FEW)
    if largest < FEW:
        return _few(mean.clamp(min=0), normal, most)
    counts = _many(mean.clamp(min=FEW), normal)
    # summing up takes ten times as long: only where it must be
    places = (mean < FEW).reshape(-1).nonzero().squeeze(1)
    low, w = (values.reshape(-1).index_select(0, places) for values in (mean, normal))
    counts.view(-1).index_copy_(0, places, _few(low.clamp_(min=0), w, most))
    return counts


def _many(mean: Tensor, w: Tensor) -> Tensor:
    root = mean.sqrt()
    h = root.reciprocal()
    w2 = w * w
    # by Horner's rule in h = 1 / sqrt(mean)
    x = w * (671 / 38880 - w2 * (137 / 38880 + w2 * (23 / 17280)))
    x = x * h + (w2 * (7 / 810 + w2 / 270) - 8 / 405)
    x = x * h - w * (1 / 36 + w2 / 72)
    x = x * h + (1 / 3 + w2 / 6)
    return (x + root * w).add_(mean).floor_().clamp_(min=0)


def _few(mean: Tensor, w: Tensor, largest: float) -> Tensor:
    """How many of the cumulative probabilities of 0, 1, 2, ... lie below the normal number's."""
    u = torch.erfc(w * -math.sqrt(0.5)).mul_(0.5)
    probability = torch.exp(-mean)
    cumulative = probability.clone()
    counts = torch.zeros_like(mean)
    above = torch.empty_like(mean)
    # beyond 5.5 deviations no float32 number lies
    for count in range(1, math.ceil(largest + 5.5 * math.sqrt(largest) + 6)):
        counts.add_(torch.gt(u, cumulative, out=above))  # a comparison into floats: adding bools is much slower
        probability.mul_(mean).mul_(1 / count)
        cumulative.add_(probability)
    return counts
