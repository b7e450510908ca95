"""``tapetum segment-eval``: what enhancement does for a network that gives every pixel a class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapetum.cli.console import DONE, print_table, printable, progress_bar, say
from tapetum.cli.measuring import check_folders, check_one_model, dark_and_enhanced, tell, write_lines

if TYPE_CHECKING:
    from tapetum.data.segmentation import Classes, Segmented
    from tapetum.evaluation.enhanced import Load
    from tapetum.evaluation.segmentation.run import Result
    from tapetum.evaluation.segmentation.segmenter import Segmenter


def segment_eval(
    pictures: Annotated[Path, typer.Option(metavar="DIR", help="Folder of dark pictures, with subfolders.")],
    labels: Annotated[Path, typer.Option(metavar="DIR", help="Folder of their labels, named and sorted alike.")],
    segmenter: Annotated[Path, typer.Option(metavar="FILE", help="A segmentation network as an .onnx file.")],
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What enhances. May be given again. Default: default.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of weights for the model.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Of the model: auto, cpu, cuda ...")] = "auto",
    segmenter_device: Annotated[str, typer.Option(metavar="NAME", help="Of the segmenter: cpu, cuda ...")] = "auto",
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Classes, one a line: NAME R G B. Default: the 19 of Cityscapes."),
    ] = None,
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="HEIGHT WIDTH", help="Of the segmenter's input. Default: the picture's."),
    ] = None,
    normalise: Annotated[
        str, typer.Option(metavar="NAME", help="What the segmenter wants of its pictures: none, imagenet.")
    ] = "none",
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first pictures.")] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where enhanced pictures are kept. Default: the user's cache.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for pictures with classes.")] = None,
    examples: Annotated[int, typer.Option(metavar="N", min=1, help="How many of these.")] = 8,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the figures of every class.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the report; - prints it instead.")] = None,
) -> None:
    """Measure a segmentation network on dark pictures and on enhanced ones, side by side.

    Example: 'tapetum segment-eval --pictures rgb_anon/val/night --labels gt/val/night --segmenter net.onnx'.
    """
    models = list(dict.fromkeys(model or ["default"]))
    check_one_model(models, weights)
    check_folders(csv, json)

    from tapetum.data.segmentation import CITYSCAPES, find_segmented, read_classes
    from tapetum.evaluation.segmentation.run import as_dict, rows, save_examples
    from tapetum.evaluation.segmentation.segmenter import Segmenter

    known = read_classes(classes) if classes else CITYSCAPES
    items = find_segmented(pictures, labels)[:limit]
    network = Segmenter(segmenter, len(known.names), size=size, normalisation=normalise, device=segmenter_device)
    loads = dark_and_enhanced(models, weights, device, cache)
    results = [measure(network, items, known, name, load) for name, load in loads.items()]
    if save is not None:
        save_examples(save, network, items, known, loads, examples)
        say(f"written: {printable(save)}")

    def shown() -> None:
        show(results, known)
        say(f"{len(items)} pictures; IoU of classes over all pixels, the mean over those that occur")

    tell(as_dict(items, network, known, results), shown, json, csv, partial(write_lines, rows(known, results)))
    raise typer.Exit(DONE)


def measure(segmenter: Segmenter, items: Sequence[Segmented], classes: Classes, name: str, load: Load) -> Result:
    from tapetum.evaluation.segmentation.run import evaluate

    with progress_bar() as bar:
        track = partial(bar.track, total=len(items), description=printable(name))
        return evaluate(segmenter, items, classes, name, load, track)


def show(results: Sequence[Result], classes: Classes) -> None:
    from rich.table import Table

    from tapetum.evaluation.report import percent

    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for result in results:
        table.add_column(f"IoU {printable(result.name)}", justify="right")
    for index, name in enumerate(classes.names):
        if any(result.scores.pixels[index] for result in results):
            table.add_row(printable(name), *(percent(result.scores.iou[index]) for result in results))
    table.add_row("mean", *(percent(result.scores.mean_iou) for result in results))
    table.add_row("pixels that are right", *(percent(result.scores.accuracy) for result in results))
    print_table(table)
