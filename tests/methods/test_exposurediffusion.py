"""ExposureDiffusion: what is its own. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tapetum.data.raw_noise.cameras import get_camera
from tapetum.data.raw_noise.letters import NoiseModel
from tapetum.data.raw_noise.model import GeneratorDraws, add_noise, parameters_of_draws
from tapetum.data.raw_noise.scale import SATURATION, gain_for
from tapetum.errors import InputError, UsageError, WeightsError
from tapetum.methods.exposurediffusion import METHOD, Backbone, ExposureDiffusionConfig, ExposureObjective, expose
from tapetum.methods.exposurediffusion.exposure import (
    Step,
    correct_illuminance,
    draw_schedule,
    equal_schedule,
    straight_through,
)
from tapetum.methods.exposurediffusion.network import NAFNet, Prediction, make_network
from tapetum.methods.exposurediffusion.objective import kl
from tapetum.methods.registry import make_config
from tapetum.metrics.packed import psnr_packed
from tapetum.raw_enhancer import RawEnhancer
from tapetum.weights.loading import load_model, recognise, save_model

TINY = METHOD.configs["tiny"]


def seeded(config: ExposureDiffusionConfig = TINY, seed: int = 0) -> Backbone:
    """A network whose blocks do something: beta and gamma are not 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network(config).eval()
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.endswith(("beta", "gamma")):
                    parameter.normal_(0.5, 0.2)
    return network


def dark(height: int = 12, width: int = 16, count: int = 1, seed: int = 3) -> Tensor:
    return torch.rand(count, 4, height, width, generator=torch.Generator().manual_seed(seed))


def poisson(seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return lambda mean: torch.poisson(mean, generator)


def run(network: Backbone, low: Tensor, iterations: int = 2, **options: Any) -> list[Step]:
    options = {"ratio": 100.0, "gain": 1.0, "draw": poisson(0), **options}
    with torch.no_grad():
        return list(expose(network.predict, network.config, low, iterations=iterations, **options))


# --- the networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("sid_pg", 7_761_801),
        ("sid_pgru", 7_762_953),
        ("sid_real", 7_762_953),
        ("sid_pg_naf2", 6_897_865),
        ("sid_pgru_naf2", 6_898_441),
        ("pg_naf1", 4_793),
        ("pgru_naf1", 5_369),
        ("pg_naf3", 1_138_793),
        ("pgru_naf3", 1_139_369),
        ("pg_naf4", 21_033),
        ("pgru_naf4", 21_609),
        ("baseline", 7_760_484),
    ],
)
def test_parameters_of_the_published_configurations(name: str, parameters: int) -> None:
    with torch.device("meta"):
        network = make_network(METHOD.configs[name])
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("name", METHOD.configs)
def test_recognised_from_keys(name: str) -> None:
    with torch.device("meta"):
        state = make_network(METHOD.configs[name]).state_dict()
    method, config = recognise(state)
    assert method.name == "exposurediffusion"
    assert config == replace(METHOD.configs[name], iter_num=2)  # which changes no key


def test_the_configuration_says_how_many_steps_are_the_default() -> None:
    network = make_network(replace(METHOD.configs["tiny"], iter_num=1)).eval()
    (option,) = [option for option in network.properties.options if option.name == "iterations"]
    assert (option.default, network.noise_channels()) == (1, 4)
    calls: list[tuple[int, int]] = []
    low = torch.rand(1, 4, 16, 16)
    with torch.no_grad():
        result = network(low, ratio=8.0, on_step=lambda *step: calls.append(step))
        assert torch.equal(result, network(low, ratio=8.0, iterations=1))
    assert calls == [(1, 2), (2, 2)]
    with pytest.raises(UsageError, match="iter_num must be 0 to 50, got -1"):
        replace(METHOD.configs["tiny"], iter_num=-1)


@pytest.mark.parametrize("wrapped", ["container", "bare", "module"])
def test_published_files_load(wrapped: str, tmp_path: Path) -> None:
    network = seeded()
    state: dict[str, Any] = dict(network.state_dict())
    optimiser = torch.optim.Adam(network.parameters(), 1e-4).state_dict()
    optimiser["param_groups"][0]["initial_lr"] = 1e-4
    content = {
        "container": {"netG": state, "opt_g": optimiser, "epoch": 300, "iterations": 386_400},
        "bare": state,
        "module": {f"module.{key}": value for key, value in state.items()},
    }[wrapped]
    file = tmp_path / "model_latest.pt"
    torch.save(content, file)
    loaded = load_model(file)
    assert loaded.config == TINY
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


