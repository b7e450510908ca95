"""``tapetum export``: a model as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tapetum.cli.console import DONE, printable, say
from tapetum.errors import UsageError, require


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that 'tapetum models' lists.")],
    output: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The .onnx file to write.")],
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of weights for the model.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write a model as ONNX for any picture size, checked against torch before the file is kept. A method's name stands
    for its bundled weights."""
    if output.exists() and not overwrite:
        raise UsageError(f"{printable(output)} exists: --overwrite replaces it")
    require("torch", "torch", "export")
    from tapetum.deploy.export import export as write

    write(name, output, weights=weights)
    say(f"written: {printable(output)}")
    raise typer.Exit(DONE)
