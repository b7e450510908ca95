"""Poisson counts by inversion, and the draws that they are made of; the normal ones: test_position_noise.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.ops.random import PositionNoise, poisson_of_normal


def cumulative(mean: float, counts: int) -> np.ndarray:
    """P(count <= n) for n = 0 .. counts - 1, in float64."""
    n = np.arange(counts)
    logs = n * math.log(mean) - mean - np.array([math.lgamma(k + 1) for k in n])
    return np.cumsum(np.exp(logs))


@pytest.mark.parametrize("mean", [0.01, 0.3, 1.0, 4.0, 9.99, 10.0, 12.5, 30.0, 100.0, 700.0, 5000.0])
def test_the_law_is_poissons(mean: float) -> None:
    """Total variation distance of the counts that a fine grid of normal numbers gives."""
    edges = torch.linspace(-5.4, 5.4, 400_001, dtype=torch.float64)
    middle = (edges[1:] + edges[:-1]) / 2
    mass = torch.special.ndtr(edges).diff()
    counts = poisson_of_normal(torch.full_like(middle, mean), middle).long()
    law = torch.bincount(counts, weights=mass).numpy()
    expected = np.diff(cumulative(mean, len(law) + 20), prepend=0.0)
    distance = 0.5 * np.abs(np.pad(law, (0, 20)) - expected).sum()
    # the grid tells each border of two counts to within half a step
    assert distance < 5e-5 + float(edges[1] - edges[0]) / 4 * math.sqrt(mean)


@pytest.mark.parametrize("mean", [0.5, 3.0, 20.0, 1000.0, 150_000.0])
def test_moments(mean: float) -> None:
    generator = torch.Generator().manual_seed(3)
    count = 400_000
    drawn = poisson_of_normal(torch.full((count,), mean), torch.randn(count, generator=generator)).double()
    assert torch.equal(drawn, drawn.round())
    assert drawn.mean().item() == pytest.approx(mean, abs=5 * math.sqrt(mean / count))
    assert drawn.var().item() == pytest.approx(mean, rel=5 * math.sqrt((2 + 1 / mean) / count))


@settings(max_examples=60)
@given(st.lists(st.floats(0, 50), min_size=1, max_size=40), st.floats(-5, 5))
def test_a_larger_mean_never_gives_fewer(means: list[float], normal: float) -> None:
    ordered = torch.tensor(sorted(means), dtype=torch.float64)
    counts = poisson_of_normal(ordered, torch.full_like(ordered, normal))
    assert (counts.diff() >= 0).all()
    assert (counts >= 0).all()


def test_no_value_depends_on_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(1)
    mean = torch.rand(200_000, generator=generator) * torch.tensor([0.5, 8, 40, 4000]).repeat(50_000)
    normal = torch.randn(200_000, generator=generator)
    whole = poisson_of_normal(mean, normal)
    parts = torch.cat([poisson_of_normal(m, n) for m, n in zip(mean.split(777), normal.split(777), strict=True)])
    assert torch.equal(whole, parts)


def test_no_light_gives_no_count_and_no_gradient() -> None:
    mean = torch.tensor([0.0, -1.0, 5.0], requires_grad=True)
    counts = poisson_of_normal(mean, torch.tensor([5.0, 5.0, 0.0]))
    assert counts[:2].tolist() == [0, 0]
    assert not counts.requires_grad
    assert poisson_of_normal(torch.empty(0), torch.empty(0)).shape == (0,)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="need floats of one shape"):
        poisson_of_normal(torch.ones(3), torch.ones(4))
    with pytest.raises(ValueError, match="need floats"):
        poisson_of_normal(torch.ones(3, dtype=torch.int64), torch.ones(3))
    with pytest.raises(ValueError, match="need a shape"):
        PositionNoise(0).normal((3, 4))
    with pytest.raises(ValueError, match="2 seeds for a batch of 3"):
        PositionNoise([1, 2]).normal((3, 1, 4, 4))


def test_poisson_of_a_tile_and_of_a_batch() -> None:
    mean = torch.rand(2, 4, 60, 70, generator=torch.Generator().manual_seed(0)) * 30
    whole = PositionNoise([5, 6]).poisson(mean)
    tile = PositionNoise(6, origin=(10, 20)).poisson(mean[1, :, 10:40, 20:50])
    assert torch.equal(whole[1, :, 10:40, 20:50], tile)


def test_uniform_numbers_are_of_their_law() -> None:
    uniform = PositionNoise(2).uniform((4, 128, 128))
    assert 0 < float(uniform.min()) < float(uniform.max()) < 1
    count = uniform.numel()
    histogram = torch.histc(uniform, 64, 0, 1)
    chi2 = float(((histogram - count / 64) ** 2 / (count / 64)).sum())
    assert chi2 < 63 + 5 * math.sqrt(2 * 63)


def test_known_numbers() -> None:
    """Files and papers may depend on a seed: these numbers stay."""
    noise = PositionNoise(2026, stream=3, origin=(11, 7)).uniform((1, 1, 3))
    assert noise.flatten().tolist() == pytest.approx(KNOWN, abs=1e-7)


KNOWN = [0.014924466609954834, 0.32599133253097534, 0.48861509561538696]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_the_gpu_draws_the_same() -> None:
    noise = PositionNoise(3)
    assert torch.equal(noise.uniform((4, 64, 64), "cuda").cpu(), noise.uniform((4, 64, 64)))
    mean = torch.rand(4, 64, 64) * 40
    same = noise.poisson(mean.cuda()).cpu() == noise.poisson(mean)
    assert same.float().mean() > 0.999  # rounding of erfinv may move a count by one
