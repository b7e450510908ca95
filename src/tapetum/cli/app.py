"""The ``tapetum`` command: its commands, and how an error becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from tapetum import __version__
from tapetum.cli import (
    benchmark,
    data,
    detect_eval,
    enhance,
    evaluate,
    export,
    info,
    labels,
    models,
    raw,
    recipe,
    segment_eval,
    surprise,
    train,
    weights,
)
from tapetum.cli.console import DONE, FAILED, STOPPED, USAGE, say, settings, warnings_as_lines
from tapetum.errors import TapetumError, UsageError

app = typer.Typer(
    name="tapetum",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tapetum {__version__}")
        raise typer.Exit


@app.callback()
def tapetum(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    """Dark photographs in, good photographs out."""
    settings.debug = debug


app.command("enhance")(enhance.enhance)
app.command("models")(models.models)
app.add_typer(weights.app, name="weights")
app.command("export")(export.export)
app.command("train")(train.train)
app.add_typer(recipe.app, name="recipe")
app.command("evaluate")(evaluate.evaluate)
app.command("benchmark")(benchmark.benchmark)
app.add_typer(data.app, name="data")
app.command("detect-eval")(detect_eval.detect_eval)
app.command("segment-eval")(segment_eval.segment_eval)
app.command("surprise")(surprise.surprise)
app.add_typer(labels.app, name="labels")
app.add_typer(raw.app, name="raw")
app.command("info")(info.info)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; never raises for a user's mistake."""
    settings.debug = False
    try:
        with warnings_as_lines():
            code = app(arguments, prog_name="tapetum", standalone_mode=False)
    except KeyboardInterrupt:
        say("stopped")
        return STOPPED
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        return report(error)
    return code if isinstance(code, int) else DONE


def report(error: Exception) -> int:
    """One line for ``error`` (with ``--debug`` the traceback as well) and the exit code that it means."""
    if settings.debug:
        traceback.print_exception(error)
    if isinstance(error, TapetumError):
        say(f"error: {error}")
        return USAGE if isinstance(error, UsageError) else FAILED
    # Typer carries its own copy of click since 0.20 and used the real one before: know the errors by their shape.
    if (message := getattr(error, "format_message", None)) is not None:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help text
            typer.echo(message())
            return USAGE
        say(f"error: {message()}" + (f" (try '{context.command_path} --help')" if context else ""))
        return USAGE
    if isinstance(error, OSError):  # stdout on a full disk, a folder that vanished: the computer's fault, not ours
        say(f"error: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return FAILED
    if type(error).__name__ == "Abort":
        say("stopped")
        return STOPPED
    say(f"error: unexpected {type(error).__name__}: {error} (a fault of tapetum; 'tapetum --debug ...' shows where)")
    return FAILED
