"""How Reti-Diff learns: what does in which phase, by which losses, and how it is examined."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tapetum.errors import UsageError
from tapetum.methods.registry import make_config
from tapetum.methods.retidiff import (
    DECOMPOSITION,
    METHOD,
    STAGE1,
    Decomposition,
    DecompositionConfig,
    DecompositionObjective,
    Priors,
    RetiDiff,
    Stage1,
    Stage1Objective,
    Stage2Objective,
)

TINY = METHOD.configs["tiny"]
# as published files are, but small
SMALL = dataclasses.replace(TINY, decomposition=False, teacher=False)
Seeded = Callable[..., Any]
Make = Callable[..., Tensor]


@pytest.fixture
def batch(picture: Make) -> dict[str, Tensor]:
    low = picture(2)
    return {"low": low, "target": (1.6 * low + 0.1).clamp(0, 1)}


@pytest.fixture
def frozen(seeded: Seeded) -> Callable[[], RetiDiff]:
    def make() -> RetiDiff:
        network = seeded(RetiDiff, TINY).train()
        network.freeze_others()
        return network

    return make


def trained(network: nn.Module, objective: Any, batch: dict[str, Tensor], steps: int = 3) -> set[str]:
    """Names of parameters that some steps change."""
    before = copy.deepcopy(dict(network.named_parameters()))
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 1e-3, weight_decay=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(steps):
            optimiser.zero_grad()
            objective(network, batch)["loss"].backward()
            optimiser.step()
    return {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}


def test_what_learns_in_which_phase(frozen: Callable[[], RetiDiff], batch: dict[str, Tensor]) -> None:
    network = frozen()
    objective = Stage2Objective("prior")
    objective.check(network)
    changed = trained(network, objective, batch)
    learning = {name for name, _ in network.named_parameters() if "condition" in name or "denoise" in name}
    assert changed == learning

    network = frozen()
    changed = trained(network, Stage2Objective(), batch)
    others = ("decom_low.", "teacher.")
    assert changed == {name for name, _ in network.named_parameters() if not name.startswith(others)}


def test_stage1_trains_all_but_the_decomposition(seeded: Seeded, batch: dict[str, Tensor]) -> None:
    network = seeded(Stage1, TINY.stage1).train()
    network.freeze_decomposition()
    changed = trained(network, Stage1Objective(), batch)
    assert changed == {
        name for name, _ in network.named_parameters() if not name.startswith(("decom_low", "decom_high"))
    }


def test_the_teacher_gets_the_target_and_only_it_does(
    normal: Make, frozen: Callable[[], RetiDiff], batch: dict[str, Tensor]
) -> None:
    network = frozen()
    noise = Priors(normal(2, TINY.prior), normal(2, TINY.prior, seed=3))
    objective = Stage2Objective("prior")
    first = objective.losses(network, batch, noise)
    other = objective.losses(network, {**batch, "target": batch["target"] * 0.5}, noise)
    assert first["abs_rex"] != other["abs_rex"]
    assert set(first) == {"loss", "abs_rex", "abs_rgb", "kd_rex", "kd_rgb"}
    assert first["loss"].item() == pytest.approx((first["abs_rex"] + first["abs_rgb"]).item())


def test_stage2_reaches_what_stage1_does_with_the_same_priors(seeded: Seeded, batch: dict[str, Tensor]) -> None:
    """Begun with stage 1's weights, it restores as stage 1 does once its priors are the teacher's."""
    stage1 = seeded(Stage1, TINY.stage1)
    network = RetiDiff(TINY).eval()
    for place in ("G", "decom_low"):
        network.get_submodule(place).load_state_dict(stage1.get_submodule(place).state_dict())
    with torch.no_grad():
        maps = stage1.maps(batch["low"], batch["target"])
        priors = stage1.priors(batch["low"], batch["target"], *maps)
        wanted = stage1(batch["low"], target=batch["target"])
        assert torch.equal(network.G(batch["low"], *priors), wanted)


def test_distillation_weight_and_pixel_weight(
    normal: Make, frozen: Callable[[], RetiDiff], batch: dict[str, Tensor]
) -> None:
    network = frozen()
    noise = Priors(normal(2, TINY.prior), normal(2, TINY.prior, seed=3))
    plain = Stage2Objective().losses(network, batch, noise)
    weighted = Stage2Objective(pixel=2, distillation=0.5).losses(network, batch, noise)
    for name in ("pix", "recon_in", "recon_out"):
        assert weighted[name].item() == pytest.approx(2 * plain[name].item(), rel=1e-5)
    assert weighted["abs_rex"].item() == pytest.approx(plain["abs_rex"].item() / 2, rel=1e-5)


@pytest.mark.parametrize("stage", [1, 2])
def test_partly_free_of_brightness(
    stage: int, seeded: Seeded, normal: Make, frozen: Callable[[], RetiDiff], batch: dict[str, Tensor]
) -> None:
    """A result that is only too dark costs nothing where brightness is free; what the auxiliary decoder finds does."""
    network = seeded(Stage1, TINY.stage1).train() if stage == 1 else frozen()
    restore = network.with_auxiliary
    network.with_auxiliary = lambda low, priors: restore(low, priors)._replace(enhanced=0.7 * batch["target"])

    def losses(**options: Any) -> dict[str, Tensor]:
        if stage == 1:
            return Stage1Objective(**options)(network, batch)
        noise = Priors(normal(2, TINY.prior), normal(2, TINY.prior, seed=3))
        return Stage2Objective(**options).losses(network, batch, noise)

    plain, half, free = losses(), losses(brightness_free=0.5), losses(brightness_free=1.0, gradient=0.25)
    assert plain["pix"].item() == pytest.approx(0.3 * batch["target"].mean().item(), rel=1e-5)
    assert half["pix"].item() == pytest.approx(plain["pix"].item() / 2, rel=1e-5)
    assert free["pix"] < 1e-6
    assert (free["recon_in"], free["recon_out"]) == (plain["recon_in"], plain["recon_out"])
    batch["target"] = batch["target"].flip(3)  # now the differences of neighbours are wrong, too
    network.with_auxiliary = lambda low, priors: restore(low, priors)._replace(enhanced=0.7 * batch["target"].flip(3))
    assert losses(brightness_free=1.0, gradient=0.25)["pix"] > losses(brightness_free=1.0)["pix"] + 0.01


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Stage2Objective("both"), "phase must be prior or joint, got 'both'"),  # type: ignore[arg-type]
        (lambda: Stage2Objective(pixel=-1), r"objective\.pixel must be a number from 0 up, got -1"),
        (lambda: Stage2Objective(temperature=0), "temperature must be above 0"),
        (
            lambda: Stage1Objective(brightness_free=1.5),
            r"objective\.brightness_free must be a number from 0 to 1, got 1\.5",
        ),
        (lambda: Stage2Objective(gradient=-1), r"objective\.gradient must be a number from 0 up, got -1"),
        (lambda: Stage1Objective(math.inf), r"objective\.pixel must be a number from 0 up"),
        (lambda: DecompositionObjective(light=True), r"objective\.light must be a number from 0 up, got True"),
        (lambda: Stage2Objective().check(RetiDiff(SMALL)), "retidiff: training needs decomposition: true"),
        (lambda: Stage1Objective().check(Stage1(SMALL.stage1)), "training needs decomposition: true"),
        (
            lambda: DecompositionObjective().check(Decomposition(DecompositionConfig(pair=False))),
            "training is of a pair of networks: take the config pair",
        ),
    ],
)
def test_impossible_objectives(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()


def test_decomposition_learns_to_put_together(batch: dict[str, Tensor]) -> None:
    """Ours: after some steps R L is the picture, L is near its brightest channel, and no channel has died."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Decomposition(DecompositionConfig())
    objective = DecompositionObjective()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(120):
        optimiser.zero_grad()
        losses = objective(network, batch)
        losses["loss"].backward()
        optimiser.step()
    examination = objective.examine(network, batch["low"], batch["target"])
    assert examination.measures["error_low"] < 0.05
    assert examination.measures["error_high"] < 0.1
    assert examination.measures["dead_low"] < 0.9
    assert examination.measures["dead_high"] < 0.9
    assert len(examination.pictures) == 4


