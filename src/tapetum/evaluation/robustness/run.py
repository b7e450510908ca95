"""Examines models by the benchmark's own means: predictions are made in processes of their own, and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.pairs import by_stem
from tapetum.errors import UsageError, nearest
from tapetum.evaluation.benchmark.making import Made, make_predictions
from tapetum.evaluation.benchmark.measuring import Outcome, Task, measure_all, tasks_of
from tapetum.evaluation.benchmark.plan import Look, Photographs, Plan
from tapetum.evaluation.benchmark.stored import open_store
from tapetum.evaluation.protocols import PROTOCOLS
from tapetum.evaluation.report import Mean, Row, summary_of
from tapetum.evaluation.robustness.probes import PROBES, Point, Probe, Spoiling
from tapetum.evaluation.robustness.spoiling import make_split
from tapetum.metrics import score

PSNR, HUE = "psnr_rgb_uint8", "hue_shift_lab"
LARGEST = "largest_difference"
"""In 8-bit levels, the largest of all pixels and channels; between two results of one model."""


@dataclass(frozen=True)
class Reading:
    """What a model achieved at one point of a probe.

    Attributes:
        means: by measure; where a probe compares with the photograph those of the protocol "strict", plain and after
            GT-mean, and ``HUE``; else ``PSNR`` and ``LARGEST`` of two results.
    """

    probe: str
    point: str
    model: str
    pictures: int
    means: dict[str, Mean]


@dataclass(frozen=True)
class Robustness:
    """Of all models.

    Attributes:
        photographs: names of the good ones.
        readings: probe by probe, point by point, model by model.
        failures: what could not be measured, and why.
        sheet: of one photograph, the points of the first probe, to look at.
        predictions: what became of them.
    """

    photographs: tuple[str, ...]
    readings: list[Reading]
    failures: list[Outcome]
    sheet: list[Task] = field(default_factory=list)
    predictions: Made = field(default_factory=Made)

    @property
    def models(self) -> list[str]:
        """Titles, in their order."""
        return list(dict.fromkeys(reading.model for reading in self.readings))

    @property
    def corrected(self) -> str | None:
        """The PSNR after GT-mean among the measures; None where nothing could be measured."""
        return next((m for r in self.readings for m in r.means if m.startswith(f"{PSNR}/")), None)

    def values(self, probe: Probe, measure: str) -> dict[str, list[float | None]]:
        """For each model the means at the probe's points; None where nothing could be measured."""
        found = {(r.model, r.point): r.means[measure].value for r in self.readings if r.probe == probe.name}
        return {model: [found.get((model, point.label)) for point in probe.points] for model in self.models}


def find_photographs(photographs: Photographs, limit: int | None) -> list[Path]:
    """The files in their order; no more than the smaller limit.

    Raises:
        InputError: no such folder, or no picture in it, or two of one name.
        UsageError: a name that the folder has not.
    """
    files = by_stem(photographs.folder)
    for name in photographs.names:
        if name not in files:
            raise UsageError(f"{photographs.folder}: no picture named {name!r}{nearest(name, files)}")
    chosen = [files[name] for name in photographs.names] or list(files.values())
    return chosen[: min(photographs.limit, limit or photographs.limit)]


def examine(
    plan: Plan,
    files: Sequence[Path],
    cache: Path,
    jobs: int,
    step: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> Robustness:
    """All probes of all models of a plan on photographs.

    Args:
        cache: folder of the dark pictures and of the predictions.
        jobs: processes at a time.
        step: told ``(done, total)`` of the predictions that are to be made.
        tell: told lines for people.

    Raises:
        InputError: a photograph cannot be read, or the cache not be written.
    """
    plan = replace(plan, metrics=(HUE,), self_ensemble=False)
    points = [(probe, point) for probe in PROBES for point in probe.points]
    splits = {how: make_split(files, how, cache) for how in dict.fromkeys(point.spoiling for _, point in points)}

    def look(spoiling: Spoiling, protocol: str) -> Look:
        return PROTOCOLS[protocol], splits[spoiling]

    looks = [look(point.spoiling, point.protocol) for _, point in points]
    looks += [look(point.spoiling, probe.against) for probe, point in points if probe.against is not None]
    made = make_predictions(plan, list(dict.fromkeys(looks)), cache, jobs, step, tell)
    readings: list[Reading] = []
    sheet: list[Task] = []
    failures: dict[Outcome, None] = {}
    for probe, point in points:
        tasks = tasks_of(plan, [look(point.spoiling, point.protocol)], cache, made)
        sheet += tasks[:1] if probe is PROBES[0] else []
        if probe.against is not None:
            others = tasks_of(plan, [look(point.spoiling, probe.against)], cache, made)
            outcomes = [outcome for pair in zip(tasks, others, strict=True) for outcome in agreement(*pair)]
        else:
            outcomes = [outcome for found in measure_all(tasks, jobs) for outcome in found]
        failures.update(dict.fromkeys(outcome for outcome in outcomes if outcome.row is None))
        readings += read(probe, point, outcomes, [model.title for model in plan.models])
    return Robustness(tuple(file.stem for file in files), readings, list(failures), sheet, made)


def agreement(task: Task, other: Task) -> list[Outcome]:
    """How near each model's two results for one dark picture are."""
    outcomes = []
    for model, place in task.predictions.items():
        results: list[NDArray[np.float32]] = []
        reason = ""
        for each in (place, other.predictions[model]):
            if isinstance(each, str):
                reason = reason or each
            elif (stored := open_store(Path(each[0])).get(each[1])) is None:
                reason = reason or "its prediction vanished from the cache meanwhile"
            else:
                results.append(stored.enhanced)
        row = None if reason else Row(model, task.split.name, task.pair.name, task.pair.scene, _nearness(*results))
        outcomes.append(Outcome(task.protocol, model, task.split.name, task.pair.name, row, reason))
    return outcomes


def _nearness(enhanced: NDArray[np.float32], other: NDArray[np.float32]) -> dict[str, float]:
    levels = [np.rint(image * np.float32(255)) for image in (enhanced, other)]
    return {PSNR: score(PSNR, enhanced, other), LARGEST: float(np.abs(levels[0] - levels[1]).max())}


def read(probe: Probe, point: Point, outcomes: Sequence[Outcome], models: Sequence[str]) -> list[Reading]:
    """The means of a point, of each model that could be measured on any picture."""
    readings = []
    for model in models:
        rows = [outcome.row for outcome in outcomes if outcome.model == model and outcome.row is not None]
        if rows:
            means = summary_of(model, point.label, rows).means
            readings.append(Reading(probe.name, point.label, model, len(rows), means))
    return readings


def as_dict(robustness: Robustness) -> dict[str, Any]:
    """Everything for programs."""
    return {
        "photographs": list(robustness.photographs),
        "probes": [
            {
                "name": probe.name,
                "axis": probe.axis,
                "against": probe.against,
                "points": [asdict(p) for p in probe.points],
            }
            for probe in PROBES
        ],
        "readings": [asdict(reading) for reading in robustness.readings],
        "failures": [asdict(failure) for failure in robustness.failures],
    }
