"""Means, intervals and files."""

from __future__ import annotations

import csv
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.errors import InputError
from tapetum.evaluation.report import Row, mean_with_interval, summarise, write_csv, write_json


def test_the_interval_of_independent_pictures_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(20, 3, 400)
    mean = mean_with_interval(values.tolist(), [str(i) for i in range(400)])
    half = 1.96 * values.std() / 20
    assert mean.value == pytest.approx(values.mean())
    assert mean.value - mean.low == pytest.approx(half, rel=0.05)
    assert mean.high - mean.value == pytest.approx(half, rel=0.05)


def test_pictures_of_one_scene_are_not_independent():
    values = np.random.default_rng(0).normal(20, 3, 40).repeat(10).tolist()
    apart = mean_with_interval(values, [str(i) for i in range(400)])
    together = mean_with_interval(values, [str(i // 10) for i in range(400)])
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(10**0.5, rel=0.08)


@given(st.lists(st.tuples(st.floats(-100, 100), st.integers(0, 4)), min_size=1, max_size=30))
def test_the_interval_holds_the_mean_and_lies_among_the_values(rows):
    values, scenes = [r[0] for r in rows], [str(r[1]) for r in rows]
    mean = mean_with_interval(values, scenes)
    slack = 1e-9 + 1e-9 * max(map(abs, values))
    assert min(values) - slack <= mean.low <= mean.high <= max(values) + slack
    assert mean == mean_with_interval(values, scenes), "seeded"
    if len(set(scenes)) == 1:
        assert mean.low == pytest.approx(mean.value, abs=slack)
        assert mean.high == pytest.approx(mean.value, abs=slack)


@pytest.mark.parametrize("scenes", [1, 2, 15, 101, 300])
def test_drawn_in_blocks_the_interval_is_that_of_all_draws_at_once(scenes):
    values = np.random.default_rng(scenes).normal(20, 3, 2 * scenes)
    sums, draws = values.reshape(2, -1).sum(axis=0), np.random.default_rng(0).integers(0, scenes, (10_000, scenes))
    expected = np.percentile(sums[draws].sum(axis=1) / (2 * scenes), [2.5, 97.5])
    mean = mean_with_interval(values.tolist(), [f"{i:03}" for i in range(scenes)] * 2)
    assert (mean.low, mean.high) == pytest.approx(tuple(expected), rel=1e-12)


def test_many_scenes_take_little_memory():
    values, scenes = np.arange(5000.0).tolist(), [str(i) for i in range(5000)]
    tracemalloc.start()
    try:
        mean_with_interval(values, scenes)
        assert tracemalloc.get_traced_memory()[1] < 20e6, "all draws at once would be 400 MB"
    finally:
        tracemalloc.stop()


ROWS = [
    Row("m", "eval15", "1", "7", {"psnr": 20.0}, 0.5),
    Row("m", "eval15", "2, odd", "7", {"psnr": 10.0}, 0.1),
    Row("m", "eval15", "3", "8", {"psnr": 30.0}, 0.2),
    Row("n", "eval15", "1", "7", {"psnr": 25.0}, None),
]


def test_a_summary_for_each_model_and_split():
    first, second = summarise(ROWS)
    assert (first.model, first.split, first.pictures, first.scenes, first.seconds) == ("m", "eval15", 3, 2, 0.2)
    assert first.means["psnr"].value == 20
    assert first.worst["psnr"] == ("2, odd", 10.0)
    assert (second.model, second.pictures, second.seconds) == ("n", 1, None)


def test_the_worst_is_the_highest_where_lower_is_better():
    values = [{"mae": v, "mae/x": v, "entropy_gray601_uint8": v, "psnr_keep": v} for v in (2.0, 3.0, 1.0)]
    (summary,) = summarise([Row("m", "s", str(i), str(i), v) for i, v in enumerate(values)])
    worst = {name: place for name, (place, _) in summary.worst.items()}
    assert worst == {"mae": "1", "mae/x": "1", "entropy_gray601_uint8": "2", "psnr_keep": "2"}


def test_files(tmp_path):
    write_csv(ROWS, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["1", "2, odd", "3", "1"]
    assert [float(row["psnr"]) for row in rows] == [20, 10, 30, 25]
    assert rows[3]["seconds"] == ""
    with pytest.raises(InputError, match="cannot be written: no such file or directory"):
        write_json({}, tmp_path / "missing" / "x.json")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]
