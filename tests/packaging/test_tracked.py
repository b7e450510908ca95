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
    """Pictures, and the weights of the default models, are 1 MB at the most; weights that show a method 10 MB."""
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked() if path.is_file()}
    shown = "src/tapetum/weights/files/"
    most = {
        name: 10 << 20 if name.startswith(shown) and not name.startswith(f"{shown}default") else 1 << 20
        for name in sizes
    }
    assert not [f"{name}: {size:,}" for name, size in sizes.items() if size > most[name]]
