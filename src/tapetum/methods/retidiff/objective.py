"""How Reti-Diff learns: the decomposition, stage 1 (priors that see the target), stage 2 (priors that are sampled)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from tapetum.errors import UsageError
from tapetum.losses import Loss, freed, l1, number
from tapetum.methods.contract import Examination
from tapetum.methods.retidiff.decomposition import Decomposition, product
from tapetum.methods.retidiff.examination import examine_decomposition, examine_stage1, examine_stage2
from tapetum.methods.retidiff.network import RetiDiff
from tapetum.methods.retidiff.rgformer import Restored
from tapetum.methods.retidiff.stage1 import Priors, Stage1

Losses = dict[str, Tensor]
Phase = Literal["prior", "joint"]


class DecompositionObjective:
    """Both decomposition networks, from pairs; the published program does not train them, and this is ours.

    loss of a picture I = mean |R L - I| + light mean (L - max_c I)^2, and of targets + smooth (mean squared difference
    of neighbours in L, across and down).

    Raises:
        UsageError: a negative weight.
    """

    def __init__(self, light: float = 0.1, smooth: float = 1.0) -> None:
        self.light = number("light", light)
        self.smooth = number("smooth", smooth)

    def check(self, network: nn.Module) -> None:
        """Raises UsageError for a network that is but one."""
        if not cast("Decomposition", network).config.pair:
            raise UsageError("retidiff_decomposition: training is of a pair of networks: take the config pair")

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Losses:
        """``batch``: "low" and "target", ``(B, 3, H, W)`` in [0, 1]. Returns the scalar "loss", and "low" and "high",
        |R L - I| of each."""
        model = cast("Decomposition", network)
        low_maps, high_maps = model.decom_low(batch["low"]), model.decom_high(batch["target"])
        errors = {"low": l1(product(low_maps), batch["low"]), "high": l1(product(high_maps), batch["target"])}
        light = _too_bright(low_maps, batch["low"]) + _too_bright(high_maps, batch["target"])
        smooth = sum(high_maps[:, 3:].diff(dim=dim).square().mean() for dim in (-1, -2))
        total = errors["low"] + errors["high"] + self.light * light + self.smooth * smooth
        return {"loss": total} | {name: error.detach() for name, error in errors.items()}

    def examine(self, network: nn.Module, low: Tensor, target: Tensor | None) -> Examination:
        """See :func:`tapetum.methods.retidiff.examination.examine_decomposition`."""
        return examine_decomposition(cast("Decomposition", network), low, target)


class Stage1Objective:
    """RGformer and extractors, from pairs: L1 of the picture, and of what the auxiliary decoder finds.

    loss = pixel (|enhanced - target| + |decoded [R, L] - [R, L] of the target| + |decoded R L - low|), means.

    Args:
        pixel: weight of all three terms.
        brightness_free, gradient: ours, for short trainings: of :func:`tapetum.losses.partly_free`, for the first term.

    Raises:
        UsageError: a negative weight, a share above 1.
    """

    def __init__(self, pixel: float = 1.0, brightness_free: float = 0.0, gradient: float = 0.0) -> None:
        self.pixel = number("pixel", pixel)
        self.loss = freed(l1, brightness_free, gradient)

    def check(self, network: nn.Module) -> None:
        """Raises UsageError for a network without its decomposition."""
        if not cast("Stage1", network).config.decomposition:
            raise UsageError("retidiff_stage1: training needs decomposition: true in the recipe's config")

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Losses:
        """``batch``: "low" and "target", ``(B, 3, H, W)`` in [0, 1], sides multiples of 8. Returns the scalar "loss",
        and its terms with their weight: "pix", "recon_out", "recon_in"."""
        model, low, target = cast("Stage1", network), batch["low"], batch["target"]
        with torch.autocast(low.device.type, enabled=False):  # as stage 2 and its teacher see them
            with torch.no_grad():
                low_maps, target_maps = model.maps(low, target)
            priors = model.priors(low, target, low_maps, target_maps)
        restored = model.with_auxiliary(low, priors)
        losses = pixel_losses(restored, low, target, target_maps, self.pixel, self.loss)
        return _sum(losses)

    def examine(self, network: nn.Module, low: Tensor, target: Tensor | None) -> Examination:
        """See :func:`tapetum.methods.retidiff.examination.examine_stage1`."""
        return examine_stage1(cast("Stage1", network), low, target)


class Stage2Objective:
    """The diffusions, taught by the priors of stage 1, and in the joint phase the RGformer with them.

    loss = distillation (|Retinex prior - teacher's| + |RGB prior - teacher's|), means over their numbers, of the last
    state of each chain; and in the joint phase what stage 1 has.

    Args:
        phase: "prior": the RGformer is not run and does not learn; "joint": everything.
        pixel: weight of the three terms of stage 1.
        distillation: weight of the two of the priors.
        temperature: of the divergence that is logged, and has never been optimised ("kd_rex", "kd_rgb").
        brightness_free, gradient: as in stage 1.

    Raises:
        UsageError: another phase, a negative weight, a share above 1, a temperature that is not above 0.
    """

    def __init__(
        self,
        phase: Phase = "joint",
        pixel: float = 1.0,
        distillation: float = 1.0,
        temperature: float = 0.15,
        brightness_free: float = 0.0,
        gradient: float = 0.0,
    ) -> None:
        if phase not in ("prior", "joint"):
            raise UsageError(f"objective.phase must be prior or joint, got {phase!r}")
        self.phase: Phase = phase
        self.pixel = number("pixel", pixel)
        self.distillation = number("distillation", distillation)
        self.temperature = number("temperature", temperature)
        self.loss = freed(l1, brightness_free, gradient)
        if not self.temperature:
            raise UsageError("objective.temperature must be above 0")

    def check(self, network: nn.Module) -> None:
        """Takes the RGformer out of the prior phase. Raises UsageError for a network that stage 2 cannot train."""
        config = cast("RetiDiff", network).config
        missing = [name for name in ("decomposition", "teacher", "auxiliary") if not getattr(config, name)]
        if missing:
            raise UsageError(
                f"retidiff: training needs {missing[0]}: true in the recipe's config (as the config training has it)"
            )
        if self.phase == "prior":
            cast("RetiDiff", network).G.requires_grad_(False)

    def __call__(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Losses:
        """``batch``: "low" and "target", ``(B, 3, H, W)`` in [0, 1], sides multiples of 8. Draws from torch's global
        generator. Returns the scalar "loss", its terms with their weights ("abs_rex", "abs_rgb", in the joint phase
        also "pix", "recon_out", "recon_in"), and "kd_rex" and "kd_rgb", which are no part of it."""
        model, low = cast("RetiDiff", network), batch["low"]
        shape = (len(low), model.config.prior)
        return self.losses(model, batch, Priors(*(torch.randn(shape, device=low.device) for _ in range(2))))

    def losses(self, network: RetiDiff, batch: Mapping[str, Tensor], noise: Priors) -> Losses:
        """The same with given noise."""
        low, target = batch["low"], batch["target"]
        with torch.autocast(low.device.type, enabled=False):  # as in use (RetiDiff.sampled)
            lesson = taught(network, low, target)
            priors = Priors(
                network.rex_diffusion.unrolled(lesson.low_maps, lesson.priors.rex, noise.rex)[-1],
                network.img_diffusion.unrolled(low, lesson.priors.rgb, noise.rgb)[-1],
            )
        losses, logged = {}, {}
        for name, student, teacher in zip(("rex", "rgb"), priors, lesson.priors, strict=True):
            divergence, losses[f"abs_{name}"] = distillation(student, teacher, self.temperature, self.distillation)
            logged[f"kd_{name}"] = divergence.detach()
        if self.phase == "joint":
            restored = network.with_auxiliary(low, priors)
            losses |= pixel_losses(restored, low, target, lesson.target_maps, self.pixel, self.loss)
        return _sum(losses) | logged

    def examine(self, network: nn.Module, low: Tensor, target: Tensor | None) -> Examination:
        """See :func:`tapetum.methods.retidiff.examination.examine_stage2`."""
        return examine_stage2(cast("RetiDiff", network), low, target)


class Lesson(NamedTuple):
    """What stage 2 learns from, without gradients: the teacher's priors, and [R, L] of both pictures."""

    priors: Priors
    low_maps: Tensor
    target_maps: Tensor


