"""``tapetum recipe``: the recipes that there are, and recipes made from published option files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tapetum.cli.console import DONE, printable, say
from tapetum.errors import UsageError, require

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List recipes, or make one from an option file.")


@app.command("list")
def list_() -> None:
    """Names of the recipes that come with the package."""
    require("pydantic", "torch", "recipes")
    require("yaml", "torch", "recipes")
    from tapetum.training.recipe import list_recipes

    for name in list_recipes():
        typer.echo(name)
    raise typer.Exit(DONE)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An option file (.yml) of the BasicSR kind.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="Default: beside the file, ending in .yaml."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="NAME", help="Whose file it is: needed for dednet."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
) -> None:
    """Turn an option file of MambaLLIE, Retinexformer, DED-Net or Reti-Diff into a recipe; says what has no effect."""
    target = output or file.with_suffix(".yaml")
    if target.exists() and target.resolve() == file.resolve():
        raise UsageError(f"{printable(target)} is the option file itself: -o OUT writes another")
    if target.exists() and not overwrite:
        raise UsageError(f"{printable(target)} exists: --overwrite replaces it, -o OUT writes another")
    require("pydantic", "torch", "importing recipes")
    require("yaml", "torch", "importing recipes")
    require("torch", "torch", "importing recipes")
    from tapetum.training.importing import files_of, import_options, write_recipe

    imported = import_options(file, method)
    files = files_of(imported, target)
    for path in files[1:]:
        if path.exists() and not overwrite:
            raise UsageError(f"{printable(path)} exists: --overwrite replaces it, -o OUT writes another")
    for note in imported.notes:
        say(f"{printable(file.name)}: {note}")
    write_recipe(imported, file.name, target)
    say(f"written: {', '.join(map(printable, files))}")
    raise typer.Exit(DONE)
