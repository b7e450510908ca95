"""Which commit of its own repository this package runs from."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path


@functools.cache  # of the code that runs, and asked for whenever a training saves
def commit() -> str | None:
    """The commit, with "+" where something was changed since; None where the package runs from no checkout."""
    here = Path(__file__).resolve()
    try:
        head = _git(here.parent, "rev-parse", "--short=12", "HEAD")
        _git(here.parent, "ls-files", "--error-unmatch", here.name)  # not some other project that we lie in
        return head + ("+" if _git(here.parent, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