def test_examinations(seeded: Seeded, picture: Make, run: Make) -> None:
    low, target = picture(), picture(seed=4)
    stage1, stage2 = seeded(Stage1, TINY.stage1), seeded(RetiDiff, TINY)
    shown = Stage1Objective().examine(stage1, low, target)
    assert shown.enhanced is not None
    assert torch.equal(shown.enhanced, run(stage1, low, target=target))
    assert set(shown.measures) == {"dead", "prior"}
    assert len(shown.pictures) == 6
    found = Stage2Objective().examine(stage2, low, target)
    assert found.enhanced is None
    assert set(found.measures) == {"prior_rex", "prior_rgb", "psnr_taught"}
    assert Stage2Objective().examine(stage2, low, None).measures == {}
    assert Stage1Objective().examine(stage1, low, None).enhanced is not None
    # priors that are the teacher's have no error
    stage2.sampled = lambda *args: stage2.teacher.priors(  # type: ignore[method-assign]
        low, target, stage2.maps(low), stage2.teacher.decom_high(target)
    )
    assert Stage2Objective().examine(stage2, low, target).measures["prior_rex"] == 0


def test_narrow_recipes_learn_by_one_loss() -> None:
    """Both stages restore under the same loss, of which the prior phase has no part."""
    pytest.importorskip("lightning")
    from tapetum.training.stages import load_stages

    for name in ("retidiff-narrow", "retidiff-backlit-narrow"):
        _, first, priors, joint = load_stages(name)
        assert first.objective == {"brightness_free": 0.5, "gradient": 0.25}
        assert joint.objective == {"phase": "joint", **first.objective}
        assert Stage2Objective(**priors.objective).phase == "prior"
        assert all(recipe.data.sources[0].shrink > 1 for recipe in (first, priors))


def test_configs_of_both_stages_fit_together() -> None:
    for name in ("training", "narrow", "tiny"):
        assert METHOD.configs[name].stage1 == STAGE1.configs[name]
    narrow = RetiDiff(METHOD.configs["narrow"])
    narrow.freeze_others()
    assert sum(p.numel() for p in narrow.parameters() if p.requires_grad) < 1e6
    assert make_config(DECOMPOSITION).pair