def test_own_file_keeps_what_keys_do_not_say(tmp_path: Path) -> None:
    config = ExposureDiffusionConfig(with_photon=False, adaptive_res_and_x0=False, resid=True)
    file = save_model(seeded(config), tmp_path / "own.safetensors", {})
    assert load_model(file).config == config


def test_networks_for_other_mosaics_are_refused() -> None:
    with torch.device("meta"):
        state = dict(make_network(TINY).state_dict())
        state["intro.weight"] = torch.empty(4, 27, 3, 3)
    with pytest.raises(WeightsError, match=r"27 to 9 channels.*X-Trans"):
        METHOD.recognise(state)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"backbone": "unet", "width": 8}, "width and .* are of the backbone nafnet"),
        ({"backbone": "nafnet", "enc_blk_nums": [1]}, "one entry for each level, got 1 and 0"),
        ({"backbone": "nafnet", "width": 0}, "width must be at least 1"),
        ({"resid": True}, "resid is for a unet without"),
        ({"backbone": "transformer"}, "backbone"),
    ],
)
def test_configurations_that_cannot_be(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        make_config(METHOD, fields)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (13, 16)])
def test_nafnet_takes_any_size(size: tuple[int, int]) -> None:
    config = ExposureDiffusionConfig("nafnet", 4, (1, 1), 1, (1, 1))
    network, x = seeded(config), dark(*size, count=2).repeat(1, 2, 1, 1)
    with torch.no_grad():
        found = network.predict(x)
        padded = torch.nn.functional.pad(x, (0, -size[1] % 4, 0, -size[0] % 4))
        whole = network.predict(padded)
    assert found.clean.shape == (2, 4, *size)
    assert torch.equal(found.clean, whole.clean[..., : size[0], : size[1]])
    assert found.head.shape[2:] == padded.shape[2:]


def test_unet_says_which_sizes_it_takes() -> None:
    with pytest.raises(InputError, match="multiples of 16, got 12x16"):
        seeded(METHOD.configs["sid_pg"]).predict(dark().repeat(1, 2, 1, 1))


def test_adaptive_layer_is_its_equation() -> None:
    network, x = seeded(), dark().repeat(1, 3, 1, 1)
    with torch.no_grad():
        found = network.predict(x)
    logit, out, residual = found.head[:, :1], found.head[:, 1:5], found.head[:, 5:]
    mask = 1 / (1 + torch.exp(-logit))
    by = torch.clip(residual + x[:, :4], 0, 1)
    torch.testing.assert_close(found.clean, torch.clip(out, 0, 1) * mask + by * (1 - mask))
    assert torch.equal(found.by, by)  # type: ignore[arg-type]


def test_without_the_adaptive_layer_a_nafnet_adds_to_the_state() -> None:
    config = ExposureDiffusionConfig("nafnet", 4, with_photon=False, adaptive_res_and_x0=False)
    network, x = seeded(config), dark()
    with torch.no_grad():
        found = network.predict(x)
    assert torch.equal(found.clean, (found.head + x).clamp(0, 1))


# --- the process ------------------------------------------------------------------------------------------------------


def test_schedules() -> None:
    assert equal_schedule(100, 2).tolist() == [1, 34, 67, 100]
    assert equal_schedule(300, 0).tolist() == [1, 300]
    rng = np.random.default_rng(0)
    single = draw_schedule([120.9], 2, rng)
    assert single[0, 0] == 1
    assert single[0, -1] == 120  # one picture: cut to an integer
    batch = draw_schedule(torch.tensor([120.25, 300.0]), 2, rng)
    assert batch[:, -1].tolist() == [120.25, 300.0]
    for row in draw_schedule([5.0, 2.5] * 50, 2, rng):
        between = row[1:-1] if row[-1] == 5 else row[1:]
        assert len(set(between.tolist())) == len(between)
        assert (row.diff() >= 0).all()
        assert row[1] >= 2


def test_one_call_is_the_network_itself() -> None:
    network, low = seeded(), dark()
    steps = run(network, low, 0, ratio=250.0, gain=2.0)
    photons = low / (250 * 2.0)
    with torch.no_grad():
        expected = network.predict(torch.cat([low, photons, low], 1)).clean
    assert len(steps) == 1
    torch.testing.assert_close(steps[0].corrected, expected)
    with torch.no_grad():
        torch.testing.assert_close(network(low, ratio=250.0, gain=2.0, iterations=0), expected)


