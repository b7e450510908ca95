"""The command line: one file per command; each parses, calls and prints. Nothing heavy is imported early."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the ``tapetum`` command; ends the process with its exit code.

    Exit codes: 0 done, 1 some inputs failed (the others are done), 2 wrong usage, 130 stopped by Ctrl-C.
    """
    from tapetum.cli.app import run

    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
