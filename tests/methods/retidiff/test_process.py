"""Reti-Diff's process: its schedule, the steps that are visited, and the chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tapetum.errors import UsageError
from tapetum.methods.retidiff import METHOD, RetiDiff
from tapetum.methods.retidiff.diffusion import schedule, visited

TINY = METHOD.configs["tiny"]
Seeded = Callable[..., Any]
Make = Callable[..., Tensor]


def test_published_schedule() -> None:
    buffers = schedule(0.1, 0.99, 4)
    assert len(buffers) == 12
    anchors = {"betas": [0.1, 0.2942856, 0.5909523, 0.99], "posterior_mean_coef1": [1, 0.7651869, 0.6362697, 0.5059268]}
    for name, values in anchors.items():
        assert buffers[name].tolist() == pytest.approx(values, rel=1e-6)
    assert schedule(0.1, 0.99, 1)["betas"].tolist() == pytest.approx([0.1])


@given(st.integers(1, 30), st.data())
def test_visited_steps(timesteps: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, timesteps))
    times = visited(timesteps, steps)
    assert len(set(times)) == steps
    assert times == sorted(times, reverse=True)
    assert times[0] == timesteps - 1
    assert steps == 1 or times[-1] == 0
    assert visited(timesteps, timesteps) == list(reversed(range(timesteps)))
    for bad in (0, timesteps + 1):
        with pytest.raises(UsageError, match=f"steps must be from 1 to {timesteps}, got {bad}"):
            visited(timesteps, bad)


def test_every_number_of_steps_ends_in_a_prediction(seeded: Seeded, picture: Make, normal: Make) -> None:
    """The last state is what the network said last; all T steps are the published chain."""
    network = seeded(RetiDiff, TINY)
    process, start = network.img_diffusion, normal(2, TINY.prior)
    with torch.no_grad():
        condition = process.condition(picture(2))
        for steps in (1, 2, 3, 4):
            states = process.chain(condition, start, steps)
            before = states[-2] if steps > 1 else start
            torch.testing.assert_close(states[-1], process.model(before, 0 if steps > 1 else 3, condition))
            assert len(states) == steps
        # by the general formula of the posterior, step by step
        x = start
        for t in (3, 2, 1, 0):
            a, before = process.alphas_cumprod[t], process.alphas_cumprod_prev[t]
            predicted = process.model(x, t, condition)
            first, second = (1 - a / before) * before.sqrt() / (1 - a), (1 - before) * (a / before).sqrt() / (1 - a)
            x = first * predicted + second * x
        torch.testing.assert_close(process.chain(condition, start)[-1], x, atol=1e-5, rtol=1e-4)


def test_training_and_use_differ_in_where_the_chain_begins(seeded: Seeded, picture: Make, normal: Make) -> None:
    network, low = seeded(RetiDiff, TINY), picture(2)
    clean, noise = normal(2, TINY.prior, seed=5), normal(2, TINY.prior, seed=6)
    process = network.img_diffusion
    with torch.no_grad():
        start = process.sqrt_alphas_cumprod[-1] * clean + process.sqrt_one_minus_alphas_cumprod[-1] * noise
        assert torch.equal(process.unrolled(low, clean, noise)[-1], process.sample(low, start))
