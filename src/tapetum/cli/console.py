"""What the commands share: exit codes, and lines and tables for people."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tapetum.errors import TapetumWarning

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

DONE, FAILED, USAGE, STOPPED = 0, 1, 2, 130


@dataclass
class Settings:
    """Options that hold for every command."""

    debug: bool = False


settings = Settings()


def printable(text: str | os.PathLike[str]) -> str:
    """A file name or message on one line, whatever bytes it has: undecodable and control characters are replaced."""
    line = " ".join(os.fspath(text).splitlines())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def unicode(text: str | os.PathLike[str]) -> str:
    """A file name for programs: as it is, but for bytes that are no text, which Python has as surrogates."""
    return "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= c <= "\udfff" else c for c in os.fspath(text))


def say(line: str) -> None:
    """One line for people, on stderr: stdout is for results."""
    encoding = sys.stderr.encoding or "utf-8"
    print(printable(line).encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON object on stdout; ASCII only, so that any file name survives any terminal."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(table: Table) -> None:
    """A table on stdout: as wide as the terminal, and what does not fit goes on in the next line; one line for each row
    where stdout is no terminal."""
    for column in table.columns:
        column.overflow = "fold"
    console_for(sys.stdout).print(table)


def console_for(stream: Any) -> Console:
    from rich.console import Console

    width = None if stream.isatty() else 1000
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def progress_bar() -> Progress:
    """A progress bar on stderr, shown only where that is a terminal. Use it as a context manager."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console_for(sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Our warnings as lines on stderr, each time they occur; others keep their ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", TapetumWarning)
        usual = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **options: Any) -> None:
            if issubclass(category, TapetumWarning):
                say(f"warning: {message}")
            else:
                usual(message, category, *place, **options)

        warnings.showwarning = show
        yield
