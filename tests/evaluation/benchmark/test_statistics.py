"""The statistics of a benchmark, against scipy and by what they must be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapetum.evaluation.benchmark.statistics import compare, holm, scene_means, signed_rank, too_few


@pytest.mark.parametrize("count", [1, 2, 5, 10, 25, 50])
def test_signed_rank_is_scipys_exact_one(count: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for seed in range(5):
        differences = np.random.default_rng(seed).normal(0.3, 1, count)
        expected = stats.wilcoxon(differences, method="exact").pvalue
        assert signed_rank(differences) == pytest.approx(expected, abs=1e-12)


def test_beyond_exact_it_is_scipys_normal_one() -> None:
    stats = pytest.importorskip("scipy.stats")
    differences = np.random.default_rng(0).normal(0.1, 1, 300)
    expected = stats.wilcoxon(differences, method="asymptotic", correction=True).pvalue
    assert signed_rank(differences) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_with_ties_it_is_the_share_of_all_signs(numbers: list[int]) -> None:
    """By trying every choice of signs: the definition."""
    kept = [n for n in numbers if n]
    sizes = np.abs(kept)
    ranks = [float((sizes < size).sum() + ((sizes == size).sum() + 1) / 2) for size in sizes]
    positive = sum(rank for rank, n in zip(ranks, kept, strict=True) if n > 0)
    least = min(positive, sum(ranks) - positive)
    signs = itertools.product((0, 1), repeat=len(kept))
    sums = [float(np.dot(ranks, each)) for each in signs]
    expected = min(1.0, 2 * float(np.mean([s <= least for s in sums]))) if kept else 1.0
    assert signed_rank(numbers) == pytest.approx(expected)


@given(st.lists(st.floats(-5, 5), max_size=30))
def test_the_order_of_two_models_does_not_matter(numbers: list[float]) -> None:
    p = signed_rank(numbers)
    assert 0 < p <= 1
    assert signed_rank([-n for n in numbers]) == p


def test_no_difference_is_not_significant() -> None:
    assert signed_rank([]) == signed_rank([0.0, 0.0]) == 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_between_none_and_bonferroni(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p, adjusted in zip(p_values, corrected, strict=True):
        assert p <= adjusted <= min(1.0, len(p_values) * p)
    assert [corrected[i] for i in np.argsort(p_values, kind="stable")] == sorted(corrected)


def test_pictures_of_one_scene_count_once() -> None:
    assert scene_means([1, 3, 10], ["b", "b", "a"]).tolist() == [10, 2]
    names = [str(i) for i in range(20)]
    values = {"a": dict.fromkeys(names, 2.0), "b": {n: 1.0 + int(n) / 100 for n in names}}
    alone = compare(values, {n: n for n in names})[0]
    together = compare(values, {n: str(int(n) // 10) for n in names})[0]
    assert (alone.scenes, together.scenes) == (20, 2)
    assert alone.p < 1e-5 < 0.4 < together.p
    assert alone.difference.value == together.difference.value == pytest.approx(0.905)


def test_models_are_compared_on_what_both_have() -> None:
    values = {"a": {"1": 2.0, "2": 3.0}, "b": {"2": 1.0}, "c": {"1": 0.0}}
    found = {(c.first, c.second): c for c in compare(values, {"1": "1", "2": "2"})}
    assert set(found) == {("a", "b"), ("a", "c")}, "b and c share no picture"
    assert found["a", "b"].difference.value == 2


def test_the_family_is_all_pairs() -> None:
    random = np.random.default_rng(1)
    names = [str(i) for i in range(12)]
    values = {m: {n: float(random.normal(i, 0.5)) for n in names} for i, m in enumerate("abc")}
    found = compare(values, {n: n for n in names})
    assert [c.holm for c in found] == holm([c.p for c in found])
    assert len(found) == 3


@pytest.mark.parametrize("models", [2, 3, 5, 10])
def test_too_few_scenes_for_anything_to_be_significant(models: int) -> None:
    """Where each model beats the next by far on every scene, the least p-value tells."""
    for scenes in range(1, 14):
        names = [str(i) for i in range(scenes)]
        values = {str(m): {n: 10.0 * m + int(n) * 0.1 * m for n in names} for m in range(models)}
        found = compare(values, {n: n for n in names})
        assert too_few(scenes, len(found), 0.05) == (min(c.holm for c in found) >= 0.05)


def test_fewest_scenes_as_the_documentation_has_them() -> None:
    fewest = {m: next(s for s in range(99) if not too_few(s, m * (m - 1) // 2, 0.05)) for m in (2, 5, 10)}
    assert fewest == {2: 6, 5: 9, 10: 11}
