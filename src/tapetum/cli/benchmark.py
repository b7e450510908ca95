"""``tapetum benchmark``: many models on many data sets, as one report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapetum.cli.console import DONE, FAILED, STOPPED, print_table, printable, progress_bar, say
from tapetum.errors import UsageError, require

if TYPE_CHECKING:
    from tapetum.evaluation.benchmark.plan import Plan
    from tapetum.evaluation.benchmark.results import Table


def benchmark(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE.yaml]", help="What to measure. Default: what the options say.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to FILE: data.0.folder=lol_v1")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the report.")] = Path("benchmark"),
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Again for more. NAME:weights=FILE,steps=5,label=mine has settings."),
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Folder of a data set with pairs. Again for more.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Such as eval15. Again for more. Default: all tests.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data set whose files lie in a way of their own: sid, ...")
    ] = None,
    low: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of dark pictures, with --target.")] = None,
    target: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of their targets, named alike.")] = None,
    protocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Again for more. Default: strict.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="One more measure, such as ciede2000_uint8.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Let measures fetch the weights they need.")] = False,
    gt_mean: Annotated[
        str | None, typer.Option(metavar="NAME", help="GT-mean that stands beside the plain figures.")
    ] = None,
    self_ensemble: Annotated[bool, typer.Option("--self-ensemble", help="Mean over eight flips and turns.")] = False,
    robustness: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Good photographs, spoiled in known ways: how far results hold."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first pictures of each split: to try.")
    ] = None,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Measure models on scenes that they were trained on, too.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes at a time. More than one disturb times, not figures.")
    ] = 1,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where predictions are kept. Default: the user's cache.")
    ] = None,
) -> None:
    """Measure models on data sets by protocols: a report with pictures, intervals and significance.

    Example: 'tapetum benchmark --data lol_v1 --model default --model clahe'. Predictions are kept: a stopped run goes
    on where it was, and a second one runs no network.
    """
    from dataclasses import replace

    from tapetum import metrics
    from tapetum.evaluation.benchmark.plan import DEFAULT_GT_MEAN, Data, Photographs, Plan, parse_model
    from tapetum.evaluation.benchmark.runner import run
    from tapetum.evaluation.cache import bytes_below
    from tapetum.machine import cache_folder

    given = [model, data, split, layout, low, target, protocol, metric, gt_mean, self_ensemble, robustness]
    if file is not None:
        if any(given):
            raise UsageError(f"{printable(file)} says what to measure: change it by KEY=VALUE, not by other options")
        plan = from_file(file, changes or [])
    else:
        folders = [Data(folder, tuple(split) if split else None, layout) for folder in data or []]
        if low is not None or target is not None:
            folders.append(Data(low=low, target=target))
        if not folders:
            raise UsageError("say what to measure on: --data DIR, or --low DIR --target DIR, or a FILE.yaml")
        if (split or layout) and not data:
            raise UsageError("--split and --layout belong to --data")
        plan = Plan(
            tuple(parse_model(text) for text in model or ["default"]),
            tuple(folders),
            tuple(protocol or ["strict"]),
            tuple(metric or []),
            gt_mean or DEFAULT_GT_MEAN,
            self_ensemble,
            robustness=Photographs(robustness) if robustness is not None else None,
        )
    plan = replace(plan, limit=limit or plan.limit, allow_seen=allow_seen or plan.allow_seen)
    for name in plan.metrics:
        prepare = metrics.get(name).prepare
        if prepare is not None:
            prepare(download)
    place = cache or cache_folder()
    with progress_bar() as bar:
        stages = ("predict", "measure", "examine", "detection", "segmentation")
        tasks = {what: bar.add_task(what, total=None, visible=False) for what in stages}

        def step(what: str, done: int, total: int) -> None:
            bar.update(tasks[what], completed=done, total=total, visible=True)

        try:
            results = run(plan, out, place, jobs, step, say)
        except KeyboardInterrupt:
            say("stopped: what was predicted is kept, and the same command goes on from there")
            raise typer.Exit(STOPPED) from None
    for table in results.tables:
        show(table)
    for failure in results.failed:
        say(f"error: {failure.model}, {failure.split} {failure.name}: {failure.reason}")
    made, found = results.facts["made"], results.facts["found"]
    size = bytes_below(place / "predictions") / 1e6
    say(f"predictions: {made} made, {found} found; cache: {printable(place)}, {size:.1f} MB")
    say(f"written: {printable(out / 'report.html')}, and its tables beside it")
    raise typer.Exit(FAILED if results.failed else DONE)


def from_file(file: Path, changes: list[str]) -> Plan:
    require("yaml", "torch", "a benchmark from a file")
    require("pydantic", "torch", "a benchmark from a file")
    from tapetum.evaluation.benchmark.config import load_plan

    return load_plan(file, changes)


def show(table: Table) -> None:
    from rich import table as rich_table

    from tapetum.evaluation.benchmark.tables import SEEN_NOTE, extent, missing
    from tapetum.evaluation.report import decimals, title_of

    titles = [title_of(measure, table.measures) for measure in table.measures]
    drawn = rich_table.Table("model", *titles, "s/picture", box=None, pad_edge=False)
    for column in drawn.columns[1:]:
        column.justify = "right"
    marks = {"best": " *", "level": " †", "": "  "}
    for line in table.lines:
        summary = line.summary
        figures = [summary.means[m].text(decimals(m)) + marks[line.marks[m]] for m in table.measures]
        seconds = "-" if summary.seconds is None else f"{summary.seconds:.3f}"
        drawn.add_row(printable(summary.model) + missing(line, table), *figures, seconds)
    typer.echo(printable(f"{table.split}: {extent(table)}, {table.protocol}"))
    print_table(drawn)
    typer.echo("* best, † not significantly different from it")
    if any(line.seen for line in table.lines):
        typer.echo(SEEN_NOTE)
