"""The pictures that ship."""

from pathlib import Path

import tapetum
from tapetum.imaging import read_picture

SAMPLES = Path(tapetum.__file__).parent / "assets" / "samples"


def test_samples_are_small_readable_and_accounted_for() -> None:
    files = sorted(SAMPLES.glob("*.jpg"))
    assert {f.stem for f in files} >= {"rocket", "astronaut", "coffee-dark", "cat-dark"}
    assert all(f.stat().st_size <= 250_000 for f in files)
    assert sum(f.stat().st_size for f in files) <= 1_200_000
    said = (SAMPLES / "README.md").read_text(encoding="utf-8")
    for file in files:
        assert f"`{file.name}`" in said
        assert read_picture(file).pixels.shape[2] == 3


def test_dark_samples_are_dark() -> None:
    for name in ("coffee-dark", "cat-dark"):
        assert read_picture(SAMPLES / f"{name}.jpg").pixels.mean() < 60
    assert read_picture(SAMPLES / "astronaut.jpg").pixels.mean() > 90
