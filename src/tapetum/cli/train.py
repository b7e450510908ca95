"""``tapetum train``: a recipe, run or resumed."""

from __future__ import annotations

from typing import Annotated

import typer

from tapetum.cli.console import DONE, STOPPED, printable, say
from tapetum.errors import UsageError, require


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a bundled recipe.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes, such as run.steps=1000.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew instead of where a stopped run was.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check the recipe, print it in full, say which pictures are missing, and stop."),
    ] = False,
) -> None:
    """Train by a recipe. A run that was stopped goes on where it was."""
    require("pydantic", "torch", "training")
    require("yaml", "torch", "training")
    from tapetum.training.stages import load_stages

    recipes = load_stages(recipe, overrides or [])
    require("torch", "torch", "training")
    require("lightning", "torch", "training")
    if dry_run:
        import yaml

        from tapetum.training.data import make_sources
        from tapetum.training.run import check_parts

        check_parts(recipes)
        for loaded in recipes:
            if len(recipes) > 1:
                typer.echo("---")
            typer.echo(yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False)
        try:
            for loaded in recipes:
                make_sources(loaded)
        except UsageError as error:
            say(f"note: {error}")
        raise typer.Exit(DONE)
    from lightning.pytorch.utilities import rank_zero_only

    from tapetum.training.run import train_stages

    try:
        written = train_stages(recipes, resume=not restart)
    except KeyboardInterrupt:
        rank_zero_only(say)("stopped: the same command goes on from the last checkpoint")
        raise typer.Exit(STOPPED) from None
    rank_zero_only(say)(f"written: {printable(written)}")
    raise typer.Exit(DONE)
