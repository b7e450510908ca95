"""From figures of pictures to figures of a method: means with confidence intervals, and files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from tapetum import metrics
from tapetum.errors import InputError, os_reason
from tapetum.imaging.replacing import write_whole

RESAMPLINGS = 10_000
_AT_ONCE = 1 << 18  # draws: some megabytes, however many scenes there are
KEEP, KEEP_IS = "psnr_keep", "psnr_rgb_uint8"
"""How far good pictures stay as they are: the second measure, of the result and the input."""


@dataclass(frozen=True)
class Row:
    """What was measured on one picture.

    Attributes:
        model: what was measured.
        split: the list that the picture belongs to.
        name: the picture's name in its data set.
        scene: pictures of one scene are not independent; the interval takes them together.
        values: measure to value, such as "psnr" to decibels.
        seconds: from the decoded picture to the enhanced one, or None where stored predictions were measured.
    """

    model: str
    split: str
    name: str
    scene: str
    values: dict[str, float]
    seconds: float | None = None


@dataclass(frozen=True)
class Mean:
    """A mean over pictures, with the 95 % bootstrap interval over scenes."""

    value: float
    low: float
    high: float

    def text(self, decimals: int) -> str:
        return f"{self.value:.{decimals}f} [{self.low:.{decimals}f}, {self.high:.{decimals}f}]"


@dataclass(frozen=True)
class Summary:
    """Figures of a model on a split.

    Attributes:
        means: by measure.
        worst: the picture with the worst value (where neither direction is better: the lowest), and it, by measure.
        seconds: median per picture, or None.
    """

    model: str
    split: str
    pictures: int
    scenes: int
    means: dict[str, Mean]
    worst: dict[str, tuple[str, float]]
    seconds: float | None


def mean_with_interval(values: Sequence[float], scenes: Sequence[str], seed: int = 0) -> Mean:
    """Mean over pictures and its 95 % percentile bootstrap interval; whole scenes are drawn with replacement.

    With one scene the interval is the mean itself: nothing is known about the spread then.
    """
    numbers = np.asarray(values, np.float64)
    _, scene_of = np.unique(np.asarray(scenes), return_inverse=True)
    count = int(scene_of.max()) + 1
    sums = np.bincount(scene_of, weights=numbers, minlength=count)
    sizes = np.bincount(scene_of, minlength=count)
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLINGS)
    rows = max(1, _AT_ONCE // count)
    for first in range(0, RESAMPLINGS, rows):  # the same draws as all at once
        draws = random.integers(0, count, (min(rows, RESAMPLINGS - first), count))
        means[first : first + rows] = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Mean(float(numbers.mean()), float(low), float(high))


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """One summary for each model and split, in their order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.model, row.split), []).append(row)
    return [summary_of(model, split, group) for (model, split), group in groups.items()]


def summary_of(model: str, split: str, rows: Sequence[Row]) -> Summary:
    scenes = [row.scene for row in rows]
    means = {measure: mean_with_interval([row.values[measure] for row in rows], scenes) for measure in rows[0].values}
    worst = {}
    for measure in means:
        row = (max if better(measure) == "lower" else min)(rows, key=lambda row: row.values[measure])
        worst[measure] = (row.name, row.values[measure])
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return Summary(
        model, split, len(rows), len(set(scenes)), means, worst, float(np.median(seconds)) if seconds else None
    )


def better(measure: str) -> str:
    """Which values of a column are better: "higher", "lower" or "neither". What has no entry among the measures is a
    ratio or a similarity of its own program, and higher.
    """
    name = measure.partition("/")[0]
    return metrics.get(name).better if name in metrics.names() else "higher"


def title_of(measure: str, among: Sequence[str]) -> str:
    """ "PSNR", "PSNR GT-mean"; the whole name where two of ``among`` would be called alike."""
    name, _, correction = measure.partition("/")
    short = name.split("_")[0].upper()
    alike = {other.partition("/")[0] for other in among if other.partition("/")[0].split("_")[0].upper() == short}
    return (short if len(alike) == 1 else name) + (" GT-mean" if correction else "")


def decimals(measure: str) -> int:
    """That its figures are shown with."""
    name = measure.partition("/")[0]
    return metrics.get(KEEP_IS if name == KEEP else name).decimals


def percent(value: float) -> str:
    """Of a share; "-" where there is none (NaN)."""
    return f"{100 * value:.1f}" if value == value else "-"


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line per picture; all rows have the same measures.

    Raises:
        InputError: the file cannot be written.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = list(rows[0].values) if rows else []
    writer.writerow(["model", "split", "name", "scene", *measures, "seconds"])
    for row in rows:
        figures = [f"{row.values[measure]:.6f}" for measure in measures]
        seconds = "" if row.seconds is None else f"{row.seconds:.4f}"
        writer.writerow([row.model, row.split, row.name, row.scene, *figures, seconds])
    write_text(text.getvalue(), path)


def write_json(content: Any, path: Path) -> None:
    """Raises InputError: the file cannot be written."""
    write_text(json.dumps(content, indent=2) + "\n", path)


def write_text(text: str, path: Path) -> None:
    try:
        write_whole(text, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {os_reason(error)}") from None