@torch.no_grad()
def taught(network: RetiDiff, low: Tensor, target: Tensor) -> Lesson:
    """Both pictures ``(B, 3, H, W)`` in [0, 1] as the frozen parts see them."""
    low_maps, target_maps = network.maps(low), network.teacher.decom_high(target)
    return Lesson(network.teacher.priors(low, target, low_maps, target_maps), low_maps, target_maps)


def pixel_losses(
    restored: Restored, low: Tensor, target: Tensor, target_maps: Tensor, weight: float, loss: Loss
) -> Losses:
    """The three terms of stage 1, with their weight; ``loss``: of the picture."""
    return {
        "pix": weight * loss(restored.enhanced, target),
        "recon_out": weight * l1(restored.maps, target_maps),
        "recon_in": weight * l1(restored.image, low),
    }


def distillation(
    student: Tensor, teacher: Tensor, temperature: float = 0.15, weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Kullback-Leibler divergence of softmaxed priors (mean over pictures), and mean absolute error; ``(B, P)``."""
    p, log_p = (f(teacher.detach() / temperature, dim=1) for f in (torch.softmax, torch.log_softmax))
    log_q = torch.log_softmax(student / temperature, dim=1)
    return weight * (p * (log_p - log_q)).sum() / len(student), weight * (student - teacher.detach()).abs().mean()


def _too_bright(maps: Tensor, image: Tensor) -> Tensor:
    return (maps[:, 3:] - image.amax(dim=1, keepdim=True)).square().mean()


def _sum(losses: Losses) -> Losses:
    total = torch.stack(list(losses.values())).sum()
    return {"loss": total} | {name: loss.detach() for name, loss in losses.items()}
