"""The four-direction scan of a picture as the plain composition: four sequences, projections, one scan, a sum.

The definition that the fused operator is held against, and what runs where there is no fused one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DIRECTIONS = (0, 2, 1, 3)  # in the order in which the fused forms add their results


def channels_last(x: Tensor) -> Tensor:
    """``(batch, E, H, W) -> (batch, H*W, E)``, without a copy where the picture is in that order."""
    return x.permute(0, 2, 3, 1).contiguous().flatten(1, 2)


def cross_scan(x: Tensor) -> Tensor:
    """The four sequences of a picture: ``(batch, E, H, W) -> (batch, 4, E, H*W)``.

    Direction 0 is row-major, 1 column-major, 2 and 3 are 0 and 1 backwards (VMamba, section 4.2).
    """
    forth = torch.stack([x.flatten(2), x.transpose(2, 3).flatten(2)], 1)
    return torch.cat([forth, forth.flip(-1)], 1)


def cross_merge(ys: Tensor, height: int, width: int) -> Tensor:
    """The sum of the four directions at each pixel: ``(batch, 4, E, H*W) -> (batch, E, H, W)``."""
    forth = ys[:, :2] + ys[:, 2:].flip(-1)
    return forth[:, 0].unflatten(-1, (height, width)) + forth[:, 1].unflatten(-1, (width, height)).transpose(2, 3)


def cross_selective_scan(
    x: Tensor,
    x_proj_weight: Tensor,
    dt_projs_weight: Tensor,
    dt_projs_bias: Tensor,
    A: Tensor,
    Ds: Tensor,
    scan: Callable[..., Tensor],
) -> Tensor:
    """``(batch, E, H, W) -> (batch, E, H, W)`` with the given ``selective_scan``; A ``(4E, N)`` is negative."""
    height, width = x.shape[2:]
    rank, states = dt_projs_weight.shape[2], A.shape[1]
    sequences = cross_scan(x)
    low, B, C = torch.einsum("bkel,kce->bkcl", sequences, x_proj_weight).split([rank, states, states], 2)
    delta = torch.einsum("bkrl,ker->bkel", low, dt_projs_weight)
    y = scan(sequences.flatten(1, 2), delta.flatten(1, 2), A, B, C, Ds, None, dt_projs_bias.flatten(), True)
    return cross_merge(y.unflatten(1, (4, -1)), height, width)
