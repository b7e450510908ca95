"""The results as Markdown for people, and as CSV for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapetum.evaluation.benchmark.results import LEVEL, Line, Results, Table
from tapetum.evaluation.benchmark.stored import About
from tapetum.evaluation.report import csv_text, decimals, title_of
from tapetum.evaluation.robustness.run import Robustness
from tapetum.evaluation.robustness.tables import grids, note

NOTE = (
    "Mean over pictures [95 % bootstrap interval over scenes]. **Bold**: the best; †: not significantly different from "
    f"it (Wilcoxon's signed-rank test over scenes, p ≥ {LEVEL} after Holm's correction for all pairs of models). "
    "GT-mean figures look at the target's brightness and never replace the plain ones."
)
SEEN_NOTE = "‡: was trained on scenes of these pictures; shown, and not compared."


def markdown(results: Results) -> str:
    """One table for each split and protocol, and what is to be known of them."""
    facts = results.facts
    parts = [f"# {_cell(facts['title'])}", NOTE]
    for table in results.tables:
        heading = f"{table.split}: {extent(table)}, protocol {table.protocol}"
        parts += [f"## {_cell(heading)}", _markdown_table(table, results)]
        parts += [SEEN_NOTE] if any(line.seen for line in table.lines) else []
    if results.robustness is not None:
        parts += _robustness(results.robustness)
    for study in results.downstream:
        parts += [f"## {study.title}", f"{_cell(study.note)}.", pipe_table([study.header, *study.rows])]
    if results.failed:
        lines = [
            f"- {_cell(f.model)}, {_cell(f.split)} {_cell(f.name)} ({f.protocol}): {_cell(f.reason)}"
            for f in results.failed
        ]
        parts += ["## Not measured", "\n".join(lines)]
    parts.append("\n".join(f"- {name}: {_cell(text)}" for name, text in facts_lines(facts)))
    return "\n\n".join(parts) + "\n"


def _robustness(robustness: Robustness) -> list[str]:
    parts = ["## How results hold", _cell(note(robustness))]
    for grid in grids(robustness):
        parts += [f"### {grid.title}", f"{_cell(grid.what)}.", pipe_table([grid.header, *grid.rows])]
    return parts


def pipe_table(lines: Sequence[Sequence[str]]) -> str:
    """A heading and rows of texts, figures to the right."""
    rows = [[_cell(cell) for cell in line] for line in lines]
    rows.insert(1, ["---", *["---:"] * (len(lines[0]) - 1)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _markdown_table(table: Table, results: Results) -> str:
    first = table.measures[0]
    name = title_of(first, table.measures)
    titles = [title_of(measure, table.measures) for measure in table.measures]
    header = ["model", *titles, f"worst {name}", f"best {name}", "s/picture", "peak MB", "parameters", "MACs, 10^9"]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
    for line in table.lines:
        about = results.abouts.get(line.summary.model, About())
        cells = [_cell(line.summary.model) + missing(line, table)]
        cells += [_figure(line, measure) for measure in table.measures]
        for picture, value in (line.summary.worst[first], line.best_picture[first]):
            cells.append(f"{value:.{decimals(first)}f} ({_cell(picture)})")
        rows.append([*cells, *cost_cells(line, about)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _figure(line: Line, measure: str) -> str:
    text = line.summary.means[measure].text(decimals(measure))
    mark = line.marks[measure]
    value, _, interval = text.partition(" ")
    return f"**{value}** {interval}" if mark == "best" else text + (" †" if mark == "level" else "")


def missing(line: Line, table: Table) -> str:
    taught = " ‡" if line.seen else ""
    return taught if line.complete else f"{taught} ({line.summary.pictures} of {table.pictures} pictures)"


def cost_cells(line: Line, about: About) -> list[str]:
    """Seconds for a picture, peak of memory, parameters, multiply-adds; "-" where not known."""
    seconds, peak = line.summary.seconds, about.peak
    return [
        "-" if seconds is None else f"{seconds:.3f}",
        "-" if peak is None else f"{peak / 1e6:.0f}",
        "-" if about.parameters is None else f"{about.parameters:,}",
        "-" if about.macs is None else f"{about.macs / 1e9:.2f} ({about.size})",
    ]


def extent(table: Table) -> str:
    """ "15 pictures of 11 scenes"."""
    return f"{_counted(table.pictures, 'picture')} of {_counted(table.scenes, 'scene')}"


def _data(each: dict[str, Any]) -> str:
    return f"{each['name']} ({_counted(each['pictures'], 'picture')}, {_counted(each['scenes'], 'scene')})"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def facts_lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and text of what a reader must know of where figures come from."""
    jobs, engines = facts["jobs"], facts["engines"]
    beside = "" if jobs == 1 else f"; up to {jobs} processes at once, which disturbs times"
    lines = [
        ("data", "; ".join(_data(each) for each in facts["data"])),
        ("protocols", ", ".join(facts["protocols"]) + (", self-ensemble of eight" if facts["self_ensemble"] else "")),
        ("GT-mean", facts["gt_mean"]),
        ("date", facts["date"]),
        ("commit", facts["commit"] or "not a checkout"),
        ("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())),
        ("measured on", facts["machine"]),
        ("predicted by", "; ".join(f"{name}: {text}" for name, text in engines.items())),
        ("times", f"median for a picture, one thread, from decoded to enhanced{beside}"),
        ("memory", "the most that a model's process had in all, programs and libraries included"),
        ("predictions", f"{facts['made']} made, {facts['found']} found in the cache"),
    ]
    if facts["left_out"]:
        pairs = "; ".join(f"{each['model']} on {each['split']}" for each in facts["left_out"])
        lines.insert(1, ("left out", f"{pairs}: trained on these scenes"))
    lines[1:1] = [("mind", line.removeprefix("note: ")) for line in facts["seen"]]
    if facts["limit"] is not None:
        lines.insert(1, ("only a try", f"the first {facts['limit']} pictures of each split"))
    return lines


def _cell(text: str) -> str:
    """Text that cannot end a cell, or be taken for HTML or Markdown."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    for mark in ("\\", "|", "*", "_", "`", "[", "]"):
        line = line.replace(mark, "\\" + mark)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table_csv(results: Results) -> str:
    """A line for each model, split, protocol and measure."""
    rows: list[Sequence[object]] = [
        [
            *("split", "protocol", "model", "measure", "pictures", "scenes", "mean", "low", "high", "mark"),
            *("worst_picture", "worst", "best_picture", "best", "seconds", "peak_bytes", "parameters", "macs"),
        ]
    ]
    for table in results.tables:
        for line in table.lines:
            s, about = line.summary, results.abouts.get(line.summary.model, About())
            for measure in table.measures:
                mean = s.means[measure]
                figures = [f"{value:.6f}" for value in (mean.value, mean.low, mean.high)]
                (worst, low), (best, high) = s.worst[measure], line.best_picture[measure]
                ends = [worst, f"{low:.6f}", best, f"{high:.6f}"]
                seconds = None if s.seconds is None else f"{s.seconds:.4f}"
                costs = [seconds, about.peak, about.parameters, about.macs]
                names = [table.split, table.protocol, s.model, measure, s.pictures, s.scenes]
                rows.append([*names, *figures, line.marks[measure], *ends, *costs])
    return csv_text(rows)


def pictures_csv(results: Results) -> str:
    """A line for each picture, model and protocol; measures that a protocol has not are empty."""
    measures = list(dict.fromkeys(measure for table in results.tables for measure in table.measures))
    rows: list[Sequence[object]] = [["split", "protocol", "model", "picture", "scene", *measures, "seconds", "failure"]]
    for table in results.tables:
        for row in table.rows:
            figures = [f"{row.values[m]:.6f}" if m in row.values else None for m in measures]
            seconds = None if row.seconds is None else f"{row.seconds:.4f}"
            rows.append([table.split, table.protocol, row.model, row.name, row.scene, *figures, seconds, None])
    for f in results.failed:
        rows.append([f.split, f.protocol, f.model, f.name, None, *[None] * len(measures), None, f.reason])
    return csv_text(rows)
