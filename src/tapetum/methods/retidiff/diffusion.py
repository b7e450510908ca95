"""The latent diffusion of Reti-Diff: a process on one vector per picture, of few steps, unrolled as a whole.

It differs from the usual one: the network predicts the clean vector itself, a step takes the mean of the posterior
without adding noise, and training always begins at the last time step and goes through the whole chain.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.errors import UsageError
from tapetum.methods.retidiff.extractors import RetinexExtractor, RGBExtractor

_SLOPE = 0.1


class Denoiser(nn.Module):
    """Predicts a prior from a noisy one, the time and a condition.

    Args:
        layers: after the first one ("n_denoise_res": they are not residual).
        timesteps: T.
    """

    def __init__(self, prior: int, layers: int, timesteps: int) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.resmlp = nn.Sequential(
            nn.Linear(2 * prior + 1, prior),
            nn.LeakyReLU(_SLOPE),
            *(_Layer(prior) for _ in range(layers)),
        )

    def forward(self, x: Tensor, t: int, condition: Tensor) -> Tensor:
        """x and condition ``(B, P)``, t from 0 to T - 1 -> ``(B, P)``."""
        time = x.new_full((len(x), 1), t / (10 * self.timesteps))
        return self.resmlp(torch.cat([condition, time, x], dim=1))


class _Layer(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.resmlp = nn.Sequential(nn.Linear(size, size), nn.LeakyReLU(_SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        return self.resmlp(x)


class LatentDiffusion(nn.Module):
    """The process, with the denoiser and the condition's extractor that belong to it.

    Its schedule is stored in buffers, which a checkpoint replaces.

    Args:
        model, condition: also known to the network under other names; published files hold both.
    """

    betas: Tensor
    alphas_cumprod: Tensor
    sqrt_alphas_cumprod: Tensor
    sqrt_one_minus_alphas_cumprod: Tensor
    posterior_mean_coef1: Tensor
    posterior_mean_coef2: Tensor

    def __init__(
        self,
        model: Denoiser,
        condition: RGBExtractor | RetinexExtractor,
        linear_start: float,
        linear_end: float,
    ) -> None:
        super().__init__()
        for name, values in schedule(linear_start, linear_end, model.timesteps).items():
            self.register_buffer(name, values)
        self.model = model
        self.condition = condition

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.betas)

    def sample(self, image: Tensor, start: Tensor, steps: int | None = None) -> Tensor:
        """The prior of what the condition's extractor sees.

        Args:
            image: ``(B, C, H, W)``.
            start: standard normal ``(B, P)``.
            steps: how many of the T time steps are visited; None: all.
        """
        return self.chain(self.condition(image), start, steps)[-1]

    def unrolled(self, image: Tensor, clean: Tensor, noise: Tensor) -> list[Tensor]:
        """Training: from a clean prior with all the noise of the last time step, every state of the chain, the last
        one being the prior."""
        signal, share = self.sqrt_alphas_cumprod[-1], self.sqrt_one_minus_alphas_cumprod[-1]
        return self.chain(self.condition(image), signal * clean + share * noise)

    def chain(self, condition: Tensor, start: Tensor, steps: int | None = None) -> list[Tensor]:
        """The states after each step, for a condition ``(B, P)``."""
        x, states = start, []
        for t, first, second in self._coefficients(steps):
            x = first * self.model(x, t, condition) + second * x
            states.append(x)
        return states

    def _coefficients(self, steps: int | None) -> list[tuple[int, Tensor, Tensor]]:
        """Time, and what prediction and state are multiplied by, of each step."""
        times = visited(self.timesteps, self.timesteps if steps is None else steps)
        if len(times) == self.timesteps:
            return [(t, self.posterior_mean_coef1[t], self.posterior_mean_coef2[t]) for t in times]
        alphas = F.pad(self.alphas_cumprod, (0, 1), value=1.0)  # [-1] is that of the clean vector
        return [(t, *_posterior(alphas[t], alphas[then])) for t, then in zip(times, [*times[1:], -1], strict=True)]


def visited(timesteps: int, steps: int) -> list[int]:
    """From T - 1 down to 0, evenly; of one step T - 1 alone. Raises UsageError for other numbers than 1 to T."""
    if not 1 <= steps <= timesteps:
        raise UsageError(f"retidiff: steps must be from 1 to {timesteps}, got {steps}")
    if steps == 1:
        return [timesteps - 1]
    return [(timesteps - 1) * (steps - 1 - i) // (steps - 1) for i in range(steps)]


def schedule(linear_start: float, linear_end: float, timesteps: int) -> dict[str, Tensor]:
    """The 12 buffers ``(T,)`` of a process, computed in double precision: betas evenly spaced in their roots."""
    beta = torch.linspace(linear_start**0.5, linear_end**0.5, timesteps, dtype=torch.float64).square()
    alpha = (1 - beta).cumprod(dim=0)
    before = F.pad(alpha[:-1], (1, 0), value=1.0)
    variance = beta * (1 - before) / (1 - alpha)
    first, second = _posterior(alpha, before)
    values = {
        "betas": beta,
        "alphas_cumprod": alpha,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": alpha.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - alpha).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - alpha).log(),
        "sqrt_recip_alphas_cumprod": (1 / alpha).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / alpha - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": first,
        "posterior_mean_coef2": second,
    }
    return {name: value.float() for name, value in values.items()}


def _posterior(now: Tensor, then: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of the clean vector and of the state in the mean of the state at an earlier time."""
    step = now / then
    return (1 - step) * then.sqrt() / (1 - now), (1 - then) * step.sqrt() / (1 - now)


def check_noise(noise: Sequence[Tensor] | Tensor, shape: tuple[int, ...]) -> None:
    """Raises UsageError unless noise has the shape, or that of one picture."""
    for each in [noise] if isinstance(noise, Tensor) else noise:
        if tuple(each.shape) not in (shape, (1, *shape[1:])):
            raise UsageError(f"retidiff: noise must have the shape {shape}, got {tuple(each.shape)}")
