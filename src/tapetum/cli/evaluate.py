"""``tapetum evaluate``: the figures of models on pairs of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tapetum.cli import options
from tapetum.cli.console import DONE, FAILED, print_table, printable, progress_bar, say
from tapetum.cli.measuring import check_folders, check_one_model, named, tell, with_weights
from tapetum.errors import InputError, UsageError

if TYPE_CHECKING:
    from tapetum.data.pairs import Pair
    from tapetum.enhancer import Enhancer
    from tapetum.evaluation.protocols import Protocol
    from tapetum.evaluation.report import Row, Summary
    from tapetum.evaluation.run import Predict


def evaluate(
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of a data set with pairs.")] = None,
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Such as eval15 or clean_test. Default: all tests.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data set whose files lie in a way of their own: sid, ...")
    ] = None,
    low: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of dark pictures, with --target.")] = None,
    target: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of their targets, named alike.")] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of good photographs: do they stay as they are?")
    ] = None,
    unpaired: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of pictures without targets: UCIQE and UIQM.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="May be given again. Default: default.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of weights for the model.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of results to measure instead of a model.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="strict, retinexformer_test_script, retidiff_underwater, ...")
    ] = "strict",
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="One more measure, such as ciede2000_uint8.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Let measures fetch the weights they need.")] = False,
    self_ensemble: Annotated[bool, typer.Option("--self-ensemble", help="Mean over eight flips and turns.")] = False,
    gt_mean: Annotated[
        str, typer.Option(metavar="NAME", help="GT-mean that stands beside the plain figures.")
    ] = "gt_mean_gray601_rgb",
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Measure weights on scenes that they were trained on, too.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda ...")] = "auto",
    steps: options.Steps = None,
    seed: options.Seed = None,
    eta: options.Eta = None,
    sampler: options.Sampler = None,
    spacing: options.Spacing = None,
    temperature: options.Temperature = None,
    iterations: options.Iterations = None,
    task: options.Task = None,
    samples: options.Samples = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first pictures of each split.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for before/after/target pictures.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the figures of every picture.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the table; - prints it instead.")] = None,
) -> None:
    """Measure models on pairs of dark and well-exposed pictures."""
    if sum(given is not None for given in (data, low, keep, unpaired)) != 1:
        raise UsageError(
            "say what to measure on: one of --data ROOT, --low DIR --target DIR, --keep DIR, --unpaired DIR"
        )
    if (low is None) != (target is None):
        raise UsageError("--low and --target belong together")
    if unpaired is not None and protocol != "strict":
        raise UsageError("--unpaired measures without targets: it has no --protocol")
    if data is None and (split or layout):
        raise UsageError("--split and --layout belong to --data")
    models = list(dict.fromkeys(with_weights(model or ["default"], weights, task)))
    chosen_options = options.given(
        steps=steps,
        seed=seed,
        eta=eta,
        sampler=sampler,
        spacing=spacing,
        temperature=temperature,
        iterations=iterations,
        task=task,
        samples=samples,
    )
    check_one_model(models, weights, chosen_options)
    if predictions is not None and (model or weights or keep or self_ensemble or chosen_options):
        raise UsageError("--predictions takes the place of --model, its options, --weights, --self-ensemble and --keep")

    if keep is not None and metric:
        raise UsageError("--keep has a measure of its own (psnr_keep): it takes no --metric")
    check_folders(csv, json)

    from tapetum import metrics
    from tapetum.evaluation.depths import warn_of_depths
    from tapetum.evaluation.protocols import get_protocol
    from tapetum.evaluation.run import stored_files
    from tapetum.evaluation.seen import check_seen
    from tapetum.methods.registry import check_known

    metrics.correction(gt_mean)  # a wrong name is said before the work
    for name in models:
        if not name.lower().endswith(".onnx"):
            check_known(name)
    extra = chosen_metrics(metric or [], download, targets=unpaired is None)
    chosen = get_protocol(protocol)
    chosen = replace(chosen, self_ensemble=self_ensemble, metrics=tuple(dict.fromkeys((*chosen.metrics, *extra))))
    rows: list[Row] = []
    splits = {} if keep or unpaired else find(data, split, layout, low, target)
    splits = {name: pairs[:limit] for name, pairs in splits.items()}
    notes: list[str] = []
    failed: list[InputError] = []
    if predictions is None:
        given = [(named(name, weights, chosen_options), name, weights) for name in models]
        notes = check_seen(given, splits or alone(keep or unpaired, limit), data, allow_seen)
    if keep is not None:
        for name, enhancer in enhancers(models, weights, device, chosen_options):
            rows += keep_rows(name, enhancer, keep, limit, pictures, failed)
    elif unpaired is not None:
        for name, predictor, timed in predictors(models, weights, predictions, device, chosen, chosen_options):
            rows += unpaired_rows(name, unpaired, limit, predictor, timed, pictures, extra, failed)
    else:
        for part, pairs in splits.items():
            warn_of_depths(part, pairs, None if predictions is None else stored_files(predictions, pairs))
        for name, predictor, timed in predictors(models, weights, predictions, device, chosen, chosen_options, layout):
            for part, pairs in splits.items():
                measured = measure(
                    name, part, pairs, predictor(pairs), chosen, layout, gt_mean, timed, pictures, failed
                )
                rows += watched(measured, f"{name} {part}", len(pairs))
    for note in [*notes, *(f"error: {error}" for error in failed)]:
        say(note)
    if rows:
        report(rows, "unpaired" if unpaired is not None else chosen.name, csv, json)
    raise typer.Exit(FAILED if failed else DONE)


def chosen_metrics(names: list[str], download: bool, targets: bool) -> list[str]:
    """``names``, each known, and ready to measure."""
    from tapetum import metrics

    for measure in map(metrics.get, names):
        if measure.needs_target and not targets:
            raise UsageError(f"--metric {measure.name} compares with targets, and --unpaired has none")
        if measure.prepare is not None:
            measure.prepare(download)
    return names


def find(
    data: Path | None, splits: list[str] | None, layout: str | None, low: Path | None, target: Path | None
) -> dict[str, list[Pair]]:
    from tapetum.data.layouts import get_layout
    from tapetum.data.pairs import pairs_of_folders
    from tapetum.evaluation.pairs import find_splits

    if low is not None and target is not None:
        return {low.name or "low": pairs_of_folders(low, target)}
    assert data is not None
    if layout is None:
        return find_splits(data, splits)
    if splits not in (None, [], ["test"]):
        raise UsageError("with --layout the split is test")
    return {"test": get_layout(layout).pairs(data, "test")}


def alone(folder: Path | None, limit: int | None) -> dict[str, list[Pair]]:
    """Pictures without targets, as pairs of themselves."""
    from tapetum.data.pairs import pairs_of_pictures

    return {} if folder is None else {folder.resolve().name: pairs_of_pictures(folder)[:limit]}


def enhancers(
    models: list[str], weights: Path | None, device: str, chosen: dict[str, Any]
) -> Iterator[tuple[str, Enhancer]]:
    """Each model with the name that the table gives it, made when it is its turn."""
    from tapetum.enhancer import Enhancer

    for model in models:
        yield named(model, weights, chosen), Enhancer(model, device, weights=weights, **chosen)


def predictors(
    models: list[str],
    weights: Path | None,
    predictions: Path | None,
    device: str,
    protocol: Protocol,
    chosen: dict[str, Any],
    layout: str | None = None,
) -> Iterator[tuple[str, Callable[[list[Pair]], Predict], bool]]:
    """Name, predictor for a list of pairs, and whether its time means anything."""
    from tapetum.evaluation.run import by_enhancer, stored

    if predictions is not None:
        yield predictions.resolve().name, partial(stored, predictions), False
        return
    for name, enhancer in enhancers(models, weights, device, chosen):
        check_task(name, enhancer, layout)
        predict = by_enhancer(enhancer, protocol)
        yield name, lambda pairs, predict=predict: predict, True


def check_task(name: str, enhancer: Enhancer, layout: str | None) -> None:
    """Raises UsageError where weights know that they were trained for another task than the data set shows."""
    from tapetum.data.layouts import get_layout

    needed = get_layout(layout).task if layout else ""
    for option in enhancer.engine.properties.options:
        if option.name == "task" and needed and needed not in option.choices:
            trained = " or ".join(option.choices)
            raise UsageError(f"{name} was trained for {trained} pictures, those of {layout} are {needed}")


def measure(
    name: str,
    split: str,
    pairs: list[Pair],
    predict: Predict,
    protocol: Protocol,
    layout: str | None,
    gt_mean: str,
    timed: bool,
    pictures: Path | None,
    failed: list[InputError],
) -> Iterator[Row]:
    from tapetum.data.layouts import get_layout, read_picture_file
    from tapetum.evaluation.run import measure_pairs

    read = get_layout(layout).read if layout else read_picture_file
    return measure_pairs(name, split, pairs, predict, protocol, read, gt_mean, timed, pictures, failed)


def keep_rows(
    name: str, enhancer: Enhancer, folder: Path, limit: int | None, pictures: Path | None, failed: list[InputError]
) -> list[Row]:
    from tapetum.data.pictures import list_pictures
    from tapetum.evaluation.run import measure_keep

    files = list_pictures(folder)[:limit]
    split = folder.resolve().name
    return watched(measure_keep(name, split, files, enhancer, pictures, failed), f"{name} {split}", len(files))


def unpaired_rows(
    name: str,
    folder: Path,
    limit: int | None,
    predictor: Callable[[list[Pair]], Predict],
    timed: bool,
    pictures: Path | None,
    extra: list[str],
    failed: list[InputError],
) -> list[Row]:
    from tapetum.data.layouts import read_picture_file
    from tapetum.data.pairs import pairs_of_pictures
    from tapetum.evaluation.protocols import WITHOUT_TARGET
    from tapetum.evaluation.run import measure_unpaired

    pairs = pairs_of_pictures(folder)[:limit]
    split = folder.resolve().name
    measures = tuple(dict.fromkeys((*WITHOUT_TARGET, *extra)))
    rows = measure_unpaired(name, split, pairs, predictor(pairs), read_picture_file, timed, pictures, measures, failed)
    return watched(rows, f"{name} {split}", len(pairs))


def watched(rows: Iterable[Row], title: str, total: int) -> list[Row]:
    """``rows``, with a progress bar while they are made."""
    with progress_bar() as bar:
        return list(bar.track(rows, total=total, description=printable(title)))


def report(rows: Sequence[Row], protocol: str, csv: Path | None, json: Path | None) -> None:
    from tapetum.evaluation.report import summarise, write_csv

    summaries = summarise(rows)
    measures = {name: about(name) for name in summaries[0].means if "/" not in name}
    content = {"protocol": protocol, "measures": measures, "results": [asdict(summary) for summary in summaries]}
    tell(content, lambda: show(summaries), json, csv, partial(write_csv, rows))


def show(summaries: Sequence[Summary]) -> None:
    from rich.table import Table

    from tapetum.evaluation.report import decimals, title_of

    measures = list(summaries[0].means)
    titles = [title_of(measure, measures) for measure in measures]
    columns = ["model", "split", "pictures", *titles, f"worst {titles[0]}", "s/picture"]
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for summary in summaries:
        figures = [summary.means[measure].text(decimals(measure)) for measure in measures]
        name, value = summary.worst[measures[0]]
        figures.append(f"{value:.{decimals(measures[0])}f} ({printable(name)})")
        seconds = f"{summary.seconds:.3f}" if summary.seconds is not None else "-"
        table.add_row(summary.model, summary.split, str(summary.pictures), *figures, seconds)
    print_table(table)
    scenes = ", ".join(f"{s.split} {s.scenes}" for s in {s.split: s for s in summaries}.values())
    typer.echo(f"measures: {', '.join(measures)}; mean [95 % bootstrap interval over scenes: {scenes}]")
    own = [measure for measure in measures if measure.startswith(("uciqe", "uiqm"))]
    if own:  # programs define them differently
        typer.echo(f"{', '.join(own)}: compare with figures of tapetum only")


def about(measure: str) -> dict[str, str]:
    """What the figures of a measure are, for those who read the JSON."""
    from tapetum import metrics
    from tapetum.evaluation.report import KEEP, KEEP_IS

    known = metrics.get(KEEP_IS if measure == KEEP else measure)
    against = "low" if measure == KEEP else known.against
    return {"unit": known.unit, "better": known.better, "against": against, "source": known.source}