def test_every_state_holds_the_measured_photons_and_whole_ones_more() -> None:
    network, low, ratio, gain = seeded(), dark().double(), 100.0, 0.7
    network = network.double()
    steps = run(network, low, 3, ratio=ratio, gain=gain)
    schedule = equal_schedule(ratio, 3)
    measured = low * SATURATION / (ratio * gain)
    for step, exposure in zip(steps[1:], schedule[1:], strict=False):
        photons = step.state * SATURATION * exposure / (ratio * gain)
        more = photons - measured
        assert (more > -1e-6).all()
        assert (more - more.round()).abs().max() < 1e-6
        assert more.max() > 10


def test_the_mean_is_drawn_over_the_whole_interval() -> None:
    seen: list[Tensor] = []

    def draw(mean: Tensor) -> Tensor:
        seen.append(mean)
        return mean

    low, network = dark(), seeded()
    steps = run(network, low, 2, draw=draw, ratio=187.6, gain=0.4)
    assert len(seen) == 2  # nobody would look at the last one's photons
    for step, exposure in zip(steps, (63, 125, 187), strict=True):
        torch.testing.assert_close(step.mean, step.corrected * SATURATION * (exposure - 1) / (187 * 0.4))


def test_a_batch_is_its_pictures() -> None:
    network, low = seeded(), dark(count=2)
    ratio, gain = torch.tensor([100.7, 250.0]), torch.tensor([0.4, 6.0])
    both = run(network, low, 2, ratio=ratio, gain=gain, draw=lambda mean: mean)[-1].corrected
    for i in range(2):
        one = run(network, low[i : i + 1], 2, ratio=ratio[i], gain=gain[i], draw=lambda mean: mean)[-1].corrected
        torch.testing.assert_close(both[i : i + 1], one, atol=1e-5, rtol=1e-5)


def test_noise_decides_and_nothing_else() -> None:
    network, low = seeded(), dark()
    kept = low.clone()
    fields = [
        torch.randn(1, network.noise_channels(), 12, 16, generator=torch.Generator().manual_seed(s)) for s in (1, 2)
    ]
    with torch.no_grad():
        first, again, other = (network(low, noise=fields[i]) for i in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(low, kept)


def test_tells_its_steps() -> None:
    told: list[tuple[int, int]] = []
    with torch.no_grad():
        seeded()(dark(), iterations=3, on_step=lambda step, steps: told.append((step, steps)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"ratio": 0.9}, "ratio must be a number from 1 up, got 0.9"),
        ({"ratio": float("nan")}, "ratio must be"),
        ({"gain": 0.0}, r"gain \(K\) must be a number above 0, got 0"),
        ({"iterations": -1}, "iterations must be 0 or more"),
        ({"ratio": torch.tensor([1.0, 2.0])}, "one for each of 1 pictures"),
    ],
)
def test_requests_that_cannot_be(wrong: dict[str, Any], complaint: str) -> None:
    options: dict[str, Any] = {"iterations": 2, **wrong}
    with pytest.raises(UsageError, match=complaint):
        run(seeded(), dark(), **options)


def test_a_ratio_below_two_changes_nothing_of_the_exposure() -> None:
    steps = run(seeded(), dark(), 2, ratio=1.5)
    assert all((step.mean == 0).all() for step in steps)
    torch.testing.assert_close(steps[1].state, steps[0].state)


def test_straight_through() -> None:
    mean = torch.tensor([3.0, 7.0], requires_grad=True)
    counts = straight_through(mean * 2, lambda m: m.new_tensor([5.0, 15.0]))
    assert counts.tolist() == [5.0, 15.0]
    counts.sum().backward()
    assert mean.grad is not None
    assert mean.grad.tolist() == [2.0, 2.0]


@given(scale=st.floats(0.3, 3.0), saturated=st.booleans())
def test_illuminance_is_corrected_by_least_squares(scale: float, saturated: bool) -> None:
    reference = dark() * 0.3
    predicted = reference / scale
    if saturated:
        reference[0, 1, 3] = 1.0  # left out, value by value
    corrected, gains = correct_illuminance(predicted, reference)
    assert gains.item() == pytest.approx(scale, rel=1e-4)
    torch.testing.assert_close(corrected, predicted.clamp(0, 1) * gains)


