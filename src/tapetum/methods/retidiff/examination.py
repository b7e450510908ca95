"""What is looked at while Reti-Diff learns, beside its losses."""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.methods.contract import Examination
from tapetum.methods.retidiff.decomposition import Decomposition, dead_channels, product
from tapetum.methods.retidiff.network import RetiDiff
from tapetum.methods.retidiff.stage1 import Stage1


@torch.no_grad()
def examine_decomposition(network: Decomposition, low: Tensor, target: Tensor | None) -> Examination:
    """Scored is the target put together again (without one: the dark picture).

    Measures: "error_low", "error_high": mean |R L - I|; "dead_low", "dead_high": the largest share of zeros in a
    channel; "agreement": correlation of the two reflectances. Pictures: R and L of the low, R and L of the target.
    """
    maps = network.decom_low(low)
    measures = {"error_low": (product(maps) - low).abs().mean().item(), "dead_low": dead_channels(maps)}
    if target is None:
        return Examination(product(maps), measures, _shown(maps))
    high = network.decom_high(target)
    reflectances = torch.stack([maps[:, :3].flatten(), high[:, :3].flatten()])
    measures |= {
        "error_high": (product(high) - target).abs().mean().item(),
        "dead_high": dead_channels(high),
        "agreement": reflectances.corrcoef()[0, 1].nan_to_num().item(),
    }
    return Examination(product(high), measures, _shown(maps) + _shown(high))


@torch.no_grad()
def examine_stage1(network: Stage1, low: Tensor, target: Tensor | None) -> Examination:
    """Scored is the picture that was restored with the target's help: what stage 2 can reach at best.

    Measures: "dead": the largest share of zeros in a channel of what the auxiliary decoder finds of the target;
    "prior": mean absolute value of the priors. Pictures: R and L of the low and of the target, and R and L as decoded.
    """
    target = low if target is None else target
    maps = network.maps(low, target)
    priors = network.priors(low, target, *maps)
    restored = network.with_auxiliary(low, priors)
    measures = {"dead": dead_channels(restored.maps), "prior": torch.cat(priors).abs().mean().item()}
    shown = [picture for each in (*maps, restored.maps) for picture in _shown(each)]
    return Examination(restored.enhanced, measures, shown)


@torch.no_grad()
def examine_stage2(network: RetiDiff, low: Tensor, target: Tensor | None) -> Examination:
    """Of a dark picture ``(1, 3, H, W)``: R and L; and where there is a target and a teacher, "prior_rex" and
    "prior_rgb": mean absolute error of the sampled priors, relative to the mean absolute value of the teacher's;
    "psnr_taught": PSNR with the teacher's priors, unrounded.
    """
    maps = network.maps(low)
    measures: dict[str, float] = {}
    if target is not None and network.config.teacher:
        teacher = network.teacher
        taught = teacher.priors(low, target, maps, teacher.decom_high(target))
        for name, ours, theirs in zip(("rex", "rgb"), network.sampled(low, maps), taught, strict=True):
            measures[f"prior_{name}"] = ((ours - theirs).abs().mean() / theirs.abs().mean().clamp(min=1e-12)).item()
        error = (network.G(low, *taught).clamp(0, 1) - target).square().mean().clamp(min=1e-10)
        measures["psnr_taught"] = -10 * error.log10().item()
    return Examination(None, measures, _shown(maps))


def _shown(maps: Tensor) -> list[Tensor]:
    """R and L as pictures."""
    return [maps[:, :3].clamp(0, 1), maps[:, 3:].clamp(0, 1).expand(-1, 3, -1, -1)]
