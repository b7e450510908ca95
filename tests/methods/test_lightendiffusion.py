"""LightenDiffusion: what is its own. (What holds for every method is in test_every_method.py.)"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tapetum.errors import InputError, UsageError, WeightsError
from tapetum.methods.lightendiffusion import (
    METHOD,
    STAGE1,
    LightenDiffusion,
    LightenDiffusionConfig,
    Stage1,
    Stage1Config,
    Stage1Objective,
    Stage2Objective,
    load_stage1,
    parts,
    stage1,
    swap_test,
)
from tapetum.methods.lightendiffusion.objective import (
    antithetic,
    decomposed,
    decomposition_losses,
)
from tapetum.methods.lightendiffusion.process import Diffusion, Sampling, make_betas
from tapetum.methods.registry import create_model, make_config
from tapetum.ops.random import PositionNoise
from tapetum.weights.loading import load_model, recognise, save_model

TINY = METHOD.configs["tiny"]
CASES = Path(__file__).parents[1] / "parity" / "cases" / "lightendiffusion"
LINEAR = Diffusion(make_betas("linear", 1000))


def process(timesteps: int) -> Diffusion:
    return Diffusion(make_betas("linear", timesteps))


def seeded(config: LightenDiffusionConfig = TINY, seed: int = 0) -> LightenDiffusion:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LightenDiffusion(config)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return network.eval()


def picture(count: int = 1, height: int = 32, width: int = 48, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.5


def run(network: nn.Module, low: Tensor, **options: Any) -> Tensor:
    with torch.no_grad():
        return network(low, **options)


# --- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timesteps", "steps", "calls"), [(1000, 20, 20), (1000, 30, 31), (100, 30, 34), (100, 7, 8)])
def test_published_steps(timesteps: int, steps: int, calls: int) -> None:
    found = process(timesteps).visited(steps)
    stride = timesteps // steps
    assert len(found) == calls
    assert found == [stride * i for i in reversed(range(calls))]
    assert found[0] < timesteps <= found[0] + stride


@given(st.integers(1, 1200), st.data())
def test_trailing_steps_are_exactly_as_many(timesteps: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, timesteps))
    found = process(timesteps).visited(steps, "trailing")
    assert len(set(found)) == steps
    assert found == sorted(found, reverse=True)
    assert found[0] == timesteps - 1
    assert found[-1] >= 0


@pytest.mark.parametrize("steps", [0, -1, 101])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "logsnr"])
def test_impossible_numbers_of_steps(steps: int, spacing: Any) -> None:
    with pytest.raises(UsageError, match=f"steps must be from 1 to 100, got {steps}"):
        process(100).visited(steps, spacing)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"steps": 0}, "steps must be a whole number from 1 up, got 0"),
        ({"steps": 2.0}, "steps must be a whole number"),
        ({"steps": True}, "steps must be a whole number"),
        ({"eta": -0.1}, "eta must be from 0 to 1, got -0.1"),
        ({"eta": math.nan}, "eta must be from 0 to 1"),
        ({"sampler": "euler"}, r"unknown sampler 'euler': choose from ddim, dpm\+\+"),
        ({"spacing": "random"}, "unknown spacing 'random': choose from leading, trailing, logsnr"),
        ({"sampler": "dpm++", "eta": 0.5}, r"eta is an option of the ddim sampler, dpm\+\+ injects no noise"),
    ],
)
def test_impossible_sampling(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Sampling(**fields)


def test_anchors_of_the_published_schedule() -> None:
    anchors = {0: 0.9999, 50: 0.9699513, 500: 7.779666e-2, 900: 2.702445e-4, 950: 1.060418e-4, 999: 4.03583e-5}
    for t, value in anchors.items():
        assert LINEAR.alphas_bar[t].item() == pytest.approx(value, rel=2e-5)


def test_other_schedules() -> None:
    assert make_betas("const", 7, 1e-4, 0.02).tolist() == pytest.approx([0.02] * 7)
    assert make_betas("jsd", 4).tolist() == pytest.approx([1 / 4, 1 / 3, 1 / 2, 1])
    quad, sigmoid = (make_betas(name, 9, 1e-4, 0.04) for name in ("quad", "sigmoid"))
    assert quad.sqrt().diff().tolist() == pytest.approx([(0.2 - 0.01) / 8] * 8, rel=1e-3)
    assert sigmoid[4].item() == pytest.approx((1e-4 + 0.04) / 2)
    for bad, says in (
        (("cosine", 9), "unknown beta schedule 'cosine': choose from linear"),
        (("linear", 0), "1 timestep"),
    ):
        with pytest.raises(UsageError, match=says):
            make_betas(*bad)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"betas must be between 0 and 1, got 0\.1 to 1\.5"):
        make_betas("linear", 9, 0.1, 1.5)


def test_a_schedule_without_signal_is_refused_where_it_matters() -> None:
    process, start = Diffusion(make_betas("jsd", 10)), torch.ones(1, 3, 2, 2)
    with pytest.raises(UsageError, match="no signal at step 9, where sampling begins"):
        process.sample(lambda x, t: x, start, Sampling(10))
    assert process.sample(lambda x, t: x, start, Sampling(5)).isfinite().all()  # begins at 8


every_way = pytest.mark.parametrize(
    "sampling",
    [
        Sampling(20),
        Sampling(1, spacing="trailing"),
        Sampling(7, eta=1.0),
        Sampling(6, 0.5, spacing="trailing"),
        Sampling(20, sampler="dpm++"),
        Sampling(2, sampler="dpm++", spacing="trailing"),
        Sampling(1, sampler="dpm++", spacing="trailing"),
        Sampling(10, sampler="dpm++", spacing="logsnr"),
        Sampling(300, spacing="logsnr"),
    ],
    ids=str,
)


@every_way
def test_who_knows_the_picture_samples_it(sampling: Sampling) -> None:
    """A predictor that tells the noise of one clean sample leads every sampler to it."""
    torch.manual_seed(0)
    clean, start = torch.rand(2, 3, 4, 5, dtype=torch.float64) * 2 - 1, torch.randn(2, 3, 4, 5, dtype=torch.float64)
    seen: list[float] = []

    def predict(x: Tensor, t: Tensor) -> Tensor:
        assert t.dtype == x.dtype
        assert t.shape == (2,)
        seen.append(t[0].item())
        a = float(LINEAR.alphas_bar[int(t[0])])
        return (x - math.sqrt(a) * clean) / math.sqrt(1 - a)

    steps = LINEAR.visited(sampling.steps, sampling.spacing)
    told: list[tuple[int, int]] = []
    injected = torch.randn(len(steps) - 1, 2, 3, 4, 5, dtype=torch.float64)
    sample = LINEAR.sample(predict, start, sampling, injected, lambda *now: told.append(now))
    torch.testing.assert_close(sample, clean, atol=1e-9, rtol=0)
    assert seen == steps
    assert told == [(i + 1, len(steps)) for i in range(len(steps))]


def gaussian_error(sampling: Sampling, spread: float) -> float:
    """For data of one spread the best prediction is known, and so is where the exact solution of the ODE leads."""

    def variance(a: float) -> float:
        return a * spread**2 + 1 - a

    def predict(x: Tensor, t: Tensor) -> Tensor:
        a = float(LINEAR.alphas_bar[int(t[0])])
        return math.sqrt(1 - a) * x / variance(a)

    start = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    first = float(LINEAR.alphas_bar[LINEAR.visited(sampling.steps, sampling.spacing)[0]])
    exact = spread / math.sqrt(variance(first))
    return abs(LINEAR.sample(predict, start, sampling).item() / exact - 1)


@pytest.mark.parametrize("spread", [0.1, 0.3, 1.0])
def test_the_higher_order_is_worth_its_name(spread: float) -> None:
    """Ten of its steps are better than twenty as published, and its error falls faster than in proportion to them."""

    def errors(steps: tuple[int, ...], *way: Any) -> list[float]:
        return [gaussian_error(Sampling(n, 0.0, *way), spread) for n in steps]

    published = errors((20,), "ddim", "leading")
    first, second = (errors((5, 10, 40), name, "logsnr") for name in ("ddim", "dpm++"))
    assert second[1] < 0.4 * published[0]
    assert second[1] < 0.35 * first[1]
    assert second[2] < 0.15 * first[2]
    assert second[2] < second[0] / 16


def test_both_samplers_are_one_where_there_is_no_history() -> None:
    torch.manual_seed(0)
    start, eps = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    for steps in (1, 2):  # the first and the last step are of first order
        ours = [
            LINEAR.sample(lambda x, t: eps, start, Sampling(steps, 0, name, "trailing")) for name in ("ddim", "dpm++")
        ]  # type: ignore[arg-type]
        torch.testing.assert_close(*ours, atol=1e-3, rtol=1e-4)


def test_noise_that_is_not_wanted_changes_nothing_and_missing_noise_is_said() -> None:
    torch.manual_seed(0)
    start, injected = torch.randn(1, 3, 4, 4), torch.randn(19, 1, 3, 4, 4)

    def predict(x: Tensor, t: Tensor) -> Tensor:
        return x.tanh()

    plain = LINEAR.sample(predict, start, Sampling(20))
    assert torch.equal(LINEAR.sample(predict, start, Sampling(20), injected), plain)
    noisy = [LINEAR.sample(predict, start, Sampling(20, eta=0.5), each) for each in (injected, -injected)]
    assert not torch.equal(noisy[0], plain)
    assert not torch.equal(noisy[0], noisy[1])
    with pytest.raises(
        UsageError, match=r"eta 0.5 injects noise after each of 20 steps but the last, got noise for 18"
    ):
        LINEAR.sample(predict, start, Sampling(20, eta=0.5), injected[:18])


@given(st.integers(1, 9), st.integers(2, 1000))
def test_antithetic_steps(count: int, timesteps: int) -> None:
    draws = torch.randint(0, timesteps, (count // 2 + 1,), generator=torch.Generator().manual_seed(count))
    t = antithetic(draws, count, timesteps)
    assert t.shape == (count,)
    m = len(draws)
    assert all(t[k] + t[k + m] == timesteps - 1 for k in range(count - m))


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "stage", "count"), [(METHOD, 2, 27_832_973), (STAGE1, 1, 7_069_322)])
def test_published_keys_in_their_order(method: Any, stage: int, count: int) -> None:
    """The order, too: optimiser states of published files count by it."""
    manifest = json.loads((CASES / f"full_manifest_unsupervised_stage{stage}.json").read_text())["manifest"]
    with torch.device("meta"):
        network = method.network(make_config(method))
    assert [(k, list(v.shape)) for k, v in network.state_dict().items()] == list(manifest.items())
    assert [name for name, _ in network.named_parameters()] == list(manifest)
    assert sum(p.numel() for p in network.parameters()) == count


def test_the_narrow_one_is_small() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in LightenDiffusion(METHOD.configs["narrow"]).parameters()) < 2_100_000


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"ch": 48}, "ch must be a multiple of 32, got 48"),
        ({"ch_mult": []}, "ch_mult must be numbers from 1 up"),
        ({"ch_mult": [1, 0]}, "ch_mult must be numbers from 1 up"),
        ({"num_res_blocks": 0}, "num_res_blocks must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1"),
        ({"ctdn_channels": 12}, "ctdn_channels must be a multiple of 8, got 12"),
        ({"beta_schedule": "cosine"}, "config of lightendiffusion: beta_schedule: .*got 'cosine'"),
        ({"num_sampling_timesteps": 0}, "steps must be from 1 to 1000, got 0"),
        ({"num_sampling_timesteps": 1001}, "steps must be from 1 to 1000, got 1001"),
        ({"conditional": False}, "unknown config field 'conditional'"),
    ],
)
def test_impossible_configurations(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        make_config(METHOD, fields)
    assert "\n" not in str(caught.value)


def test_the_decomposition_is_for_training_only() -> None:
    network, low = seeded(), picture()
    expected = run(network, low)
    with torch.no_grad():
        for parameter in network.decom.retinex.parameters():
            parameter.zero_()
    assert torch.equal(run(network, low), expected)


def test_noise_decides_and_is_the_same_for_every_picture() -> None:
    network, low = seeded(), picture(2)
    noise = PositionNoise(0).normal((1, 3, 4, 6))
    expected = run(network, low)
    assert torch.equal(run(network, low, noise=noise), expected)
    assert torch.equal(run(network, low, noise=noise.expand(2, -1, -1, -1)), expected)
    other = torch.cat([noise, noise.flip(3)])
    ours = run(network, low, noise=other)
    assert torch.equal(ours[0], expected[0])
    assert not torch.equal(ours[1], expected[1])


def test_injected_noise_is_taken_from_further_channels() -> None:
    network, low = seeded(), picture()
    assert network.noise_channels() == 3
    assert network.noise_channels(steps=5) == 3
    assert network.noise_channels(steps=5, eta=0.1) == 15
    assert network.noise_channels(steps=30, eta=0.1) == 102  # 34 calls
    noise = PositionNoise(3).normal((1, 15, 4, 6))
    ours = run(network, low, noise=noise, steps=5, eta=0.5)
    changed = noise.clone()
    changed[:, -1] += 1
    assert not torch.equal(run(network, low, noise=changed, steps=5, eta=0.5), ours)
    assert torch.equal(run(network, low, noise=noise, steps=5, eta=0.5), ours)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"noise": torch.zeros(1, 3, 4, 5)}, r"noise must have the shape \(1, 3, 4, 6\), got \(1, 3, 4, 5\)"),
        ({"noise": torch.zeros(1, 3, 4, 6), "eta": 0.5}, r"noise must have the shape \(1, 6, 4, 6\)"),
        ({"steps": 0}, "steps must be a whole number from 1 up, got 0"),
        ({"steps": 101}, "steps must be from 1 to 100, got 101"),
        ({"sampler": "dpm++", "eta": 0.5}, "eta is an option of the ddim sampler"),
    ],
)
def test_bad_requests_are_said(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        run(seeded(), picture(), **options)


@pytest.mark.parametrize("size", [(16, 20), (8, 16), (17, 16)])
def test_sizes_that_are_no_multiples(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"sides must be multiples of 16, got {size[0]}x{size[1]}"):
        run(seeded(), torch.rand(1, 3, *size))
    if size[0] % 8 or size[1] % 8:
        stage1 = seeded().decom
        with pytest.raises(InputError, match=r"sides must be multiples of 8, got"):
            run(stage1, torch.rand(1, 3, *size))
        with torch.no_grad(), pytest.raises(InputError, match=r"is decoded with the skips of a picture of .* pad"):
            stage1.decode(*stage1.encode(torch.rand(1, 3, *size)))


@pytest.mark.parametrize("size", [(1, 1), (45, 61), (8, 9)])
def test_any_size_can_be_decomposed(size: tuple[int, int]) -> None:
    stage1 = seeded().decom
    with torch.no_grad():
        latent, _ = stage1.encode(torch.rand(2, 3, *size))
        parts = stage1.decompose(latent)
    assert {part.shape for part in (latent, *parts)} == {(2, 3, -(-size[0] // 8), -(-size[1] // 8))}


def test_interruption_passes_through() -> None:
    def stop(step: int, steps: int) -> None:
        assert steps == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(seeded(), picture(), on_step=stop)


def test_the_noise_predictor_never_works_in_low_precision() -> None:
    network, kinds = seeded(), set()
    network.Unet.conv_out.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        run(network, picture())
    assert kinds == {torch.float32}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_neither_does_it_in_training(checkpointing: bool) -> None:
    """In bfloat16 the noise of the first steps is 0, and a latent of small values a few steps."""
    kinds = set()

    def step(autocast: bool) -> tuple[Tensor, list[Tensor]]:
        network = seeded().train()
        network.freeze_stage1()
        network.Unet.conv_out.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
        torch.manual_seed(1)
        batch = {"low": picture() * 0.2, "target": picture()}
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = Stage2Objective(0.1, checkpointing=checkpointing)(network, batch)["loss"]
        loss.backward()
        return loss, [parameter.grad for parameter in network.Unet.parameters()]

    for low, full in zip(step(True)[1], step(False)[1], strict=True):
        assert torch.equal(low, full)
    assert kinds == {torch.float32}


def test_betas_that_are_lost_in_float32_are_refused() -> None:
    with pytest.raises(UsageError, match="the first beta, 1e-09, adds no noise in float32: take a larger one"):
        make_betas("linear", 10, 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_noise_of_the_first_steps_is_not_rounded_away(dtype: torch.dtype) -> None:
    noisy = LINEAR.noised(torch.zeros(20, 1, 1, 1, dtype=dtype), torch.ones(20, 1, 1, 1), torch.arange(20))
    expected = (1 - LINEAR.alphas_bar[:20].double()).sqrt()
    torch.testing.assert_close(noisy.flatten().double(), expected, rtol=1e-4, atol=0)


def test_declared_options_are_those_of_forward() -> None:
    network, low = seeded(), picture()
    declared = {option.name: option for option in network.properties.options}
    assert set(declared) == {"steps", "eta", "sampler", "spacing", "seed", "samples"}
    defaults = {name: declared[name].default for name in ("steps", "eta", "sampler", "spacing")}
    assert torch.equal(run(network, low, **defaults), run(network, low))
    assert declared["steps"].maximum == TINY.num_diffusion_timesteps
    for sampler in declared["sampler"].choices:
        for spacing in declared["spacing"].choices:
            assert run(network, low, sampler=sampler, spacing=spacing, steps=3).isfinite().all()


def test_all_in_double_precision() -> None:
    network, low = seeded(), picture()
    exact = run(seeded().double(), low.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(run(network, low).double(), exact, atol=2e-5, rtol=1e-4)


def test_attention_is_at_the_third_level_only() -> None:
    with torch.device("meta"):
        network = LightenDiffusion(LightenDiffusionConfig(ch=32, ch_mult=(1, 1, 1, 1, 1), num_res_blocks=1))
    assert network.properties.size_multiple == 128
    levels = {key.split(".")[2] for key in network.state_dict() if ".attn." in key}
    assert levels == {"2"}


@pytest.mark.parametrize("height", [64, 72, 200])
@pytest.mark.parametrize("training", [False, True])
def test_bands_change_nothing(height: int, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network = seeded().decom.double().train(training)
    low = picture(2, height, 24).double()
    whole = run(network, low)
    calls: list[int] = []
    network.ReconNet.conv2.register_forward_hook(lambda module, inputs, output: calls.append(output.shape[2]))
    monkeypatch.setattr(stage1, "_BAND", 1)  # the fewest rows: 32 of the picture, 32 of its half
    torch.testing.assert_close(run(network, low), whole, atol=1e-12, rtol=1e-12)
    assert (len(calls) > 1) == (height // 2 > 32)
    del calls[:]
    network(low)
    assert calls == [height]  # with gradients there is nothing to save


@pytest.mark.parametrize("size", [(16, 16), (352, 32), (64, 400)])
def test_large_pictures_by_parts_are_as_if_in_one(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    network, low = seeded().double(), picture(1, *size).double()
    whole = run(network, low)
    sizes: list[tuple[int, ...]] = []
    network.decom.ReconNet.pyramid.register_forward_hook(lambda module, inputs, _: sizes.append(inputs[0].shape[2:]))
    monkeypatch.setattr(parts, "SIDE", 8)
    monkeypatch.setattr(parts, "LARGEST", 0)
    torch.testing.assert_close(run(network, low), whole, atol=1e-12, rtol=0)
    assert len(sizes) == 2 * math.ceil(size[0] / 64) * math.ceil(size[1] / 64)
    assert max(max(each) for each in sizes) <= 64 + 2 * 152
    del sizes[:]
    network(low)
    assert sizes == [size]  # with gradients in one


@pytest.mark.parametrize("seen", ["_SEEN_ENCODING", "_SEEN_DECODING"])
def test_parts_are_shown_no_less_than_they_need(seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, low = seeded().double(), picture(1, 352, 16).double()
    whole = run(network, low)
    monkeypatch.setattr(parts, "SIDE", 8)
    monkeypatch.setattr(parts, "LARGEST", 0)
    monkeypatch.setattr(parts, seen, 4)
    assert (run(network, low) - whole).abs().max() > 1e-12


def test_attention_keeps_no_weights_of_all_positions() -> None:
    """Else a large picture's latent takes gigabytes: 12288 positions, 600 MB."""
    from torch.profiler import ProfilerActivity, profile

    from tapetum.methods.lightendiffusion.noise_predictor import Attention

    layer, x = Attention(32), torch.rand(1, 32, 32, 32)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        layer(x)
    assert max(event.cpu_memory_usage for event in profiled.events() or ()) < 1024 * 1024 * 4 / 2


