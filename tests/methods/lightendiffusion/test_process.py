"""LightenDiffusion's process: schedules, steps and samplers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tapetum.errors import UsageError
from tapetum.methods.lightendiffusion.process import Diffusion, Sampling, make_betas

LINEAR = Diffusion(make_betas("linear", 1000))


def process(timesteps: int) -> Diffusion:
    return Diffusion(make_betas("linear", timesteps))


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


def test_betas_that_are_lost_in_float32_are_refused() -> None:
    with pytest.raises(UsageError, match="the first beta, 1e-09, adds no noise in float32: take a larger one"):
        make_betas("linear", 10, 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_noise_of_the_first_steps_is_not_rounded_away(dtype: torch.dtype) -> None:
    noisy = LINEAR.noised(torch.zeros(20, 1, 1, 1, dtype=dtype), torch.ones(20, 1, 1, 1), torch.arange(20))
    expected = (1 - LINEAR.alphas_bar[:20].double()).sqrt()
    torch.testing.assert_close(noisy.flatten().double(), expected, rtol=1e-4, atol=0)
