"""``tapetum weights``: look at files of weights, and bring published ones into our format."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tapetum.cli.console import DONE, print_json, printable, say
from tapetum.errors import UsageError, require

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at files of weights, or import them.")

Source = Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors, .pth, .pt or .ckpt file.")]


@app.command("inspect")
def inspect(
    file: Source,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say which method and configuration a file of weights holds."""
    require("torch", "torch", "inspecting weights")
    from tapetum.weights.loading import inspect as facts_of

    facts = facts_of(file)
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            typer.echo(printable(f"{name}: {value}"))
    raise typer.Exit(DONE)


@app.command("import")
def import_(
    file: Source,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: beside the file, ending in .safetensors."),
    ] = None,
    ema: Annotated[bool, typer.Option("--ema", help="Take the moving average where the file has both.")] = False,
    joined: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="FILE", help="A part that the method's published files keep apart."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
) -> None:
    """Turn a published file of weights into safetensors that --weights takes. Nothing in it is executed."""
    target = output or file.with_suffix(".safetensors")
    if target.exists() and not overwrite:
        raise UsageError(f"{printable(target)} exists: --overwrite replaces it")
    require("torch", "torch", "importing weights")
    from tapetum.weights.loading import import_published

    with spoken_log():
        written = import_published(file, target, ema=ema, joined=joined or [])
    say(f"written: {printable(written)}")
    raise typer.Exit(DONE)


@contextmanager
def spoken_log() -> Iterator[None]:
    """What the loader notices about a file (second names of tensors, for instance) is said."""
    log, handler = logging.getLogger("tapetum"), logging.Handler()
    handler.emit = lambda record: say(record.getMessage())
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
