"""``tapetum detect-eval``: what enhancement does for a detector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapetum.cli.console import DONE, print_table, printable, progress_bar, say
from tapetum.cli.measuring import check_folders, check_one_model, dark_and_enhanced, tell, write_lines
from tapetum.errors import require

if TYPE_CHECKING:
    from tapetum.data.detection import DetectionSet
    from tapetum.evaluation.detection.detector import Detector
    from tapetum.evaluation.detection.run import Result
    from tapetum.evaluation.enhanced import Load


def detect_eval(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of ExDark, or of a data set that lies alike.")],
    detector: Annotated[Path, typer.Option(metavar="FILE", help="A detector as an .onnx file.")],
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="train, val, test, or a file that names pictures. Default: all pictures."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What enhances. May be given again. Default: default.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of weights for the model.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Of the model: auto, cpu, cuda ...")] = "auto",
    detector_device: Annotated[str, typer.Option(metavar="NAME", help="Of the detector: cpu, cuda ...")] = "auto",
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The detector's own classes, one a line, where they are not the data's."),
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="NAME", help="Of the detector's outputs. Default: recognised by their shapes.")
    ] = "auto",
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Of the detector's input, where it is open. Default: 640.")
    ] = None,
    confidence: Annotated[
        float, typer.Option(min=0, max=1, metavar="0..1", help="Boxes with lower scores do not count.")
    ] = 0.005,
    iou: Annotated[
        float, typer.Option(min=0, max=1, metavar="0..1", help="Boxes that overlap better ones by more are dropped.")
    ] = 0.45,
    clip: Annotated[bool, typer.Option("--clip", help="Cut boxes that lie partly outside of their picture.")] = False,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first pictures.")] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where enhanced pictures are kept. Default: the user's cache.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for pictures with boxes.")] = None,
    examples: Annotated[int, typer.Option(metavar="N", min=1, help="How many of these.")] = 8,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the figures of every class.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the report; - prints it instead.")] = None,
) -> None:
    """Measure a detector on dark pictures and on enhanced ones, side by side.

    Example: 'tapetum detect-eval ExDark/ --split test --detector yolo.onnx'. A stopped run goes on where it was.
    """
    models = list(dict.fromkeys(model or ["default"]))
    check_one_model(models, weights)
    check_folders(csv, json)
    require("faster_coco_eval", "detect", "detect-eval")

    from tapetum.data.exdark import read_classes, read_detection_set
    from tapetum.evaluation.detection.detector import Detector, Settings
    from tapetum.evaluation.detection.run import LEAST, as_dict, rows, save_examples
    from tapetum.evaluation.enhanced import DARK

    found = read_detection_set(data, split, limit=limit, clip=clip)
    settings = Settings(layout, size, confidence, iou)
    knows = read_classes(classes) if classes else None
    finder = Detector(detector, found.classes, settings, knows=knows, device=detector_device)
    loads = dark_and_enhanced(models, weights, device, cache)
    results = [measure(finder, found, name, load) for name, load in loads.items()]
    if pictures is not None:
        for result in results[1:]:
            pair = loads[DARK], loads[result.name]
            save_examples(pictures, found, results[0], result, pair, examples, LEAST)
        say(f"written: {printable(pictures)}")
    content = as_dict(found, finder, results)

    def shown() -> None:
        show(results)
        height, width = finder.size
        say(f"{len(found.pictures)} pictures ({found.split}), layout {finder.layout}, input {width}x{height}")

    tell(content, shown, json, csv, partial(write_lines, rows(results)))
    raise typer.Exit(DONE)


def measure(detector: Detector, data: DetectionSet, name: str, load: Load) -> Result:
    from tapetum.evaluation.detection.run import evaluate

    with progress_bar() as bar:
        track = partial(bar.track, total=len(data.pictures), description=printable(name))
        return evaluate(detector, data, name, load, track)


def show(results: Sequence[Result]) -> None:
    from rich.table import Table

    from tapetum.evaluation.detection.run import HEADINGS
    from tapetum.evaluation.report import percent

    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    names = [printable(result.name) for result in results]
    for heading in ["objects", *(f"{m} {name}" for m in HEADINGS.values() for name in names)]:
        table.add_column(heading, justify="right")
    for scores in zip(*(result.scores for result in results), strict=True):
        figures = [percent(getattr(each, measure)) for measure in HEADINGS for each in scores]
        table.add_row(printable(scores[0].name), str(scores[0].objects), *figures)
    print_table(table)
