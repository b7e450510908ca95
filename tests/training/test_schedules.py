from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tapetum.errors import UsageError
from tapetum.training import schedules

LOL = {"periods": [46_000, 104_000], "weights": [1, 1], "minima": [3e-4, 1e-6]}


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [(1, 2e-4), (23_001, 2.5e-4), (46_001, 3e-4), (46_002, 2e-4), (98_001, 1.005e-4), (150_001, 1e-6), (200_000, 1e-6)],
)
def test_published_cycles(iteration: int, rate: float) -> None:
    assert schedules.cosine_restart_cyclic(iteration, 2e-4, **LOL) == pytest.approx(rate, abs=1e-9)


def test_published_training_log() -> None:
    # the authors' log of Retinexformer shows 1.441e-04 there
    assert f"{schedules.cosine_restart_cyclic(83_000, 2e-4, **LOL):.3e}" == "1.441e-04"


@given(t=st.integers(0, 300), t_max=st.integers(1, 100))
def test_one_minimum_for_all_and_pytorch(t: int, t_max: int) -> None:
    if t <= t_max:
        one = schedules.cosine_restart_cyclic(t + 1, 0.1, [t_max], [1.0], [0.01])
        assert one == pytest.approx(schedules.cosine(t + 1, 0.1, t_max, 0.01))
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, t_max, 0.01)
    theirs.last_epoch = t
    assert schedules.cosine(t + 1, 0.1, t_max, 0.01) == pytest.approx(theirs._get_closed_form_lr()[0])


def test_restart_weight() -> None:
    rate = schedules.cosine_restart_cyclic(12, 1.0, [10, 10], [1.0, 0.5], [0, 0])
    assert rate == pytest.approx(0.25 * (1 + math.cos(math.pi / 10)))


@pytest.mark.parametrize(
    ("t", "rate"), [(0, 1), (9, 1), (10, 0.1), (20, 1e-3), (29, 1e-3), (30, 0.5), (35, 0.05), (40, 0.05)]
)
def test_multi_step(t: int, rate: float) -> None:
    # 20 counts twice; 30 is a restart too and does nothing
    got = schedules.multi_step(t + 1, 1.0, [10, 20, 20, 30, 35], restarts=[0, 30], weights=[1.0, 0.5])
    assert got == pytest.approx(rate)


def test_multi_step_before_any_restart() -> None:
    assert schedules.multi_step(6, 1.0, [2, 4], restarts=[10], weights=[0.5]) == pytest.approx(0.01)


def test_linear() -> None:
    assert [schedules.linear(i, 2.0, 4) for i in (1, 2, 4)] == [2.0, 1.5, 0.5]


@pytest.mark.parametrize(
    ("t", "factor"),
    [
        (0, 0.1),  # the saw-tooth's zero, raised while t < h
        (5, (1 - 5 / 1600 * 8 / 3) * 0.5),
        (10, 1 - 10 / 1600 * 8 / 3),
        (15, (1 - 15 / 1600 * 8 / 3) * 0.5),
        (20, 0),
        (610, 0.2),  # 3/8 of the way is 600
        (1010, 0.1),  # 5/8 is 1000
    ],
)
def test_vibrate(t: int, factor: float) -> None:
    assert schedules.vibrate(t + 1, 2.0, 1600) == pytest.approx(2.0 * factor)


def test_warm_up() -> None:
    assert schedules.warm_up(3, 0.1, 10, 0.07) == pytest.approx(0.03)
    assert schedules.warm_up(10, 0.1, 10, 0.07) == 0.07
    assert schedules.warm_up(1, 0.1, -1, 0.07) == 0.07


def test_refusals() -> None:
    with pytest.raises(UsageError, match="got 2, 1, 2"):
        schedules.cosine_restart_cyclic(1, 1.0, [1, 2], [1], [0, 0])
    with pytest.raises(UsageError, match="got 0, 0, 0"):
        schedules.cosine_restart_cyclic(1, 1.0, [], [], [])
    with pytest.raises(UsageError, match="got 1 and 2"):
        schedules.multi_step(1, 1.0, [], restarts=[0], weights=[1, 1])
    with pytest.raises(UsageError, match="at least 160 iterations, got 159"):
        schedules.vibrate(1, 1.0, 159)
