"""The scripts that make what ships."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from tapetum.imaging import read_picture

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize("name", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_scripts_find_what_they_import(name: str) -> None:
    assert runpy.run_path(str(SCRIPTS / name), run_name="imported")["__doc__"]


def test_samples_are_made_again(tmp_path: Path) -> None:
    script = runpy.run_path(str(SCRIPTS / "make_samples.py"), run_name="imported")
    script["make_samples"](tmp_path)
    made = sorted(tmp_path.iterdir())
    assert [path.name for path in made] == ["astronaut.jpg", "cat-dark.jpg", "coffee-dark.jpg", "rocket.jpg"]
    for path in made:
        shipped = read_picture(script["SAMPLES"] / path.name).pixels.astype(float)
        assert np.abs(read_picture(path).pixels - shipped).mean() < 1, path.name
