"""Nothing that is kept under version control tells of the machine that it was made on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOMES = re.compile(rb"(?<![\w.])/(?:root|home|Users|work|tmp)/[\w.-]+")
# ways to write a temporary or home path that name no machine
HARMLESS = re.compile(rb"/home/(?:user|you)\b|/Users/you\b")


def tracked() -> list[Path]:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name.decode() for name in listing.split(b"\0") if name]


def test_no_file_names_a_path_of_this_machine():
    found = []
    for path in tracked():
        if not path.is_file():
            continue
        content = path.read_bytes()
        names = {match for match in HOMES.findall(content) if not HARMLESS.match(match)}
        found += [f"{path.relative_to(ROOT)}: {name.decode()}" for name in sorted(names)]
        if (here := str(ROOT).encode()) in content and len(here) > 4:
            found.append(f"{path.relative_to(ROOT)}: {here.decode()}")
    assert not found


def test_no_file_is_large():
    """Pictures and weights that ship are small: 1 MB each is the most."""
    sizes = {path: path.stat().st_size for path in tracked() if path.is_file()}
    large = [f"{path.relative_to(ROOT)}: {size:,}" for path, size in sizes.items() if size > 1_048_576]
    assert not large
