"""``tapetum labels``: annotations of detection data sets in other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tapetum.cli.console import DONE, printable, say
from tapetum.errors import UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Turn ExDark's annotations into other formats.")

Data = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of ExDark, or of a data set that lies alike.")]
Split = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="train, val, test, or a file that names pictures. Default: all pictures."),
]
Clip = Annotated[bool, typer.Option("--clip", help="Cut boxes that lie partly outside of their picture.")]


@app.callback()
def labels() -> None:
    """Turn ExDark's annotations into other formats."""


@app.command("convert")
def convert(
    data: Data,
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="A name ending in .json for COCO's format, or a folder for YOLO's.")
    ],
    split: Split = None,
    clip: Clip = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Turn ExDark's annotations into COCO's JSON, or into a folder of YOLO text with the pictures and data.yaml.

    Examples: 'tapetum labels convert ExDark/ test.json --split test' and, for a trainer of YOLO,
    'tapetum labels convert ExDark/ yolo/ --split train --split val --split test'.
    """
    from tapetum.data.detection_files import write_coco, write_yolo
    from tapetum.data.exdark import read_detection_set

    splits: list[str | None] = list(dict.fromkeys(split)) if split else [None]
    coco = output.suffix.lower() == ".json"
    if coco and len(splits) > 1:
        raise UsageError("COCO's format has a file for each split: give one --split")
    if not coco and output.exists() and data.exists() and output.samefile(data):
        raise UsageError(f"{printable(output)}: the data set itself; choose another folder")
    if not coco and (output.is_file() or output.suffix.lower() in (".txt", ".yaml", ".xml")):
        raise UsageError(f"{printable(output)}: choose a name ending in .json, or a folder for YOLO's format")
    if not overwrite and (output.is_file() or (output.is_dir() and any(output.iterdir()))):
        raise UsageError(f"{printable(output)} exists: --overwrite replaces it, or what is in it")
    parts = [read_detection_set(data, name, clip=clip) for name in splits]
    if coco:
        write_coco(parts[0], output)
    else:
        write_yolo(parts, output)
    for part in parts:
        boxes = sum(len(picture.boxes) for picture in part.pictures)
        say(f"{part.split}: {len(part.pictures)} pictures, {boxes} boxes of {len(part.classes)} classes")
    say(f"written: {printable(output)}")
    raise typer.Exit(DONE)
