"""UPT-Flow in use: temperature, seeds, samples, and how near a tile is to the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tapetum
from tapetum import Enhancer
from tapetum.errors import InputError, UsageError
from tapetum.imaging import read_picture
from tapetum.methods.uptflow import UPTFlow

Shaken = Callable[..., UPTFlow]
Make = Callable[..., Tensor]


def test_temperature(shaken: Shaken, picture: Make) -> None:
    network, low = shaken(), picture()
    with torch.no_grad():
        still, half, full = (network(low, temperature=t) for t in (0.0, 0.5, 1.0))
        assert torch.equal(still, network(low))
        assert torch.equal(full, network(low, temperature=1.0))  # of seed 0
        assert 0 < (half - still).abs().mean() < (full - still).abs().mean()
        noise = torch.randn(1, 192, 2, 3)
        latent = network.encode(network(low, temperature=0.5, noise=noise), network.conditions(low))
        torch.testing.assert_close(latent, 0.5 * noise, atol=1e-3, rtol=1e-3)
    assert (network.noise_channels(), network.noise_channels(temperature=0.5)) == (0, 192)
    with pytest.raises(UsageError, match=r"temperature must be a number from 0 to 10, got -0.1"):
        network(low, temperature=-0.1)
    with pytest.raises(UsageError, match=r"noise must have the shape \(1, 192, 2, 3\), got \(1, 3, 2, 3\)"):
        network(low, temperature=1.0, noise=torch.zeros(1, 3, 2, 3))
    with pytest.raises(InputError, match=r"sides must be multiples of 8, got 12x16"):
        network(picture(12, 16))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature": -1}, r"temperature must be a number from 0 to 10, got -1"),
        ({"samples": 0}, r"samples must be a whole number from 1 to 1000, got 0"),
        ({"seed": -1}, r"seed must be"),
        ({"samples": 3}, r"3 samples would all be alike, for nothing is drawn with temperature=0"),
    ],
)
def test_bad_options_are_one_line(options: dict[str, Any], says: str, shaken: Shaken) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Enhancer(shaken(), "cpu", **options)
    assert "\n" not in str(caught.value)


def test_any_size_seeds_and_samples(shaken: Shaken) -> None:
    picture = np.random.default_rng(0).integers(0, 80, (13, 27, 3), np.uint8)
    network = shaken()
    still = Enhancer(network, "cpu")(picture)
    assert still.shape == picture.shape
    assert np.array_equal(still, Enhancer(network, "cpu", seed=5)(picture))  # nothing is drawn at temperature 0
    drawn = {seed: Enhancer(network, "cpu", temperature=1.0, seed=seed)(picture) for seed in (1, 2)}
    assert not np.array_equal(drawn[1], drawn[2])
    samples = list(Enhancer(network, "cpu", temperature=1.0, seed=1, samples=2).samples(picture))
    assert np.array_equal(samples[0], drawn[1])
    assert not np.array_equal(samples[0], samples[1])


def test_a_tile_that_is_told_the_whole_is_nearer(shaken: Shaken, picture: Make) -> None:
    network, low = shaken(), picture(40, 160, seed=3)
    low = low * torch.linspace(0.2, 2, 160)  # tiles that look different
    tile, inner = (Ellipsis, slice(0, 120)), (Ellipsis, slice(0, 24))
    with torch.no_grad():
        whole = network(low)[tile]
        told, alone = network(low[tile], network.measure(low)), network(low[tile])
    errors = [(each - whole)[inner].abs().mean().item() for each in (told, alone)]
    assert errors[0] < 0.5 * errors[1]


def test_tile_error_is_bounded(shaken: Shaken) -> None:
    """Gates and attention between channels come from the whole picture, but windows begin where the tile does."""
    photograph = read_picture(Path(tapetum.__file__).parent / "assets" / "samples" / "coffee-dark.jpg").pixels
    light = np.linspace(0.2, 3, 520)[None, :, None]  # tiles that look different
    picture = (photograph[150:214, 20:540] * light).clip(0, 255).astype(np.uint8)
    assert picture.shape == (64, 520, 3)
    network = shaken()
    with torch.no_grad():  # a picture to be seen, between black and white
        network.flowUpsamplerNet.layers[1].actnorm.bias.sub_(0.5)
        network.flowUpsamplerNet.layers[1].actnorm.logs.add_(1.5)
    whole = Enhancer(network, "cpu", memory="20GB")(picture).astype(float)
    assert whole.std() > 5
    error = Enhancer(network, "cpu", tile=160)(picture) - whole
    # in 8-bit levels; measured 0.77 and 13, of a picture with a deviation of 37
    assert 0 < np.abs(error).mean() < 1.6
    assert np.abs(error).max() < 30
