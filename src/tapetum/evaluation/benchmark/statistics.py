"""Whether one model is better than another: paired over scenes, exact, corrected for many comparisons. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tapetum.evaluation.report import Mean, mean_with_interval

_EXACT = 200
"""Differences up to which the test is exact; beyond, the normal distribution is as good."""


@dataclass(frozen=True)
class Comparison:
    """Two models on the pictures that both were measured on.

    Attributes:
        difference: mean over pictures of ``first`` minus ``second``, with its interval over scenes.
        scenes: how many the test stands on.
        p: of the signed-rank test, before correction.
        holm: after Holm's correction for all pairs of models in this measure, split and protocol.
    """

    first: str
    second: str
    difference: Mean
    scenes: int
    p: float
    holm: float


def compare(values: dict[str, dict[str, float]], scenes: dict[str, str]) -> list[Comparison]:
    """Every pair of models, in their order; p-values corrected for their number.

    Args:
        values: of each model, a value for each picture.
        scenes: scene of each picture. Pictures of one scene count as one in the test, by their mean difference.
    """
    found: list[tuple[str, str, Mean, int, float]] = []
    models = list(values)
    for i, first in enumerate(models):
        for second in models[i + 1 :]:
            common = [name for name in values[first] if name in values[second]]
            if not common:
                continue
            differences = [values[first][name] - values[second][name] for name in common]
            places = [scenes[name] for name in common]
            by_scene = scene_means(differences, places)
            mean = mean_with_interval(differences, places)
            found.append((first, second, mean, len(by_scene), signed_rank(by_scene)))
    corrected = holm([p for *_, p in found])
    return [Comparison(*each, adjusted) for each, adjusted in zip(found, corrected, strict=True)]


def scene_means(values: Sequence[float], scenes: Sequence[str]) -> NDArray[np.float64]:
    """Mean of each scene's values, in the order of their names."""
    _, scene_of = np.unique(np.asarray(scenes), return_inverse=True)
    return np.bincount(scene_of, weights=np.asarray(values, np.float64)) / np.bincount(scene_of)


def signed_rank(differences: Sequence[float] | NDArray[np.float64]) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test (Wilcoxon 1945).

    Zeros are left out, equal sizes get the mean of their ranks, and the distribution is that of these very ranks: all
    signs are equally likely. Exact up to 200 differences, beyond by the normal distribution. Without differences: 1.
    """
    numbers = np.asarray(differences, np.float64)
    numbers = numbers[numbers != 0]
    count = len(numbers)
    if count == 0:
        return 1.0
    ranks = _double_ranks(np.abs(numbers))
    total, positive = int(ranks.sum()), int(ranks[numbers > 0].sum())
    least = min(positive, total - positive)
    if count > _EXACT:
        # mean and variance of a sum of ranks with random signs; half a (double) step for continuity
        deviation = math.sqrt(float((ranks.astype(np.float64) ** 2).sum()) / 4)
        z = min(0.0, (least + 1 - total / 2) / deviation)
        return math.erfc(-z / math.sqrt(2))
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for rank in ranks:
        shifted = chances / 2
        shifted[rank:] += chances[: total + 1 - rank] / 2
        chances = shifted
    return min(1.0, 2 * float(chances[: least + 1].sum()))


def too_few(scenes: int, pairs: int, level: float) -> bool:
    """Whether no p-value can come below ``level`` after Holm's correction: the least that the exact test can have, all
    scenes on one side, is multiplied by the number of pairs of models."""
    return pairs * 2.0 ** (1 - scenes) >= level


def _double_ranks(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Twice the ranks from 1, which are whole numbers also where equal sizes share a mean rank."""
    _, which, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (2 * ends - counts + 1)[which]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979): p-values with which all that are below a level may be called
    significant, the chance of any false one among them being at most that level."""
    count = len(p_values)
    corrected = [0.0] * count
    highest = 0.0
    for step, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (count - step) * p_values[index]))
        corrected[index] = highest
    return corrected