def test_no_pixel_of_stage_1_sees_farther_than_declared() -> None:
    network = Stage1(Stage1Config(8)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(0.01, 0.1) if parameter.dim() > 1 else parameter.zero_()  # nothing cancels
    declared = network.properties.receptive_field
    width = 8 * (2 * declared // 8 + 6)
    low = torch.rand(1, 3, 8, width, dtype=torch.float64, requires_grad=True)
    reach = 0
    for column in range(width // 2, width // 2 + 8):
        latent, skips = network.encode(low * 1e-9)  # where the sigmoid is not flat
        (gradient,) = torch.autograd.grad(network.decode(latent, skips)[0, :, 4, column].sum(), low)
        seen = gradient[0].abs().sum((0, 1)).nonzero()
        reach = max(reach, int((seen - column).abs().max()))
    assert 0.9 * declared < reach <= declared


# --- objectives -------------------------------------------------------------------------------------------------------


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
def test_stage_1_does_not_care_which_exposure_is_which(cross: float) -> None:
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
def test_content_and_cross_content_by_hand() -> None:
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
def test_exchanged_illuminations_by_hand(term: str, dims: tuple[int, ...]) -> None:
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
def test_the_anchor_ties_light_to_brightness() -> None:
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


def test_the_exchange_trains_the_encoder_whatever_else_does() -> None:
    network = seeded().decom
    objective = Stage1Objective(content=0.0, exchange=1.0, decomposition_trains="ctdn")
    objective(network, {"low": picture(), "target": picture() * 2})["loss"].backward()
    for part in (network.ReconNet.channel_down, network.ReconNet.channel_up, network.retinex):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())


@pytest.mark.parametrize("trains", ["all", "ctdn"])
def test_whom_the_decomposition_trains(trains: Any) -> None:
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


def test_the_swap_test_tells_a_latent_that_carries_the_light_from_a_dead_one() -> None:
    low, normal = picture(2), picture(2) + 0.4
    means = {"mean_low": low.mean().item(), "mean_normal": normal.mean().item()}
    alive, dead = (swap_test(each, low, normal) for each in (Perfect(), Dead()))  # type: ignore[arg-type]
    others = {"spread": low.std(dim=(2, 3)).mean().item(), "difference": 0.4}
    assert alive == pytest.approx(means | others | {"mean_swapped": means["mean_normal"]})
    assert dead == pytest.approx(means | others | {"mean_swapped": means["mean_low"]})


def test_stage_2_trains_the_noise_predictor_alone() -> None:
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


def test_the_consistency_reaches_the_first_layer_through_the_sampler() -> None:
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
def test_what_a_step_of_stage_2_costs(options: dict[str, Any], calls: int) -> None:
    network, count = seeded(), []
    network.Unet.register_forward_hook(lambda module, inputs, output: count.append(1))
    losses = Stage2Objective(**options)(network, {"low": picture(), "target": picture()})
    assert len(count) == calls
    assert ("consistency" in losses) == (options.get("consistency") != 0)


def test_stage_2_draws_from_the_global_generator() -> None:
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


def test_more_steps_than_the_process_has_are_refused_in_training() -> None:
    with pytest.raises(UsageError, match="steps must be from 1 to 100, got 101"):
        Stage2Objective(steps=101)(seeded(), {"low": picture(), "target": picture()})


# --- files ------------------------------------------------------------------------------------------------------------


def as_published(network: LightenDiffusion, average: LightenDiffusion) -> dict[str, Any]:
    """What the published training writes."""
    options = argparse.Namespace(device=torch.device("cpu"), model=argparse.Namespace(ch=32), seed=230)
    return {
        "step": 2000,
        "epoch": 3,
        "state_dict": {f"module.{key}": value for key, value in network.state_dict().items()},
        "optimizer": torch.optim.Adam(network.parameters()).state_dict(),
        "ema_helper": dict(average.state_dict()),
        "params": options,
        "config": options,
    }


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return list(mine) == list(other) and all(torch.equal(mine[key], other[key]) for key in mine)


@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_the_published_training_load(legacy: bool, tmp_path: Path) -> None:
    network, average, path = seeded(), seeded(seed=1), tmp_path / "model_latest.pth.tar"
    torch.save(as_published(network, average), path, _use_new_zipfile_serialization=not legacy)
    assert same(load_model(path), network)
    assert same(load_model(path, "lightendiffusion", ema=True), average)
    assert same(create_model("lightendiffusion", weights=path), network)


@pytest.mark.parametrize("wrap", ["bare", "model", "module", "state_dict"])
def test_published_first_stages_load(wrap: str, tmp_path: Path) -> None:
    network, path = seeded(), tmp_path / "stage1_weight.pth.tar"
    state: dict[str, Any] = dict(network.decom.state_dict())
    if wrap == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    torch.save(state if wrap in ("bare", "module") else {wrap: state}, path)
    assert same(load_model(path, "lightendiffusion_stage1"), network.decom)
    other = seeded(seed=1)
    kept = other.Unet.conv_in.weight.clone()
    load_stage1(other, path)
    assert same(other.decom, network.decom)
    assert torch.equal(other.Unet.conv_in.weight, kept)


def test_the_first_stage_of_a_whole_model_is_taken(tmp_path: Path) -> None:
    network, other = seeded(), seeded(seed=1)
    save_model(network, tmp_path / "whole.safetensors", {})
    save_model(network.decom, tmp_path / "one.safetensors", {})
    for name in ("whole", "one"):
        METHOD.begin(other, tmp_path / f"{name}.safetensors")  # type: ignore[misc]
        assert same(other.decom, network.decom)
        assert {p.requires_grad for p in other.decom.parameters()} == {False}
        assert {p.requires_grad for p in other.Unet.parameters()} == {True}
        other = seeded(seed=2)


def test_stages_are_told_apart(tmp_path: Path) -> None:
    network = seeded()
    torch.save({"model": network.decom.state_dict()}, tmp_path / "one.pth")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "two.pth")
    torch.save({"state_dict": network.Unet.state_dict(prefix="Unet.")}, tmp_path / "half.pth")
    with pytest.raises(
        WeightsError, match=r"one\.pth: holds weights of lightendiffusion_stage1, not of lightendiffusion"
    ):
        create_model("lightendiffusion", weights=tmp_path / "one.pth")
    with pytest.raises(
        WeightsError, match=r"two\.pth: holds weights of lightendiffusion, not of lightendiffusion_stage1"
    ):
        create_model("lightendiffusion_stage1", weights=tmp_path / "two.pth")
    with pytest.raises(WeightsError, match=r"half\.pth: a noise predictor of LightenDiffusion without its first stage"):
        load_model(tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=r"half\.pth: holds no first stage of LightenDiffusion"):
        load_stage1(network, tmp_path / "half.pth")
    wide = Stage1(Stage1Config(16))
    save_model(wide, tmp_path / "wide.safetensors", {})
    with pytest.raises(
        WeightsError, match=r"does not fit the first stage of this lightendiffusion: 144 of another shape"
    ):
        load_stage1(network, tmp_path / "wide.safetensors")
    bare = {k: v for k, v in network.state_dict().items() if not k.startswith("decom.retinex.conv1_1")}
    torch.save(bare, tmp_path / "short.pth")
    with pytest.raises(WeightsError, match=r"8 missing: decom\.retinex\.conv1_1"):
        load_model(tmp_path / "short.pth")
    unconditional = network.state_dict() | {"Unet.conv_in.weight": torch.zeros(32, 3, 3, 3)}
    with pytest.raises(WeightsError, match=r"without a condition, .*\(32, 3, 3, 3\)"):
        recognise(unconditional)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil",)


def test_what_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = as_published(seeded(), seeded())
    content["config"] = argparse.Namespace(hook=Evil())
    torch.save(content, "evil.pth.tar")
    with pytest.raises(WeightsError, match="refused: it holds Python objects beside tensors"):
        load_model("evil.pth.tar")
    assert not Path("evil").exists()


VARIANTS = [
    LightenDiffusionConfig(),
    LightenDiffusionConfig(ch=32, ch_mult=(2, 3, 2), num_res_blocks=3, resamp_with_conv=False, ctdn_channels=24),
    LightenDiffusionConfig(ch=32, ch_mult=(2,), num_res_blocks=1, ctdn_channels=8),
    LightenDiffusionConfig(ch=96, ch_mult=(1, 2, 2, 1, 1), ctdn_channels=32),
]


@pytest.mark.parametrize("config", VARIANTS, ids=lambda c: f"{c.ch}x{c.ch_mult}")
def test_recognised_from_keys_and_shapes(config: LightenDiffusionConfig) -> None:
    with torch.device("meta"):
        state = LightenDiffusion(config).state_dict()
    method, found = recognise(state)
    assert (method.name, found) == ("lightendiffusion", config)


def test_a_tensor_of_any_shape_may_have_a_known_name() -> None:
    with torch.device("meta"):
        states = [(METHOD, seeded().state_dict()), (STAGE1, seeded().decom.state_dict())]
    for method, state in states:
        for key in list(state):
            if not key.endswith("weight"):
                continue
            for shape in ((), (8,), (0, 0), (1, 2, 3, 4, 5)):
                with contextlib.suppress(UsageError):  # nothing else may come out: the file is a stranger's
                    method.recognise(state | {key: torch.zeros(shape)})
