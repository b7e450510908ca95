"""Tukey's lambda distribution: heavy-tailed (lambda < 0.14) to short-tailed read noise, in one family.

Only what works on tensors needs torch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_NEAR_ZERO = 1e-4  # below it the variance is taken from its series: the closed form cancels


def tukey_quantile(probability: Tensor, shape: Tensor | float) -> Tensor:
    """``(v^shape - (1 - v)^shape) / shape``, and ``log(v / (1 - v))`` for shape 0.

    By expm1, which keeps float32 exact also for shapes near 0.

    Args:
        probability: v in 0..1, any size, float; 0 and 1 may be infinite.
        shape: lambda, a number or a tensor that broadcasts.
    """
    import torch

    low, high = torch.log(probability), torch.log1p(-probability)
    if isinstance(shape, (int, float)):
        if shape == 0:
            return low - high
        return (torch.expm1(low * shape) - torch.expm1(high * shape)) / shape
    safe = torch.where(shape == 0, torch.ones_like(shape), shape)
    curved = (torch.expm1(low * safe) - torch.expm1(high * safe)) / safe
    return torch.where(shape == 0, low - high, curved)


def tukey_variance(shape: float) -> float:
    """Variance of the unit distribution; infinite for shapes <= -1/2."""
    if shape <= -0.5:
        return math.inf
    if abs(shape) < _NEAR_ZERO:
        slope = 2 * math.pi**2 / 3 + 4 * 1.2020569031595942  # zeta(3)
        return math.pi**2 / 3 - slope * shape + 27.6463823117627 * shape**2
    beta = math.exp(2 * math.lgamma(shape + 1) - math.lgamma(2 * shape + 2))
    return 2 / shape**2 * (1 / (1 + 2 * shape) - beta)
