"""The exposure process: from the photons of a short exposure to those of a long one, in a few steps.

Y. Wang et al., "ExposureDiffusion", ICCV 2023. A short exposure is a partial sum of the photons of a long one. Each
step a network predicts the clean picture; from that, the photons that a somewhat longer exposure would have gathered
more are drawn by Poisson's law and added to those really measured.

Kept on purpose, because weights were trained with it: every state is built anew from the *measured* photons and all
photons of the interval [1, rho] drawn from the newest prediction (the paper's text adds increments); one saturation of
15583 DN for every camera; a ratio cut to an integer wherever there is one picture.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tapetum.data.raw_noise.scale import SATURATION
from tapetum.errors import UsageError
from tapetum.ops.random import PositionNoise

if TYPE_CHECKING:
    from tapetum.methods.exposurediffusion.network import ExposureDiffusionConfig, Prediction

Draw = Callable[[Tensor], Tensor]
"""From the mean numbers of photons, ``(B, 4, H, W)``, to numbers drawn."""


class Step(NamedTuple):
    """One step of the process.

    Attributes:
        state: the picture that the network saw, at the reference's brightness, ``(B, 4, H, W)``; not clipped.
        prediction: what the network said.
        corrected: its picture, brought to the reference's brightness where there is a reference.
        mean: mean number of photons between the dark picture's exposure and the next one's.
    """

    state: Tensor
    prediction: Prediction
    corrected: Tensor
    mean: Tensor


def expose(
    predict: Callable[[Tensor], Prediction],
    config: ExposureDiffusionConfig,
    low: Tensor,
    ratio: Tensor | float,
    gain: Tensor | float,
    iterations: int,
    *,
    draw: Draw,
    reference: Tensor | None = None,
    schedule: Tensor | None = None,
) -> Iterator[Step]:
    """Runs the process, step by step; its result is the last step's ``corrected``.

    Args:
        predict: the network, ``(B, C_in, H, W)`` to its prediction.
        config: says what the network sees.
        low: x_T, ``(B, 4, H, W)`` in [0, 1], amplified by the ratio (not cut to an integer) and clipped.
        ratio: amplification; one for all, or ``(B,)``.
        gain: K, DN per photo-electron; one for all, or ``(B,)``.
        iterations: n; the network is called n + 1 times.
        draw: called with the mean counts of every step but the last, whose photons nobody would look at.
        reference: the long exposure, ``(B, 4, H, W)``, towards which every prediction's brightness is corrected
            (training, and the published evaluation); None: no correction.
        schedule: exposures of the states, ``(B, n + 2)``, as training draws them; None: equally spaced.

    Raises:
        UsageError: a ratio below 1, a gain that is not positive, a negative number of iterations.
    """
    ratio, gain = _each(ratio, low, "ratio"), _each(gain, low, "gain")
    if iterations < 0:
        raise UsageError(f"exposurediffusion: iterations must be 0 or more, got {iterations}")
    if not bool((ratio >= 1).all()) or not bool(ratio.isfinite().all()):
        raise UsageError(f"exposurediffusion: ratio must be a number from 1 up, got {ratio.min().item():g}")
    if not bool((gain > 0).all()) or not bool(gain.isfinite().all()):
        raise UsageError(f"exposurediffusion: gain (K) must be a number above 0, got {gain.min().item():g}")
    if schedule is None:
        ratio = ratio.trunc()
        schedule = torch.stack([equal_schedule(float(r), iterations) for r in ratio]).to(low)
    elif len(low) == 1:
        ratio = ratio.trunc()
    per_count = ratio * gain / SATURATION  # brightness of one electron, in a state whose exposure is 1
    measured = low.clamp(0, 1)
    state = low
    exposures = [_spread(column) for column in schedule.to(low).unbind(dim=1)]
    for i, (here, there) in enumerate(itertools.pairwise(exposures)):
        parts = [state]
        if config.with_photon:
            parts.append(state * (here / _spread(ratio * gain)))
        if config.concat_origin:
            parts.append(low)
        prediction = predict(torch.cat(parts, dim=1) if len(parts) > 1 else state)
        corrected = prediction.clean if reference is None else correct_illuminance(prediction.clean, reference)[0]
        mean = corrected.clamp(0, 1) * ((there - 1) / _spread(per_count))
        yield Step(state, prediction, corrected, mean)
        if i < len(exposures) - 2:
            drawn = straight_through(mean, draw)
            state = (measured + drawn * _spread(per_count)) / there


def equal_schedule(ratio: float, iterations: int) -> Tensor:
    """n + 2 exposures from 1 to the ratio, equally spaced (evaluation): ``(n + 2,)``."""
    return torch.linspace(1, ratio, iterations + 2, dtype=torch.float64).float()


def draw_schedule(ratio: Sequence[float] | Tensor, iterations: int, rng: np.random.Generator) -> Tensor:
    """Exposures for training, ``(B, n + 2)``: 1, n distinct integers between, the ratio; sorted.

    The ratio is cut to an integer where there is one picture. (The published program may draw 1 a second time there,
    and have a step less; here the integers begin with 2 for any batch.)
    """
    rows = []
    for value in (float(r) for r in ratio):
        pool = np.arange(2, max(int(value), iterations + 2))
        between = np.sort(rng.choice(pool, iterations, replace=False))
        rows.append([1.0, *between.tolist(), float(int(value)) if len(ratio) == 1 else value])
    return torch.tensor(rows).sort(dim=1).values


def correct_illuminance(predicted: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Brings every picture of a batch to the brightness of its reference, by least squares.

    Only values at which the reference is not saturated (not exactly 1) are compared.

    Args:
        predicted, reference: ``(B, 4, H, W)``.

    Returns:
        The predicted picture, clipped to [0, 1] and then times its gain; and the gains ``(B,)``, 1 for a picture that
        is black or has nothing to compare with.
    """
    clipped = predicted.clamp(0, 1)
    compared = torch.where(reference == 1, torch.zeros_like(clipped), clipped)
    energy = compared.square().flatten(1).sum(dim=1)
    dark = energy == 0
    gains = (compared * reference).flatten(1).sum(dim=1) / torch.where(dark, torch.ones_like(energy), energy)
    gains = torch.where(dark, torch.ones_like(gains), gains)
    return clipped * _spread(gains), gains


def straight_through(mean: Tensor, draw: Draw) -> Tensor:
    """Drawn counts whose derivative is that of their mean."""
    counts = draw(mean.detach())
    return counts + (mean - mean.detach()) if mean.requires_grad else counts


def position_draw(seed: int) -> Draw:
    """Poisson counts that belong to the seed, the step and the place: neither tiles nor devices change them."""
    streams = itertools.count()
    return lambda mean: PositionNoise(seed, stream=next(streams)).poisson(mean)


def _each(value: Tensor | float, low: Tensor, name: str) -> Tensor:
    """``(B,)`` of one number for all, or of one for each."""
    numbers = torch.as_tensor(value, dtype=low.dtype, device=low.device).flatten()
    if len(numbers) not in (1, len(low)):
        raise UsageError(f"exposurediffusion: {name} must be one number, or one for each of {len(low)} pictures")
    return numbers.expand(len(low))


def _spread(values: Tensor) -> Tensor:
    return values[:, None, None, None]
