"""Learning-rate schedules in closed form: plain functions of the iteration, so that resuming is exact by construction.

Everywhere ``iteration`` counts from 1, ``base`` is the base rate, and ``t = iteration - 1`` is how often the scheduler
has been stepped. Formulas and names as in the Retinexformer / BasicSR toolbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import cos, pi

from tapetum.errors import UsageError


def cosine_restart_cyclic(
    iteration: int, base: float, periods: Sequence[int], weights: Sequence[float], minima: Sequence[float]
) -> float:
    """``CosineAnnealingRestartCyclicLR``: cosine cycles, each with its own minimum.

    A "minimum" above the base rate makes a cycle rise (the published recipes do that). After the last cycle its
    minimum is held. ``CosineAnnealingRestartLR`` is the same with one minimum for all cycles.

    Raises:
        UsageError: the three lists are empty or differ in length.
    """
    if not len(periods) == len(weights) == len(minima) > 0:
        raise UsageError(
            f"a schedule needs as many periods as weights and minima, got {len(periods)}, {len(weights)}, {len(minima)}"
        )
    t = iteration - 1
    for end, period, weight, minimum in zip(accumulate(periods), periods, weights, minima, strict=True):
        if t <= end:
            since = t - (end - period)
            return minimum + 0.5 * weight * (base - minimum) * (1 + cos(pi * since / period))
    return minima[-1]


def multi_step(
    iteration: int,
    base: float,
    milestones: Sequence[int],
    gamma: float = 0.1,
    restarts: Sequence[int] = (0,),
    weights: Sequence[float] = (1.0,),
) -> float:
    """``MultiStepLR``: times ``gamma`` at each milestone (a repeated one counts again); restarts begin anew.

    Raises:
        UsageError: restarts and weights differ in length.
    """
    if len(restarts) != len(weights):
        raise UsageError(f"multi_step needs a weight for every restart, got {len(restarts)} and {len(weights)}")
    t = iteration - 1
    begun = [(restart, weight) for restart, weight in zip(restarts, weights, strict=True) if restart <= t]
    latest, weight = max(begun) if begun else (None, 1.0)
    passed = sum(m <= t and (latest is None or m > latest) for m in milestones)
    return base * weight * gamma**passed


def cosine(iteration: int, base: float, t_max: int, minimum: float = 0.0) -> float:
    """``TrueCosineAnnealingLR``, PyTorch's ``CosineAnnealingLR``: rises again after ``t_max``."""
    return minimum + (base - minimum) * (1 + cos(pi * (iteration - 1) / t_max)) / 2


def linear(iteration: int, base: float, total: int) -> float:
    """``LinearLR``: down to zero after ``total`` iterations."""
    return base * (1 - (iteration - 1) / total)


def vibrate(iteration: int, base: float, total: int) -> float:
    """``VibrateLR``: a saw-tooth of 80 periods that touches zero, under a falling envelope.

    Raises:
        UsageError: fewer than 160 iterations have no 80 periods.
    """
    if total < 160:
        raise UsageError(f"the vibrate schedule needs at least 160 iterations, got {total}")
    t = iteration - 1
    progress = t / total
    envelope = 1 - progress * 8 / 3 if progress < 3 / 8 else 0.2 if progress < 5 / 8 else 0.1
    period = total // 80
    half = period // 2
    since = t % period
    tooth = since / half if since < half else 2 - since / half
    factor = envelope * tooth
    return base * (max(factor, 0.1) if t < half else factor)


def warm_up(iteration: int, base: float, warmup: int, rate: float) -> float:
    """``rate``, the schedule's own value, or before iteration ``warmup`` a rate that rises linearly to ``base``.

    ``warmup`` of 0 or less: none. The schedule counts on meanwhile.
    """
    return base * iteration / warmup if iteration < warmup else rate