def test_nothing_to_compare_is_a_gain_of_one() -> None:
    black, white = torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)
    for predicted, reference in ((black, dark(2, 2)), (dark(2, 2), white), (-dark(2, 2), dark(2, 2))):
        predicted.requires_grad_()
        corrected, gains = correct_illuminance(predicted, reference)
        assert gains.tolist() == [1.0]
        corrected.sum().backward()
        assert predicted.grad is not None
        assert predicted.grad.isfinite().all()


# --- learning ---------------------------------------------------------------------------------------------------------


def batch_of(count: int = 2, height: int = 10, width: int = 14) -> dict[str, Tensor]:
    ratio, gain = torch.tensor([100.5, 250.0])[:count], torch.tensor([1.0, 4.0])[:count]
    return {
        "low": dark(height, width, count),
        "target": dark(height, width, count, seed=4),
        "ratio": ratio,
        "gain": gain,
    }


@pytest.mark.parametrize("loss", ["l1", "l2", "kl"])
@pytest.mark.parametrize("count", [1, 2])
def test_objective_trains_network_and_weights_of_steps(loss: str, count: int) -> None:
    network, objective = seeded().train(), ExposureObjective(loss=loss)
    torch.manual_seed(0)
    found = objective(network, batch_of(count))
    found["loss"].backward()
    assert set(found) == {"loss", "pixel_0", "pixel_1", "pixel_2"}
    assert objective.loss_weights.tolist() == pytest.approx([1 / 3, 1 / 3])
    assert objective.loss_weights.grad is not None
    assert objective.loss_weights.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_one_step_has_no_weights() -> None:
    objective = ExposureObjective(iterations=0)
    assert list(objective.parameters()) == []
    assert set(objective(seeded(), batch_of())) == {"loss", "pixel_0"}


def test_loss_is_repeatable_from_torch_generator() -> None:
    network, objective = seeded(), ExposureObjective()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(objective(network, batch_of())["loss"].item())
    assert losses[0] == losses[1] != losses[2]


def test_total_is_its_equation() -> None:
    objective = ExposureObjective(iterations=2)
    with torch.no_grad():
        objective.loss_weights.copy_(torch.tensor([0.7, -0.2]))
    pixel, auxiliary = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3])
    assert objective.total(pixel, auxiliary).item() == pytest.approx(0.7 * 1.1 + 0 * 2.2 + (1 - 0.5) * 3.3)
    # a published schedule may have lost a step: its weight is lost with it
    assert objective.total(pixel[:2], auxiliary[:2]).item() == pytest.approx(0.7 * 1.1 + 0 * 2.2)
    plain = ExposureObjective(iterations=2, adaptive_loss=False, auxloss=False)
    assert plain.total(pixel, auxiliary).item() == pytest.approx(6)


def test_kl_by_hand() -> None:
    predicted, target = torch.tensor([0.5, 0.1, 0.3]), torch.tensor([0.25, 0.4, 0.1])
    expected = (0.5 * np.log(2) + 0.25 - 0.5 + 0.3 + 0.2) / 3
    assert kl(predicted, target).item() == pytest.approx(expected, rel=1e-6)


def test_blind_prediction_for_validation() -> None:
    network, objective, batch = seeded(), ExposureObjective(iterations=1), batch_of(1)
    assert objective.predict(network, batch_of(1, 7, 9)).shape == (1, 4, 7, 9)
    with torch.no_grad():
        found = objective.predict(network, {key: batch[key] for key in ("low", "ratio", "gain")})
        assert torch.equal(found, network(batch["low"], ratio=100.5, gain=1.0, iterations=1))


def test_unknown_loss_names_the_known() -> None:
    with pytest.raises(UsageError, match="unknown 'l3', choose from l1, l2, kl"):
        ExposureObjective(loss="l3")


# --- the enhancer -----------------------------------------------------------------------------------------------------


class Pointwise(NAFNet):
    """A network that sees one pixel: tiles are exact, to the last bit."""

    def predict(self, network_input: Tensor) -> Prediction:
        clean = (network_input[:, :4] * 0.5 + network_input[:, 8:] * 0.25 + 0.05).clamp(0, 1)
        return Prediction(clean, clean)


def taken(height: int = 150, width: int = 201) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (rng.random((4, height, width)) * 0.012 - 0.0005).astype(np.float32)


