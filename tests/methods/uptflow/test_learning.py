"""How UPT-Flow learns: the likelihood, divergence, mixed precision, and how it is examined."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tapetum.data.places import TRAINED_ON
from tapetum.errors import TapetumError, UsageError
from tapetum.imaging import Picture, write_picture
from tapetum.methods.registry import make_config
from tapetum.methods.uptflow import METHOD, FlowObjective, UPTFlow
from tapetum.methods.uptflow.examination import as_picture, surprise
from tapetum.methods.uptflow.invertible import LogDeterminant
from tapetum.methods.uptflow.objective import PATIENCE, Watch, bits_per_dimension, bits_per_pixel
from tapetum.training.recipe import list_recipes, load_recipe
from tapetum.training.run import train
from tapetum.training.schedules import warm_up
from tapetum.weights.loading import load_model, read_weights

TINY = METHOD.configs["tiny"]
Shaken = Callable[..., UPTFlow]
Make = Callable[..., Tensor]


def test_bits() -> None:
    latent = torch.zeros(1, 192, 2, 2)
    bits = bits_per_pixel(latent, torch.zeros(1))
    assert bits.item() == pytest.approx(5 + 1.5 * math.log2(2 * math.pi), rel=1e-5)
    assert bits_per_dimension(torch.tensor(-10.0)).item() == pytest.approx(0)


def test_the_map_of_surprise_has_the_likelihood_as_its_mean(shaken: Shaken, picture: Make) -> None:
    network, low, image = shaken(), picture(16, 24), picture(16, 24, seed=7) * 2
    log_det = LogDeterminant()
    with torch.no_grad():
        latent = network.encode(image, network.conditions(low), log_det)
        expected = bits_per_dimension(bits_per_pixel(latent, log_det.total()))
        found = surprise(network, network.conditions(low), image)
        odd = image.clone()
        odd[:, :, :8, :8] = torch.rand(3, 8, 8)  # a patch that fits nothing
        change = surprise(network, network.conditions(low), odd) - found
    assert found.shape == (1, 1, 16, 24)
    assert found.mean().item() == pytest.approx(expected.item(), rel=1e-4)
    assert change[..., :8, :8].mean() > change[..., 8:, 16:].abs().mean()
    assert as_picture(found).shape == (1, 3, 16, 24)


def test_rates_of_the_recipes_are_the_published_ones() -> None:
    names = [name for name in list_recipes() if name.startswith("uptflow-") and not name.endswith("narrow")]
    windows = {}
    for name in names:
        recipe = load_recipe(name)
        windows[name.removeprefix("uptflow-")] = make_config(METHOD, recipe.config).win_size
        optimiser, schedule = recipe.optimiser, recipe.schedule
        assert (recipe.run.steps, recipe.data.batch, recipe.data.patch) == (50_000, 8, 160)

        def rate(i: int, optimiser: Any = optimiser, schedule: Any = schedule) -> float:
            return warm_up(i, optimiser.rate, schedule.warmup, schedule.rate(i, optimiser.rate, 50_000))

        published = {400: 1e-4, 799: 1.9975e-4, 19_999: 1.9975e-4, 20_000: 0.99875e-4, 45_000: 0.12484375e-4}
        assert {i: rate(i) for i in published} == pytest.approx(published)
    assert windows == {
        "lolv1": 5, "lolv2-real": 5, "lolv2-synthetic": 5, "fivek": 8, "smid": 8, "sdsd-indoor": 8, "sdsd-outdoor": 8,
    }  # fmt: skip
    assert load_recipe("uptflow-lolv1-narrow").config == "narrow"


def test_divergence_is_warned_of_and_then_said(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(tolerance=2.0)
    for _ in range(100):
        watch.tell(3.0)
    assert watch.healthy
    with caplog.at_level(logging.WARNING):
        for _ in range(PATIENCE):
            watch.tell(9.0)
    assert not watch.healthy
    with pytest.raises(TapetumError, match=r"diverged: for 50 steps .*weights-good"):  # noqa: PT012
        for _ in range(PATIENCE):
            watch.tell(9.0)
    assert not watch.healthy
    assert caplog.text.count("the likelihood gets worse") == 1


def test_good_weights_outlive_a_divergence_and_its_resumption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for side, factor in (("low", 0.2), ("high", 1.0)):
        (tmp_path / side).mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)) * factor
        write_picture(Picture(pixels.astype(np.uint8)), tmp_path / side / "0.png")
    source = {"name": "pairs", "pictures": {"layout": "folders", "low": "low", "target": "high"}}
    run = {"steps": 20, "save_every": 2, "ema": 0.5, "threads": 1, "devices": 1, "folder": str(tmp_path / "runs")}
    recipe = {
        "name": "small",
        "method": "uptflow",
        "config": "tiny",
        "data": {"root": str(tmp_path), "patch": 16, "batch": 1, "sources": [source]},
        "schedule": {"kind": "cosine_restarts", "periods": [20]},
        "run": run,
    }
    (tmp_path / "small.yaml").write_text(json.dumps(recipe))
    told: list[float] = []
    objective = "tapetum.methods.uptflow.objective"
    monkeypatch.setattr(f"{objective}.PATIENCE", 3)
    monkeypatch.setattr(
        f"{objective}.bits_per_dimension", lambda bits: told.append(0) or torch.tensor(3.0 if len(told) <= 5 else 30.0)
    )
    with pytest.raises(TapetumError, match="for 3 steps the likelihood has been"):
        train(load_recipe(tmp_path / "small.yaml"))
    assert len(told) == 8
    good = tmp_path / "runs" / "small" / "weights-good.safetensors"
    kept = good.read_bytes()
    assert load_model(good).config == TINY
    known = json.loads(read_weights(good).metadata["tapetum.provenance"])
    assert known["steps"] == 4
    assert known[TRAINED_ON], "weights that saw pictures say so, those of a training that broke off, too"
    with pytest.raises(TapetumError, match=r"at best it was 3\.00 bits"):  # at once, and nothing is overwritten
        train(load_recipe(tmp_path / "small.yaml"))
    assert len(told) == 9
    assert good.read_bytes() == kept


def test_a_step_in_mixed_precision_is_near_one_in_float32(shaken: Shaken, picture: Make) -> None:
    """Full-size recipes train in 16 bits: likelihood, latents and matrices do not."""
    batch = {"low": picture(32, 32, 2), "target": picture(32, 32, 2, seed=5) * 2}
    losses, gradients = [], []
    for autocast in (False, True):
        network = shaken().train()
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = FlowObjective(pixel=1.0)(network, batch)["loss"]
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_one_bad_batch_is_no_divergence() -> None:
    watch = Watch(tolerance=2.0)
    for bits in [3.0] * 50 + [40.0] + [3.0] * 50:
        watch.tell(bits)
    assert watch.healthy


def test_nan_in_training_is_said(monkeypatch: pytest.MonkeyPatch, shaken: Shaken, picture: Make) -> None:
    monkeypatch.setattr("tapetum.methods.uptflow.objective.PATIENCE", 3)
    network, low = shaken().train(), picture(8, 8)
    with pytest.raises(UsageError, match=r"a training picture \(target\) holds values that are not numbers"):
        FlowObjective()(network, {"low": low, "target": low * math.nan})
    with torch.no_grad():
        network.flowUpsamplerNet.layers[1].invconv.weight.fill_(math.nan)
    objective = FlowObjective()
    with pytest.raises(TapetumError, match=r"for 3 steps the likelihood has been not a number") as caught:  # noqa: PT012
        for _ in range(3):
            objective(network, {"low": low, "target": low})
            assert not objective.healthy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pixel": -1}, r"objective\.pixel must be a number from 0 up, got -1"),
        ({"log_scale_limit": 0.5}, r"objective\.log_scale_limit must be a number from 1 up"),
        ({"tolerance": "much"}, r"objective\.tolerance must be a number from 0\.1 up"),
    ],
)
def test_bad_objectives(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        FlowObjective(**options)


def test_the_pixel_term_decodes(shaken: Shaken, picture: Make) -> None:
    network = shaken().train()
    losses = FlowObjective(pixel=2.0)(network, {"low": picture(), "target": picture() * 2})
    assert losses["loss"].item() == pytest.approx((losses["nll"] + 2 * losses["pixel"]).item(), rel=1e-5)
    losses["loss"].backward()
    free = FlowObjective(pixel=2.0, brightness_free=1.0)
    brighter = [free(network, {"low": picture(), "target": picture() * factor})["pixel"].item() for factor in (1, 2)]
    assert brighter[1] == pytest.approx(2 * brighter[0], rel=1e-3)


def test_examination(shaken: Shaken, picture: Make) -> None:
    shown = FlowObjective().examine(shaken(), picture(), picture() * 2)
    assert set(shown.measures) == {"bits_per_dimension", "round_trip"}
    assert shown.measures["round_trip"] < 1e-3
    assert [tuple(p.shape) for p in shown.pictures] == [(1, 3, 16, 24)] * 2
    assert json.dumps(dict(shown.measures))
    assert len(FlowObjective().examine(shaken(), picture(), None).pictures) == 1
