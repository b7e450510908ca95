"""LightenDiffusion's network: its weights, its noise, its options and its precision."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tapetum.errors import InputError, UsageError
from tapetum.methods.lightendiffusion import METHOD, STAGE1, LightenDiffusion, LightenDiffusionConfig, Stage2Objective
from tapetum.methods.registry import make_config
from tapetum.ops.random import PositionNoise

TINY = METHOD.configs["tiny"]
CASES = Path(__file__).parents[2] / "parity" / "cases" / "lightendiffusion"
Seeded = Callable[..., LightenDiffusion]
Make = Callable[..., Tensor]


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


def test_the_decomposition_is_for_training_only(seeded: Seeded, picture: Make, run: Make) -> None:
    network, low = seeded(), picture()
    expected = run(network, low)
    with torch.no_grad():
        for parameter in network.decom.retinex.parameters():
            parameter.zero_()
    assert torch.equal(run(network, low), expected)


def test_noise_decides_and_is_the_same_for_every_picture(seeded: Seeded, picture: Make, run: Make) -> None:
    network, low = seeded(), picture(2)
    noise = PositionNoise(0).normal((1, 3, 4, 6))
    expected = run(network, low)
    assert torch.equal(run(network, low, noise=noise), expected)
    assert torch.equal(run(network, low, noise=noise.expand(2, -1, -1, -1)), expected)
    other = torch.cat([noise, noise.flip(3)])
    ours = run(network, low, noise=other)
    assert torch.equal(ours[0], expected[0])
    assert not torch.equal(ours[1], expected[1])


def test_injected_noise_is_taken_from_further_channels(seeded: Seeded, picture: Make, run: Make) -> None:
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
def test_bad_requests_are_said(options: dict[str, Any], says: str, seeded: Seeded, picture: Make, run: Make) -> None:
    with pytest.raises(UsageError, match=says):
        run(seeded(), picture(), **options)


@pytest.mark.parametrize("size", [(16, 20), (8, 16), (17, 16)])
def test_sizes_that_are_no_multiples(size: tuple[int, int], seeded: Seeded, run: Make) -> None:
    with pytest.raises(InputError, match=rf"sides must be multiples of 16, got {size[0]}x{size[1]}"):
        run(seeded(), torch.rand(1, 3, *size))
    if size[0] % 8 or size[1] % 8:
        stage1 = seeded().decom
        with pytest.raises(InputError, match=r"sides must be multiples of 8, got"):
            run(stage1, torch.rand(1, 3, *size))
        with torch.no_grad(), pytest.raises(InputError, match=r"is decoded with the skips of a picture of .* pad"):
            stage1.decode(*stage1.encode(torch.rand(1, 3, *size)))


@pytest.mark.parametrize("size", [(1, 1), (45, 61), (8, 9)])
def test_any_size_can_be_decomposed(size: tuple[int, int], seeded: Seeded) -> None:
    stage1 = seeded().decom
    with torch.no_grad():
        latent, _ = stage1.encode(torch.rand(2, 3, *size))
        parts = stage1.decompose(latent)
    assert {part.shape for part in (latent, *parts)} == {(2, 3, -(-size[0] // 8), -(-size[1] // 8))}


def test_interruption_passes_through(seeded: Seeded, picture: Make, run: Make) -> None:
    def stop(step: int, steps: int) -> None:
        assert steps == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(seeded(), picture(), on_step=stop)


def test_the_noise_predictor_never_works_in_low_precision(seeded: Seeded, picture: Make, run: Make) -> None:
    network, kinds = seeded(), set()
    network.Unet.conv_out.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        run(network, picture())
    assert kinds == {torch.float32}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_neither_does_it_in_training(checkpointing: bool, seeded: Seeded, picture: Make) -> None:
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


def test_declared_options_are_those_of_forward(seeded: Seeded, picture: Make, run: Make) -> None:
    network, low = seeded(), picture()
    declared = {option.name: option for option in network.properties.options}
    assert set(declared) == {"steps", "eta", "sampler", "spacing", "seed", "samples"}
    defaults = {name: declared[name].default for name in ("steps", "eta", "sampler", "spacing")}
    assert torch.equal(run(network, low, **defaults), run(network, low))
    assert declared["steps"].maximum == TINY.num_diffusion_timesteps
    for sampler in declared["sampler"].choices:
        for spacing in declared["spacing"].choices:
            assert run(network, low, sampler=sampler, spacing=spacing, steps=3).isfinite().all()


def test_all_in_double_precision(seeded: Seeded, picture: Make, run: Make) -> None:
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
