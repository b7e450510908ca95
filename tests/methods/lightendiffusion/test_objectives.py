"""LightenDiffusion's objectives: the losses of both stages, and what they train."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tapetum.errors import UsageError
from tapetum.methods.lightendiffusion import (
    LightenDiffusion,
    Stage1,
    Stage1Config,
    Stage1Objective,
    Stage2Objective,
    swap_test,
)
from tapetum.methods.lightendiffusion.objective import antithetic, decomposed, decomposition_losses
from tapetum.methods.registry import create_model

Seeded = Callable[..., LightenDiffusion]
Make = Callable[..., Tensor]


@given(st.integers(1, 9), st.integers(2, 1000))
def test_antithetic_steps(count: int, timesteps: int) -> None:
    draws = torch.randint(0, timesteps, (count // 2 + 1,), generator=torch.Generator().manual_seed(count))
    t = antithetic(draws, count, timesteps)
    assert t.shape == (count,)
    m = len(draws)
    assert all(t[k] + t[k + m] == timesteps - 1 for k in range(count - m))


def test_decomposition_losses_where_they_vanish() -> None:
    torch.manual_seed(0)
    reflectance = torch.rand(1, 2, 3, 4, 5).expand(2, -1, -1, -1, -1)
    light = torch.rand(2, 2, 1, 1, 1).expand(2, 2, 3, 4, 5)
    losses = decomposition_losses(reflectance * light, reflectance, light)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {"reconstruction": 0, "reflectance": 0, "illumination": 0}, abs=1e-7
    )


def test_decomposition_losses_by_hand() -> None:
    torch.manual_seed(0)
    f, r, light = torch.rand(3, 2, 1, 3, 4, 5, dtype=torch.float64)
    losses = decomposition_losses(f, r, light, edge=2.0)
    rec = sum((f[j] - r[i] * light[j]).abs().mean() for i in (0, 1) for j in (0, 1))
    smooth = 0.0
    for i in (0, 1):
        for a, b in (
            ((..., slice(1, None)), (..., slice(-1))),
            ((..., slice(1, None), slice(None)), (..., slice(-1), slice(None))),
        ):
            d_light, d_r = light[i][a] - light[i][b], r[i][a] - r[i][b]
            smooth += ((d_light * (-2 * d_r.abs()).exp()) ** 2).mean()
    assert losses["reconstruction"].item() == pytest.approx(float(rec))
    assert losses["reflectance"].item() == pytest.approx(float((r[0] - r[1]).abs().mean()))
    assert losses["illumination"].item() == pytest.approx(float(smooth))


class Perfect(nn.Module):
    """A first stage that keeps the picture as its latent, and says so."""

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return image, image

    def decode(self, latent: Tensor, skips: Tensor) -> Tensor:
        return latent

    def decompose(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        light = latent.amax(1, keepdim=True)
        return latent / light, light.expand_as(latent)


def test_a_perfect_first_stage_has_nothing_to_learn() -> None:
    view = torch.rand(2, 3, 1, 1).expand(2, 3, 8, 8)
    losses = Stage1Objective(cross=1.0)(Perfect(), {"low": 0.2 * view, "target": 0.9 * view})
    assert set(losses) == {"loss", "content", "cross", "reconstruction", "reflectance", "illumination"}
    assert all(loss.item() == pytest.approx(0, abs=1e-6) for loss in losses.values())


@pytest.mark.parametrize("cross", [0.0, 0.7])
def test_stage_1_does_not_care_which_exposure_is_which(cross: float, seeded: Seeded, picture: Make) -> None:
    network = seeded().decom.double()
    low, target = picture(2).double(), (picture(2) * 2).double()
    objective = Stage1Objective(cross=cross)
    ours, other = (objective(network, {"low": a, "target": b}) for a, b in ((low, target), (target, low)))
    assert ("cross" in ours) == (cross > 0)
    for name in ours:
        assert ours[name].item() == pytest.approx(other[name].item(), rel=1e-9)
    weights = {"content": 1, "cross": cross, "reconstruction": 1, "reflectance": 0.1, "illumination": 0.01}
    assert ours["loss"].item() == pytest.approx(sum(weights[k] * v.item() for k, v in ours.items() if k != "loss"))


@torch.no_grad()
def test_content_and_cross_content_by_hand(seeded: Seeded, picture: Make) -> None:
    network = seeded().decom.double()
    images = [picture(2).double(), (picture(2, seed=2) * 2).double()]
    losses = Stage1Objective(cross=1.0)(network, {"low": images[0], "target": images[1]})
    encoded = [network.encode(image) for image in images]
    content = sum(((image - network.decode(*both)) ** 2).mean() for image, both in zip(images, encoded, strict=True))
    cross = sum(((images[1 - i] - network.decode(encoded[1 - i][0], encoded[i][1])) ** 2).mean() for i in (0, 1))
    assert losses["content"].item() == pytest.approx(float(content))
    assert losses["cross"].item() == pytest.approx(float(cross))


@pytest.mark.parametrize(("term", "dims"), [("exchange", ()), ("flat", (2, 3))])
@torch.no_grad()
def test_exchanged_illuminations_by_hand(term: str, dims: tuple[int, ...], seeded: Seeded, picture: Make) -> None:
    """A picture's reflectance under the other's light, or its mean, decoded with its own skips, is the other."""
    network = seeded().decom.double()
    images = [picture(2).double(), (picture(2, seed=2) * 2).double()]
    losses = Stage1Objective(**{term: 0.7})(network, {"low": images[0], "target": images[1]})
    encoded = [network.encode(image) for image in images]
    parts = [network.decompose(latent) for latent, _ in encoded]
    lights = [light.mean(dim=dims, keepdim=True) if dims else light for _, light in parts]
    lit = [parts[i][0] * lights[1 - i] for i in (0, 1)]
    expected = sum(((images[1 - i] - network.decode(lit[i], encoded[i][1])) ** 2).mean() for i in (0, 1))
    assert losses[term].item() == pytest.approx(float(expected))
    plain = Stage1Objective()(network, {"low": images[0], "target": images[1]})
    assert losses["loss"].item() == pytest.approx(plain["loss"].item() + 0.7 * float(expected))
    assert term not in plain


@torch.no_grad()
def test_the_anchor_ties_light_to_brightness(seeded: Seeded, picture: Make) -> None:
    network = seeded().decom.double()
    images = [picture(2).double(), (picture(2, seed=2) * 2).double()]
    losses = Stage1Objective(anchor=0.3)(network, {"low": images[0], "target": images[1]})
    light = [network.decompose(network.encode(image)[0])[1].mean(dim=(1, 2, 3)) for image in images]
    bright = [image.amax(dim=1).mean(dim=(1, 2)) for image in images]
    expected = sum((a - b).abs().mean() for a, b in zip(light, bright, strict=True))
    assert losses["anchor"].item() == pytest.approx(float(expected))
    plain = Stage1Objective()(network, {"low": images[0], "target": images[1]})
    assert losses["loss"].item() == pytest.approx(plain["loss"].item() + 0.3 * float(expected))


def test_noise_is_on_what_is_decoded_and_on_nothing_else() -> None:
    torch.manual_seed(0)
    stage1 = create_model("lightendiffusion_stage1", "tiny")
    batch = {"low": 0.2 * torch.rand(1, 3, 32, 32), "target": torch.rand(1, 3, 32, 32)}
    weights = {"cross": 1.0, "exchange": 1.0, "flat": 1.0, "anchor": 1.0}
    with torch.no_grad():
        plain, again, noisy = (Stage1Objective(**weights, noise=noise)(stage1, batch) for noise in (0.0, 0.0, 0.5))
    decoded = ("content", "cross", "exchange", "flat")
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert all(not torch.equal(plain[name], noisy[name]) for name in decoded)
    assert all(torch.equal(plain[name], noisy[name]) for name in plain if name not in (*decoded, "loss"))


def test_the_exchange_trains_the_encoder_whatever_else_does(seeded: Seeded, picture: Make) -> None:
    network = seeded().decom
    objective = Stage1Objective(content=0.0, exchange=1.0, decomposition_trains="ctdn")
    objective(network, {"low": picture(), "target": picture() * 2})["loss"].backward()
    for part in (network.ReconNet.channel_down, network.ReconNet.channel_up, network.retinex):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())


@pytest.mark.parametrize("trains", ["all", "ctdn"])
def test_whom_the_decomposition_trains(trains: Any, seeded: Seeded, picture: Make) -> None:
    network = seeded().decom
    objective = Stage1Objective(content=0.0, decomposition_trains=trains)
    objective(network, {"low": picture(), "target": picture() * 2})["loss"].backward()
    touched = {
        name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0
    }
    assert touched == ({"ReconNet", "retinex"} if trains == "all" else {"retinex"})


def test_a_short_run_of_stage_1_lowers_its_losses() -> None:
    torch.manual_seed(0)
    view = torch.rand(2, 3, 2, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    batch = {"low": 0.15 * view, "target": 0.9 * view}
    network = Stage1(Stage1Config(8))
    # Where it begins, the decoder takes no notice of the latent
    before = swap_test(network, batch["low"], batch["target"])
    assert before["mean_swapped"] == pytest.approx(before["mean_low"], abs=1e-4)
    objective = Stage1Objective(cross=1.0, decomposition_trains="ctdn")
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    seen: list[dict[str, float]] = []
    for _ in range(60):
        optimiser.zero_grad()
        losses = objective(network, batch)
        losses["loss"].backward()
        optimiser.step()
        seen.append({name: loss.item() for name, loss in losses.items()})
    for name in ("content", "cross", "reconstruction"):
        assert seen[-1][name] < 0.8 * seen[0][name]


class Dead(Perfect):
    def decode(self, latent: Tensor, skips: Tensor) -> Tensor:
        return skips


def test_the_swap_test_tells_a_latent_that_carries_the_light_from_a_dead_one(picture: Make) -> None:
    low, normal = picture(2), picture(2) + 0.4
    means = {"mean_low": low.mean().item(), "mean_normal": normal.mean().item()}
    alive, dead = (swap_test(each, low, normal) for each in (Perfect(), Dead()))  # type: ignore[arg-type]
    others = {"spread": low.std(dim=(2, 3)).mean().item(), "difference": 0.4}
    assert alive == pytest.approx(means | others | {"mean_swapped": means["mean_normal"]})
    assert dead == pytest.approx(means | others | {"mean_swapped": means["mean_low"]})


def test_stage_2_trains_the_noise_predictor_alone(seeded: Seeded, picture: Make) -> None:
    network = seeded().train()
    before = {name: p.clone() for name, p in network.named_parameters()}
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    torch.manual_seed(0)
    losses = Stage2Objective()(network, {"low": picture(3), "target": picture(3, seed=5) * 2})
    assert set(losses) == {"loss", "noise", "consistency"}
    assert losses["loss"].item() == pytest.approx(losses["noise"].item() + losses["consistency"].item())
    losses["loss"].backward()
    optimiser.step()
    for name, parameter in network.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == name.startswith("Unet."), name
    assert all(p.grad is not None for p in network.Unet.parameters())


def test_the_consistency_reaches_the_first_layer_through_the_sampler(seeded: Seeded, picture: Make) -> None:
    network, low, normal = seeded().train(), picture(2), picture(2, seed=3) * 2
    latents = decomposed(network.decom, low, normal)
    assert not latents.clean.requires_grad
    gradients = []
    for checkpointing in (False, True):
        objective = Stage2Objective(consistency=1.0, checkpointing=checkpointing)
        sampled = objective.sampled(network, latents.condition, torch.ones_like(latents.clean) * 0.1)
        gradients.append(torch.autograd.grad(sampled.sum(), network.Unet.conv_in.weight)[0])
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("options", "calls"), [({}, 3), ({"consistency": 0.0}, 1), ({"steps": 5}, 6)])
def test_what_a_step_of_stage_2_costs(options: dict[str, Any], calls: int, seeded: Seeded, picture: Make) -> None:
    network, count = seeded(), []
    network.Unet.register_forward_hook(lambda module, inputs, output: count.append(1))
    losses = Stage2Objective(**options)(network, {"low": picture(), "target": picture()})
    assert len(count) == calls
    assert ("consistency" in losses) == (options.get("consistency") != 0)


def test_stage_2_draws_from_the_global_generator(seeded: Seeded, picture: Make) -> None:
    network, batch = seeded(), {"low": picture(2), "target": picture(2)}
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            results.append(Stage2Objective()(network, batch)["loss"].item())
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Stage1Objective(content=-1.0), "objective.content must be a number from 0 up, got -1.0"),
        (lambda: Stage1Objective(cross="yes"), "objective.cross must be a number from 0 up, got 'yes'"),  # type: ignore[arg-type]
        (lambda: Stage1Objective(decomposition_trains="some"), "must be all or ctdn, got 'some'"),  # type: ignore[arg-type]
        (lambda: Stage2Objective(consistency=math.inf), "objective.consistency must be a number from 0 up"),
        (lambda: Stage2Objective(steps=0), "steps must be a whole number from 1 up, got 0"),
    ],
)
def test_impossible_objectives(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()


def test_more_steps_than_the_process_has_are_refused_in_training(seeded: Seeded, picture: Make) -> None:
    with pytest.raises(UsageError, match="steps must be from 1 to 100, got 101"):
        Stage2Objective(steps=101)(seeded(), {"low": picture(), "target": picture()})
