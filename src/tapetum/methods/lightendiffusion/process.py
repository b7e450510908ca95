"""The diffusion process of LightenDiffusion: schedules, noising, and samplers. No network in here.

Notation of the papers: beta_t for t = 0..T-1, alpha-bar_t the cumulative product of 1 - beta, and alpha-bar = 1 for the
clean sample, whose step is written -1.

* DDIM, with injected noise: J. Song, C. Meng, S. Ermon, "Denoising Diffusion Implicit Models", ICLR 2021, eq. 12, 16.
* DPM-Solver++(2M): C. Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
  2022, algorithm 2 (data prediction, multistep), with a first-order step at either end.
* "trailing" steps: S. Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", WACV 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from tapetum.errors import UsageError
from tapetum.methods.contract import OnStep

Predict = Callable[[Tensor, Tensor], Tensor]
SamplerName = Literal["ddim", "dpm++"]
Spacing = Literal["leading", "trailing", "logsnr"]
BetaSchedule = Literal["linear", "quad", "const", "jsd", "sigmoid"]


@dataclass(frozen=True)
class Sampling:
    """How a sample is drawn.

    Attributes:
        steps: calls of the noise predictor, from 1 to the process's T.
        eta: share of noise that is injected on the way, 0 (deterministic) to 1; with "ddim" only.
        sampler: "ddim" as published, or "dpm++", of second order: for few steps of a noise predictor that is nearly
            exact (the card has figures).
        spacing: "leading" visits 0, s, 2s, ... below T, s = T // steps, as published: it begins below T - 1, and
            makes more calls than ``steps`` where that does not divide T. The others begin at T - 1, where training's
            noise does: "trailing" makes exactly ``steps`` calls, equally spaced; "logsnr" spaces
            them equally in log(signal / noise), what "dpm++" is for (where two fall on one step, it is visited once).

    Raises:
        UsageError: a value outside of these.
    """

    steps: int = 20
    eta: float = 0.0
    sampler: SamplerName = "ddim"
    spacing: Spacing = "leading"

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise UsageError(f"steps must be a whole number from 1 up, got {self.steps}")
        if not 0 <= self.eta <= 1:
            raise UsageError(f"eta must be from 0 to 1, got {self.eta}")
        if self.sampler not in get_args(SamplerName):
            raise UsageError(f"unknown sampler {self.sampler!r}: choose from {', '.join(get_args(SamplerName))}")
        if self.spacing not in get_args(Spacing):
            raise UsageError(f"unknown spacing {self.spacing!r}: choose from {', '.join(get_args(Spacing))}")
        if self.eta and self.sampler != "ddim":
            raise UsageError(f"eta is an option of the ddim sampler, {self.sampler} injects no noise")


def make_betas(schedule: BetaSchedule, timesteps: int, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """``(T,)`` float32.

    Args:
        schedule: "linear", "quad" (squares of equally spaced roots), "const" (all ``end``), "jsd" (1/T, 1/(T-1),
            ..., 1) or "sigmoid".

    Raises:
        UsageError: no such schedule, no step, betas outside of (0, 1], or such that add no noise in float32.
    """
    if schedule not in get_args(BetaSchedule):
        raise UsageError(f"unknown beta schedule {schedule!r}: choose from {', '.join(get_args(BetaSchedule))}")
    if timesteps < 1:
        raise UsageError(f"a diffusion needs at least 1 timestep, got {timesteps}")
    if not (0 < start < 1 and 0 < end < 1):
        raise UsageError(f"betas must be between 0 and 1, got {start} to {end}")
    if schedule == "linear":
        betas = _spaced(start, end, timesteps)
    elif schedule == "quad":
        betas = _spaced(start**0.5, end**0.5, timesteps).square()
    elif schedule == "const":
        betas = _spaced(end, end, timesteps)
    elif schedule == "jsd":
        betas = 1 / _spaced(timesteps, 1, timesteps)
    else:
        betas = _spaced(-6, 6, timesteps).sigmoid() * (end - start) + start
    betas = betas.float()
    if (1 - betas[0]) >= 1:
        raise UsageError(f"the first beta, {betas[0]:.1g}, adds no noise in float32: take a larger one")
    return betas


class Diffusion:
    """A process with its betas: noising, and sampling by any noise predictor.

    Attributes:
        betas, alphas_bar: ``(T,)`` float32 on the processor.
    """

    def __init__(self, betas: Tensor) -> None:
        self.betas = betas
        self.alphas_bar = (1 - betas).cumprod(0)

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.betas)

    def visited(self, steps: int, spacing: Spacing = "leading") -> list[int]:
        """The steps that a sampler visits, in its order (descending).

        Raises:
            UsageError: fewer than 1 step or more than there are.
        """
        timesteps = self.timesteps
        if not 1 <= steps <= timesteps:
            raise UsageError(f"steps must be from 1 to {timesteps}, got {steps}")
        if spacing == "leading":
            return list(range(0, timesteps, timesteps // steps))[::-1]
        if spacing == "trailing":
            return [round(timesteps * (steps - i) / steps) - 1 for i in range(steps)]
        levels = [_log_snr(a) for a in self.alphas_bar.tolist() if a > 0]
        wanted = [levels[-1] + (levels[0] - levels[-1]) * i / steps for i in range(steps)]
        return sorted({min(range(len(levels)), key=lambda t: abs(levels[t] - level)) for level in wanted}, reverse=True)

    def noised(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """``(B, C, h, w)`` at the steps ``t`` ``(B,)`` (integers): sqrt(a) clean + sqrt(1 - a) noise."""
        # in bfloat16 sqrt(1 - a) would be 0 at the first steps
        dtype = torch.promote_types(clean.dtype, torch.float32)
        a = self.alphas_bar.to(clean.device)[t].to(dtype)[:, None, None, None]
        return a.sqrt() * clean + (1 - a).sqrt() * noise

    def sample(
        self,
        predict: Predict,
        start: Tensor,
        sampling: Sampling,
        injected: Sequence[Tensor] | Tensor = (),
        on_step: OnStep | None = None,
    ) -> Tensor:
        """From noise to a clean sample, not clamped. Gradients run through all of it.

        Args:
            predict: ``(x (B, C, h, w), t (B,) of x's dtype) -> noise (B, C, h, w)``.
            start: x_T, ``(B, C, h, w)``.
            injected: where eta > 0, the noise of each visited step (the last one's is not used), ``(B, C, h, w)`` each.
            on_step: called as ``on_step(step, steps)`` after every step, counted from 1.

        Raises:
            UsageError: more steps than there are, injected noise that is missing, or no signal where sampling begins.
        """
        steps = self.visited(sampling.steps, sampling.spacing)
        if sampling.eta and len(injected) < len(steps) - 1:
            raise UsageError(
                f"eta {sampling.eta:g} injects noise after each of {len(steps)} steps but the last, got noise for "
                f"{len(injected)}"
            )
        levels = [float(self.alphas_bar[t]) for t in steps] + [1.0]
        if levels[0] <= 0:
            raise UsageError(
                f"the schedule leaves no signal at step {steps[0]}, where sampling begins: take other steps"
            )
        x, history = start, None
        for i, t in enumerate(steps):
            a, following = levels[i], levels[i + 1]
            predicted = predict(x, x.new_full((len(x),), t))
            clean = (x - predicted * math.sqrt(1 - a)) / math.sqrt(a)
            if sampling.sampler == "dpm++":
                x = _second_order(x, clean, history, a, following)
                history = clean, a
            else:
                noise = injected[i] if sampling.eta and following < 1 else None
                x = _implicit(clean, predicted, a, following, sampling.eta, noise)
            if on_step is not None:
                on_step(i + 1, len(steps))
        return x


def _implicit(clean: Tensor, predicted: Tensor, a: float, following: float, eta: float, noise: Tensor | None) -> Tensor:
    """DDIM: from alpha-bar ``a`` to ``following``."""
    sigma = eta * math.sqrt((1 - a / following) * (1 - following) / (1 - a))
    x = clean * math.sqrt(following) + predicted * math.sqrt(1 - following - sigma**2)
    return x if noise is None else x + sigma * noise


def _second_order(x: Tensor, clean: Tensor, history: tuple[Tensor, float] | None, a: float, following: float) -> Tensor:
    """DPM-Solver++(2M): from alpha-bar ``a`` to ``following``, with the clean sample of the step before."""
    if following == 1:
        return clean  # the last step is of first order, to where the noise is gone
    h = _log_snr(following) - _log_snr(a)
    if history is not None:
        before, level = history
        share = h / (2 * (_log_snr(a) - _log_snr(level)))  # 1 / (2 r)
        clean = (1 + share) * clean - share * before
    return math.sqrt((1 - following) / (1 - a)) * x - math.sqrt(following) * math.expm1(-h) * clean


def _log_snr(a: float) -> float:
    """lambda = log(alpha / sigma)."""
    return 0.5 * math.log(a / (1 - a))


def _spaced(start: float, end: float, count: int) -> Tensor:
    return torch.linspace(start, end, count, dtype=torch.float64, device="cpu")  # also where networks are built on meta