def test_draws_do_not_depend_on_tiles() -> None:
    packed = taken()
    whole = RawEnhancer(Pointwise(TINY), seed=3)(packed, 100, 1.0)
    tiled = RawEnhancer(Pointwise(TINY), seed=3, tile=100)(packed, 100, 1.0)
    assert np.array_equal(whole, tiled)
    other = RawEnhancer(Pointwise(TINY), seed=4)(packed, 100, 1.0)
    assert 1e-5 < np.abs(other - whole).mean() < 0.05


@pytest.mark.parametrize("config", ["tiny", "sid_pg"])
def test_any_size_and_repeatable(config: str) -> None:
    enhancer = RawEnhancer(seeded(METHOD.configs[config]), seed=1, iterations=1)
    packed = taken(19, 33)
    kept = packed.copy()
    first, second = (enhancer(packed, 120.5, 0.8) for _ in range(2))
    assert first.shape == packed.shape
    assert first.dtype == np.float32
    assert 0 <= first.min() <= first.max() <= 1
    assert np.array_equal(first, second)
    assert np.array_equal(packed, kept)
    assert enhancer(packed[:, :1, :1], 50, 1.0).shape == (4, 1, 1)


def test_unet_tiles_are_near() -> None:
    """Nearly: a rounding may move one electron."""
    network, packed = seeded(METHOD.configs["sid_pg"]), taken(260, 300)
    whole = RawEnhancer(network, iterations=1)(packed, 100, 1.0)
    tiled = RawEnhancer(network, iterations=1, tile=256)(packed, 100, 1.0)
    assert np.abs(tiled - whole).max() < 1e-3
    assert np.abs(tiled - whole).mean() < 1e-6


def test_counts_its_steps_and_options() -> None:
    told: list[tuple[int, int]] = []
    enhancer = RawEnhancer(seeded(), iterations=1)
    enhancer(taken(8, 8), 10, 1.0, on_step=lambda step, steps: told.append((step, steps)))
    assert told == [(1, 2), (2, 2)]
    assert enhancer.options == {"iterations": 1, "seed": 0}
    with pytest.raises(UsageError, match="has no option steps: it has iterations, seed"):
        RawEnhancer(seeded(), steps=3)


def test_enhancer_says_what_is_wrong() -> None:
    enhancer = RawEnhancer(seeded())
    with pytest.raises(UsageError, match=r"shape \(4, height, width\), got \(3, 8, 8\)"):
        enhancer(np.zeros((3, 8, 8), np.float32), 100, 1.0)
    with pytest.raises(InputError, match="no numbers"):
        enhancer(np.full((4, 8, 8), np.nan, np.float32), 100, 1.0)
    with pytest.raises(UsageError, match="ratio must be a number from 1 up, got -3"):
        enhancer(taken(8, 8), -3, 1.0)
    with pytest.raises(UsageError, match="Identity is no network of a RAW method"):
        RawEnhancer(torch.nn.Identity())


def test_the_bundled_weights_take_noise_away() -> None:
    rows, columns = np.mgrid[:96, :96] / 96
    clean = np.stack([0.3 * rows, 0.4 * columns, 0.2 * rows * columns, 0.4 * columns]).astype(np.float32) + 0.05
    camera, ratio = get_camera("SonyA7S2"), 100.0
    gain = camera.gain_at(1600)
    noise = parameters_of_draws(camera, math.log(gain), ratio, 0.0, 0.0, 0.0, camera.shapes[0])
    draws = GeneratorDraws(torch.Generator().manual_seed(0))
    noisy = add_noise(torch.from_numpy(clean), NoiseModel.parse("P+G+r+u"), noise, draws).clamp(0, 1).numpy()
    enhancer = RawEnhancer("exposurediffusion", "cpu")
    assert enhancer.options["iterations"] == 0
    enhanced = enhancer(noisy / np.float32(ratio), ratio, gain)
    assert psnr_packed(enhanced, clean) > psnr_packed(noisy, clean) + 5


def test_gain_of_files_of_other_depth() -> None:
    assert gain_for(2.0, 512, 16383) == 2.0
    assert gain_for(2.0, 256, 4095) == pytest.approx(2.0 * 15583 / 3839)
    with pytest.raises(InputError, match="black level 600 is not below white level 512"):
        gain_for(1.0, 600, 512)
