"""Reti-Diff's network: noise, steps, priors, sizes and tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tapetum import Enhancer
from tapetum.errors import InputError, UsageError
from tapetum.methods.retidiff import METHOD, RetiDiff, Stage1

TINY = METHOD.configs["tiny"]
Seeded = Callable[..., Any]
Make = Callable[..., Tensor]


def test_noise_is_the_callers(seeded: Seeded, picture: Make, normal: Make, run: Make) -> None:
    network, low = seeded(RetiDiff, TINY), picture(3)
    noise = normal(3, network.noise_channels())
    first = run(network, low, noise=noise)
    assert torch.equal(first, run(network, low, noise=noise))
    assert not torch.equal(first, run(network, low, noise=noise + 1))
    singles = torch.cat([run(network, low[i : i + 1], noise=noise[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(first, singles, atol=1e-5, rtol=1e-5)
    # the first half is where the Retinex chain begins, the second the RGB chain
    with torch.no_grad():
        maps = network.maps(low)
        priors = network.sampled(low, maps, noise)
        half = TINY.prior
        other = network.sampled(low, maps, torch.cat([noise[:, :half], noise[:, half:] + 1], dim=1))
    assert torch.equal(priors.rex, other.rex)
    assert not torch.equal(priors.rgb, other.rgb)
    with pytest.raises(UsageError, match=r"noise must have the shape \(3, 64\), got \(3, 32\)"):
        network(low, noise=noise[:, :32])


def test_steps_change_the_result_and_are_checked(seeded: Seeded, picture: Make, run: Make) -> None:
    network, low = seeded(RetiDiff, TINY), picture()
    assert torch.equal(run(network, low), run(network, low, steps=4))
    assert not torch.equal(run(network, low), run(network, low, steps=1))
    with pytest.raises(UsageError, match="steps must be from 1 to 4, got 5"):
        network(low, steps=5)


def test_with_a_context_nothing_global_is_computed(seeded: Seeded, picture: Make, normal: Make, run: Make) -> None:
    network, low = seeded(RetiDiff, TINY), picture(1, 24, 32)
    with torch.no_grad():
        context = network.measure(low, noise=normal(1, 64))

    def refuse(*args: object) -> None:
        raise AssertionError("was run")

    for part in (network.img_condition, network.rex_condition, network.img_denoise, network.decom_low):
        part.register_forward_hook(refuse)
    fresh = run(seeded(RetiDiff, TINY), low, noise=normal(1, 64))
    torch.testing.assert_close(run(network, low, context), fresh, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [(16, 20), (7, 8), (0, 8)])
def test_other_sizes_are_refused(size: tuple[int, int], seeded: Seeded) -> None:
    for network in (seeded(RetiDiff, TINY), seeded(Stage1, TINY.stage1)):
        with pytest.raises(InputError, match=rf"multiples of 8, got {size[0]}x{size[1]}: pad the picture"):
            network(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("size", [(37, 45), (51, 26), (3, 2), (1, 1)])
def test_pictures_of_any_size(size: tuple[int, int], seeded: Seeded) -> None:
    image = np.random.default_rng(0).integers(0, 99, (*size, 3), dtype=np.uint8)
    enhancer = Enhancer(seeded(RetiDiff, TINY), seed=1, steps=2)
    enhanced = enhancer(image)
    assert enhanced.shape == image.shape
    assert np.array_equal(enhanced, enhancer(image))


def test_the_enhancer_adds_nothing_where_sides_fit(seeded: Seeded, picture: Make, run: Make) -> None:
    network, low = seeded(RetiDiff, TINY), picture(1, 40, 48)
    image = low[0].permute(1, 2, 0).numpy()
    found = Enhancer(network, seed=0)(image)
    wanted = run(network, low).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_tiles_share_the_priors(seeded: Seeded) -> None:
    """They are made once, of the whole picture, and every tile gets the same."""
    network = seeded(RetiDiff, TINY)
    made: list[Tensor] = []
    used: list[tuple[Tensor, ...]] = []
    network.rex_denoise.register_forward_hook(lambda *call: made.append(call[-1]))
    network.G.register_forward_pre_hook(lambda _, inputs: used.append(inputs[1:3]))
    image = np.random.default_rng(0).random((200, 320, 3), np.float32)
    Enhancer(network, tile=128)(image)
    assert len(made) == 4  # one chain
    assert len(used) > 4  # the whole, and tiles
    assert all(torch.equal(a, b) for tile in used for a, b in zip(tile, used[0], strict=True))


def test_tasks(seeded: Seeded) -> None:
    for_backlight = seeded(RetiDiff, dataclasses.replace(TINY, task="backlit"))
    image = np.zeros((8, 8, 3), np.uint8)
    assert Enhancer(for_backlight).options["task"] == "backlit"
    with pytest.raises(UsageError, match="task must be backlit, got 'low-light'"):
        Enhancer(for_backlight, task="low-light")
    anything = Enhancer(seeded(RetiDiff, TINY), task="underwater")  # a published file does not say
    assert anything(image).shape == image.shape
    with pytest.raises(UsageError, match="task must be low-light, underwater or backlit, got 'fog'"):
        Enhancer(seeded(RetiDiff, TINY), task="fog")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dim": 6}, "dim must be a multiple of 4, got 6"),
        ({"prior": 10}, "prior must be a multiple of 4, got 10"),
        ({"num_blocks": (1, 0, 1, 1)}, "num_blocks must be four numbers from 1 up"),
        ({"heads": (1, 2, 4, 7)}, "heads 7 do not divide the 64 channels"),
        ({"heads": (1, 2, 4, 0)}, "heads must be four numbers from 1 up"),
        ({"ffn_expansion_factor": 0.01}, "ffn_expansion_factor is too small"),
        ({"LayerNorm_type": "none"}, "LayerNorm_type must be WithBias or BiasFree, got 'none'"),
        ({"n_feat": 0}, "n_feat 1, got"),
        ({"timesteps": 0}, "timesteps must be at least 1"),
        ({"linear_start": 0.99, "linear_end": 0.1}, "linear_start and linear_end"),
        ({"linear_end": 1.0}, "linear_start and linear_end"),
        ({"task": "fog"}, "task must be low-light, underwater, backlit or empty"),
    ],
)
def test_impossible_configs(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        dataclasses.replace(TINY, **fields)
