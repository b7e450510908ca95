"""From figures of pictures to what a report says: tables with intervals, what is best, and by how much for sure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tapetum import metrics
from tapetum.evaluation.benchmark.downstream import Downstream
from tapetum.evaluation.benchmark.measuring import Outcome
from tapetum.evaluation.benchmark.statistics import Comparison, compare
from tapetum.evaluation.benchmark.stored import About
from tapetum.evaluation.report import Row, Summary, better, summary_of
from tapetum.evaluation.robustness.run import Robustness
from tapetum.evaluation.robustness.run import as_dict as robustness_dict

LEVEL = 0.05
"""Of significance."""


@dataclass(frozen=True)
class Line:
    """One model in a table.

    Attributes:
        complete: whether every picture could be measured; else it is not compared for the best.
        seen: whether it was trained on scenes of the split; then it is not either.
        best_picture: name and best value by measure (where neither direction is better: the highest).
        marks: by measure: "best"; "level", where the difference from the best is not significant; or "".
    """

    summary: Summary
    complete: bool
    seen: bool
    best_picture: dict[str, tuple[str, float]]
    marks: dict[str, str]


@dataclass(frozen=True)
class Table:
    """All models on one split by one protocol.

    Attributes:
        pictures, scenes: of the split.
        measures: columns; each that compares with the target is followed by itself after GT-mean.
        rows: the figures of every picture, model by model.
        comparisons: of every pair of models that are complete and saw none of the scenes, by measure: what is not
            compared must not enlarge the family that p-values are corrected for.
    """

    split: str
    protocol: str
    pictures: int
    scenes: int
    measures: list[str]
    lines: list[Line]
    rows: list[Row]
    comparisons: dict[str, list[Comparison]]


@dataclass(frozen=True)
class Results:
    """A whole benchmark.

    Attributes:
        facts: where the figures come from: title, date, commit, versions, machine, data, ...
        abouts: of each model, by its title.
        failures: what could not be measured, and why.
        downstream: of detectors and segmenters, where that was asked for.
        robustness: how results hold on spoiled photographs, where that was asked for.
    """

    facts: dict[str, Any]
    tables: list[Table]
    abouts: dict[str, About]
    failures: list[Outcome]
    robustness: Robustness | None = None
    downstream: Sequence[Downstream] = ()

    @property
    def failed(self) -> list[Outcome]:
        """All failures, those on spoiled photographs, too."""
        return self.failures + (self.robustness.failures if self.robustness is not None else [])


def tabulate(
    outcomes: Iterable[Outcome],
    models: Sequence[str],
    pictures: Mapping[str, Mapping[str, str]],
    seen: Collection[tuple[str, str]] = (),
) -> list[Table]:
    """A table for each protocol and split of which anything was measured, in their order.

    Args:
        models: titles, in the order of the lines.
        pictures: of each split, the scene of each picture.
        seen: title and split of models that were trained on scenes of it.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for outcome in outcomes:
        if outcome.row is not None:
            groups.setdefault((outcome.protocol, outcome.split), []).append(outcome.row)
    tables = []
    for (protocol, split), rows in groups.items():
        taught = {title for title, name in seen if name == split}
        tables.append(_table(protocol, split, rows, models, pictures[split], taught))
    return tables


def _table(
    protocol: str, split: str, rows: list[Row], models: Sequence[str], scenes: Mapping[str, str], seen: set[str]
) -> Table:
    by_model = {model: [row for row in rows if row.model == model] for model in models}
    by_model = {model: own for model, own in by_model.items() if own}
    measures = columns(rows[0].values)
    complete = {model: len(own) == len(scenes) for model, own in by_model.items()}
    able = {model: own for model, own in by_model.items() if complete[model] and model not in seen}
    comparisons = {
        measure: compare(
            {model: {row.name: row.values[measure] for row in own} for model, own in able.items()}, dict(scenes)
        )
        for measure in measures
    }
    summaries = {model: summary_of(model, split, own) for model, own in by_model.items()}
    compared = [summaries[model] for model in able]
    marks = {measure: _marks(measure, compared, comparisons[measure]) for measure in measures}
    lines = [
        Line(
            summaries[model],
            complete[model],
            model in seen,
            {measure: _best_picture(measure, own) for measure in measures},
            {measure: marks[measure].get(model, "") for measure in measures},
        )
        for model, own in by_model.items()
    ]
    ordered = [row for own in by_model.values() for row in own]
    return Table(split, protocol, len(scenes), len(set(scenes.values())), measures, lines, ordered, comparisons)


def columns(values: Mapping[str, float]) -> list[str]:
    """Each measure, and behind it the same after GT-mean where there is that."""
    plain = [name for name in values if "/" not in name]
    corrected = [name for name in values if "/" in name]
    return [each for name in plain for each in (name, *(c for c in corrected if c.partition("/")[0] == name))]


def _marks(measure: str, summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> dict[str, str]:
    if better(measure) == "neither" or len(summaries) < 2:
        return {}
    sign = -1 if better(measure) == "lower" else 1
    best = max(summaries, key=lambda summary: sign * summary.means[measure].value).model
    level = {
        model: "level"
        for c in comparisons
        for model, other in ((c.first, c.second), (c.second, c.first))
        if other == best and c.holm >= LEVEL
    }
    return {**level, best: "best"}


def _best_picture(measure: str, rows: Sequence[Row]) -> tuple[str, float]:
    row = (min if better(measure) == "lower" else max)(rows, key=lambda row: row.values[measure])
    return row.name, row.values[measure]


def as_dict(results: Results) -> dict[str, Any]:
    """Everything for programs."""
    known = {name: metrics.get(name) for table in results.tables for name in table.measures if "/" not in name}
    return {
        **results.facts,
        "measures": {
            name: {"unit": m.unit, "better": m.better, "against": m.against, "source": m.source}
            for name, m in known.items()
        },
        "models": {title: asdict(about) for title, about in results.abouts.items()},
        "results": [_table_dict(table) for table in results.tables],
        "failures": [
            {"protocol": f.protocol, "model": f.model, "split": f.split, "picture": f.name, "reason": f.reason}
            for f in results.failures
        ],
        **{study.name: study.content for study in results.downstream},
        **({"robustness": robustness_dict(results.robustness)} if results.robustness is not None else {}),
    }


def _table_dict(table: Table) -> dict[str, Any]:
    return {
        "split": table.split,
        "protocol": table.protocol,
        "pictures": table.pictures,
        "scenes": table.scenes,
        "models": [
            {
                **asdict(line.summary),
                "best": line.best_picture,
                "complete": line.complete,
                "seen": line.seen,
                "marks": line.marks,
            }
            for line in table.lines
        ],
        "comparisons": {measure: [asdict(each) for each in found] for measure, found in table.comparisons.items()},
    }
