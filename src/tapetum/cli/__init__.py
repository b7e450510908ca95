"""The command line: one file per command; each parses, calls and prints. Nothing heavy is imported early."""

from __future__ import annotations

import os
import sys


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the ``tapetum`` command; ends the process with its exit code.

    Exit codes: 0 done, 1 some inputs failed (the others are done), 2 wrong usage, 130 stopped by Ctrl-C.
    """
    # Closed streams (cron, windows without a console) are None, and their numbers would go to the next files opened
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for as long as the process lives
    from tapetum.cli.app import run

    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
