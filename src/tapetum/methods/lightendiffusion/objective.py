"""How LightenDiffusion learns: stage 1 on two exposures of a scene, stage 2 on unpaired dark and normal pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tapetum.errors import UsageError
from tapetum.losses import number
from tapetum.methods.contract import Examination
from tapetum.methods.lightendiffusion.examination import examine_stage1, examine_stage2
from tapetum.methods.lightendiffusion.network import LightenDiffusion, to_latent
from tapetum.methods.lightendiffusion.process import Sampling
from tapetum.methods.lightendiffusion.stage1 import Stage1

Losses = dict[str, Tensor]


class Stage1Objective:
    """Encoder, decoder and CTDN, from two aligned exposures of a scene (as the paper says; its program is not public).

    loss = content * sum_i |I_i - D(F_i; I_i)|^2 + cross * sum_{i != j} |I_j - D(F_j; I_i)|^2
         + exchange * sum_{i != j} |I_j - D(R_i L_j; I_i)|^2 + flat * sum_{i != j} |I_j - D(R_i mean L_j; I_i)|^2
         + anchor * sum_i |mean L_i - mean max_c I_i|
         + sum_ij |F_j - R_i L_j| + reflectance * |R_1 - R_2|
         + illumination * sum_i |grad L_i * exp(-edge |grad R_i|)|^2

    with F = encoder(I), (R, L) = CTDN(F), D(F; I) the decoder with the skips of I, and means for norms. Nothing in the
    published terms forces the latent to carry what is in the picture: the decoder can copy the skips. ``cross`` and
    ``exchange``, which are ours, ask for what stage 2 will do: one exposure's latent, or what its illumination makes of
    the other's reflectance, decoded with the other's skips. In stage 2 that illumination comes from another scene, so
    it must hold nothing of its own: ``flat``, ours, leaves of it only the mean of each channel, and the reflectance has
    to say the rest. Nor does anything say that light is large where a picture is bright, which stage 2's pseudo target
    takes for granted, and networks do learn it upside down: ``anchor``, ours, ties the mean illumination of a picture
    to the mean of its brightest channel. And what stage 2 samples is near the latent, not equal: ``noise``, ours, is
    added to whatever is decoded in training, so that no channel says something in a range that is not sampled so well.

    Args:
        content: weight of the content loss.
        cross: weight of the cross content loss; 0 as published.
        exchange: weight of the loss of exchanged illuminations, which always trains all; 0 as published.
        flat: the same with the other's mean illumination; 0 as published.
        anchor: weight of the illumination's mean, which always trains all; 0 as published.
        noise: deviation of the noise on latents (which are in 0..1) before they are decoded; 0 as published.
        reflectance, illumination, edge: lambda_ref, lambda_ill and lambda_g of the paper.
        decomposition_trains: "all": the losses of the decomposition reach the encoder, too; "ctdn": CTDN alone.

    Raises:
        UsageError: a negative weight, or another word.
    """

    def __init__(
        self,
        content: float = 1.0,
        cross: float = 0.0,
        exchange: float = 0.0,
        flat: float = 0.0,
        anchor: float = 0.0,
        noise: float = 0.0,
        reflectance: float = 0.1,
        illumination: float = 0.01,
        edge: float = 10.0,
        decomposition_trains: Literal["all", "ctdn"] = "all",
    ) -> None:
        if decomposition_trains not in ("all", "ctdn"):
            raise UsageError(f"objective.decomposition_trains must be all or ctdn, got {decomposition_trains!r}")
        self.content = number("content", content)
        self.cross = number("cross", cross)
        self.exchange = number("exchange", exchange)
        self.flat = number("flat", flat)
        self.anchor = number("anchor", anchor)
        self.noise = number("noise", noise)
        self.reflectance = number("reflectance", reflectance)
        self.illumination = number("illumination", illumination)
        self.edge = number("edge", edge)
        self.decomposition_trains = decomposition_trains

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Losses:
        """``batch``: "low" and "target", two exposures ``(B, 3, H, W)`` in [0, 1]. Returns the scalar "loss", and its
        terms without their weights."""
        stage1 = cast("Stage1", network)
        images = torch.stack([batch["low"], batch["target"]])
        latents, skips = stage1.encode(images.flatten(0, 1))

        def decode(latent: Tensor) -> Tensor:
            return stage1.decode(latent + self.noise * torch.randn_like(latent) if self.noise else latent, skips)

        losses = {"content": 2 * _mean_square(images.flatten(0, 1), decode(latents))}
        reflectance, illumination = stage1.decompose(latents)
        others = _exchanged(images.flatten(0, 1))
        if self.cross:
            losses["cross"] = 2 * _mean_square(others, decode(_exchanged(latents)))
        if self.exchange:
            losses["exchange"] = 2 * _mean_square(others, decode(reflectance * _exchanged(illumination)))
        if self.flat:
            mean = _exchanged(illumination.mean(dim=(2, 3), keepdim=True))
            losses["flat"] = 2 * _mean_square(others, decode(reflectance * mean))
        if self.anchor:
            bright = images.flatten(0, 1).amax(dim=1).mean(dim=(1, 2))
            losses["anchor"] = 2 * (illumination.mean(dim=(1, 2, 3)) - bright).abs().mean()
        if self.decomposition_trains == "ctdn":
            latents = latents.detach()
            reflectance, illumination = stage1.decompose(latents)
        latents, reflectance, illumination = (x.unflatten(0, (2, -1)) for x in (latents, reflectance, illumination))
        losses |= decomposition_losses(latents, reflectance, illumination, self.edge)
        weights = {"content": self.content, "cross": self.cross, "exchange": self.exchange, "flat": self.flat}
        weights |= {"anchor": self.anchor, "reconstruction": 1.0, "reflectance": self.reflectance}
        weights |= {"illumination": self.illumination}
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total} | {name: loss.detach() for name, loss in losses.items()}

    def examine(self, network: nn.Module, low: Tensor, target: Tensor | None) -> Examination:
        """See :func:`tapetum.methods.lightendiffusion.examination.examine_stage1`."""
        return examine_stage1(cast("Stage1", network), low, target)


def decomposition_losses(latents: Tensor, reflectance: Tensor, illumination: Tensor, edge: float = 10.0) -> Losses:
    """Of two exposures: "reconstruction" (all four products), "reflectance" and "illumination", without weights.

    Args:
        latents, reflectance, illumination: ``(2, B, 3, h, w)``.
    """
    across, down = (_smoothness(reflectance, illumination, dim, edge) for dim in (-1, -2))
    products = reflectance[:, None] * illumination[None]  # (i, j, ...): reflectance of i, illumination of j
    return {
        "reconstruction": 4 * (latents[None] - products).abs().mean(),
        "reflectance": (reflectance[0] - reflectance[1]).abs().mean(),
        "illumination": 2 * (across + down),
    }


def _smoothness(reflectance: Tensor, illumination: Tensor, dim: int, edge: float) -> Tensor:
    return (illumination.diff(dim=dim) * torch.exp(-edge * reflectance.diff(dim=dim).abs())).square().mean()


def _exchanged(pairs: Tensor) -> Tensor:
    """``(2 B, ...)``, first all of one exposure, then of the other: the other order."""
    return torch.cat(pairs.chunk(2)[::-1])


@dataclass(frozen=True)
class Draws:
    """What one step of stage 2 draws.

    Attributes:
        steps: ``(B // 2 + 1,)`` integers in [0, T).
        noise: ``(B, 3, h, w)``, added to the clean latent.
        start: ``(B, 3, h, w)``, where the sampler begins.
    """

    steps: Tensor
    noise: Tensor
    start: Tensor


class Stage2Objective:
    """The noise predictor, from unpaired pictures; the first stage is frozen (section 6.2 of the paper's program).

    loss = |eps(x_t, t) - noise|^2 + consistency * |sampled latent - R_low L_low^gamma|, with
    x_0 = 2 R_low L_normal - 1, condition 2 F_low - 1, and the whole sampler in the second term, gradients included.

    Args:
        consistency: weight of the self-constrained consistency loss; 0 leaves the sampler out.
        gamma: exponent of the pseudo target's illumination.
        steps: of the sampler; None: what the network's configuration says.
        checkpointing: keep one step of the sampler in memory at a time and compute it anew for its gradient; the
            numbers stay the same.

    Raises:
        UsageError: a negative weight, or no step.
    """

    def __init__(
        self,
        consistency: float = 1e-3,
        gamma: float = 0.2,
        steps: int | None = None,
        checkpointing: bool = True,
    ) -> None:
        self.consistency = number("consistency", consistency)
        self.gamma = number("gamma", gamma)
        self.sampling = None if steps is None else Sampling(steps)
        self.checkpointing = checkpointing

    def check(self, network: nn.Module) -> None:
        """Raises UsageError where the sampler has more steps than the process."""
        if self.sampling is not None:
            cast("LightenDiffusion", network).diffusion.visited(self.sampling.steps)

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Losses:
        """``batch``: "low" and "target", ``(B, 3, H, W)`` in [0, 1]; the target is any normal picture. Draws from
        torch's global generator. Returns the scalar "loss", and its two parts with their weights."""
        model = cast("LightenDiffusion", network)
        latents = decomposed(model.decom, batch["low"], batch["target"])
        shape, device = latents.condition.shape, latents.condition.device
        count = shape[0] // 2 + 1
        draws = Draws(
            steps=torch.randint(0, model.diffusion.timesteps, (count,), device=device),
            noise=torch.randn(shape, device=device),
            start=torch.randn(shape, device=device),
        )
        return self.losses(model, latents, draws)

    def examine(self, network: nn.Module, low: Tensor, target: Tensor | None) -> Examination:
        """See :func:`tapetum.methods.lightendiffusion.examination.examine_stage2`."""
        return examine_stage2(cast("LightenDiffusion", network), low, target, self.gamma)

    def losses(self, network: LightenDiffusion, latents: Latents, draws: Draws) -> Losses:
        """The same, of given latents and draws."""
        diffusion, condition = network.diffusion, latents.condition
        t = antithetic(draws.steps, len(condition), diffusion.timesteps)
        noisy = diffusion.noised(latents.clean, draws.noise, t)
        predicted = network.predict_noise(condition, noisy, t)
        losses = {"noise": _mean_square(predicted, draws.noise)}
        if self.consistency:
            sampled = self.sampled(network, condition, draws.start)
            target = pseudo_target(latents.reflectance, latents.illumination, self.gamma)
            losses["consistency"] = self.consistency * (sampled - target).abs().mean()
        total = torch.stack(list(losses.values())).sum()
        return {"loss": total} | {name: loss.detach() for name, loss in losses.items()}

    def sampled(self, network: LightenDiffusion, condition: Tensor, start: Tensor) -> Tensor:
        """The restored latent ``(B, 3, h, w)`` in [0, 1], with gradients through every step."""

        def predict(x: Tensor, t: Tensor) -> Tensor:
            if self.checkpointing and torch.is_grad_enabled():
                return cast("Tensor", checkpoint(network.predict_noise, condition, x, t, use_reentrant=False))
            return network.predict_noise(condition, x, t)

        sampling = self.sampling or Sampling(network.config.num_sampling_timesteps)
        return to_latent(network.diffusion.sample(predict, start, sampling))


@dataclass(frozen=True)
class Latents:
    """What the frozen first stage gives stage 2, each ``(B, 3, h, w)``.

    Attributes:
        condition: 2 F_low - 1.
        clean: x_0 = 2 R_low L_normal - 1.
        reflectance, illumination: of the dark picture, in (0, 1).
    """

    condition: Tensor
    clean: Tensor
    reflectance: Tensor
    illumination: Tensor


@torch.no_grad()
def decomposed(stage1: Stage1, low: Tensor, normal: Tensor) -> Latents:
    """Both pictures ``(B, 3, H, W)`` in [0, 1] through the first stage, never in low precision: 2 F - 1 of a small F
    would be a few steps of bfloat16."""
    with torch.autocast(low.device.type, enabled=False):
        latents, _ = stage1.encode(torch.cat([low, normal]))
        reflectance, illumination = stage1.decompose(latents)
    return combined(latents[: len(low)], reflectance[: len(low)], *illumination.split(len(low)))


def combined(latent: Tensor, reflectance: Tensor, illumination: Tensor, normal_illumination: Tensor) -> Latents:
    """From the dark picture's latent, reflectance and illumination, and the normal picture's illumination."""
    return Latents(2 * latent - 1, 2 * reflectance * normal_illumination - 1, reflectance, illumination)


def pseudo_target(reflectance: Tensor, illumination: Tensor, gamma: float = 0.2) -> Tensor:
    """What the sampler's result is held to: R_low L_low^gamma."""
    return reflectance * illumination**gamma


def antithetic(draws: Tensor, count: int, timesteps: int) -> Tensor:
    """``count`` steps from ``count // 2 + 1`` draws: these, then their mirror images, as many as are needed."""
    return torch.cat([draws, timesteps - 1 - draws])[:count]


def _mean_square(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean()
