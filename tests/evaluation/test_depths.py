"""Pictures of one pair that differ in depth: one line for each split, by the headers alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import pyvips

from tapetum.data.pairs import Pair, pairs_of_folders
from tapetum.errors import TapetumWarning
from tapetum.evaluation.benchmark.plan import Data, Model, Plan
from tapetum.evaluation.benchmark.runner import run
from tapetum.evaluation.depths import depth_of, warn_of_depths

BITS = {8: np.uint8, 16: np.uint16, 32: np.float32}


def write(path: Path, bits: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((12, 12, 3), {8: 90, 16: 90 * 257, 32: 90 / 255}[bits], BITS[bits])
    image = pyvips.Image.new_from_array(pixels)
    image.copy(interpretation="rgb16" if bits == 16 else "srgb").write_to_file(str(path))


def pairs_of(root: Path, *each: tuple[int, int]) -> list[Pair]:
    for i, (low, target) in enumerate(each):
        write(root / "low" / f"{i}.{'tif' if low == 32 else 'png'}", low)
        write(root / "high" / f"{i}.{'tif' if target == 32 else 'png'}", target)
    return pairs_of_folders(root / "low", root / "high")


@pytest.mark.parametrize(
    ("each", "file", "text"),
    [
        ([(8, 8), (8, 16), (8, 16)], "high/1.png", "16 bit, rounded to 8 for the measures; its low has 8"),
        ([(16, 8)], "low/0.png", "16 bit, rounded to 8 for the measures; its target has 8"),
        ([(16, 32)], "high/0.tif", "32 bit, rounded to 8 for the measures; its low has 16"),
    ],
)
def test_the_first_that_differs_is_named(tmp_path: Path, each: list[tuple[int, int]], file: str, text: str) -> None:
    pairs = pairs_of(tmp_path, *each)
    with pytest.warns(TapetumWarning) as said:
        warn_of_depths("eval15", pairs)
    assert [str(w.message) for w in said] == [f"{tmp_path / file}: {text} (the first such picture of eval15)"]


def test_predictions_count(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, (8, 8))
    write(tmp_path / "made" / "0.png", 16)
    with pytest.warns(TapetumWarning, match=r"made/0\.png: 16 bit, rounded to 8 for the measures; its low has 8"):
        warn_of_depths("s", pairs, {"0": tmp_path / "made" / "0.png"})


@pytest.mark.parametrize("bits", [8, 16])
def test_equal_depths_are_not_worth_a_word(tmp_path: Path, bits: int) -> None:
    pairs = pairs_of(tmp_path, (bits, bits))
    array = tmp_path / "0.npy"
    np.save(array, np.zeros((4, 4, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_depths("s", pairs, {"0": array})  # read in another way: nothing is known of it
    assert depth_of(array) is depth_of(tmp_path / "none.png") is None


def test_a_benchmark_says_it_once(tmp_path: Path) -> None:
    pairs_of(tmp_path / "set" / "eval15", (8, 16), (8, 16))
    plan = Plan((Model("gamma"), Model("clahe")), (Data(tmp_path / "set"),))
    with pytest.warns(TapetumWarning, match="the first such picture of set eval15") as said:
        run(plan, tmp_path / "out", tmp_path / "cache")
    assert len(said) == 1


def test_nothing_is_decoded(tmp_path: Path) -> None:
    """A file that ends among its pixels has a depth all the same."""
    file = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 65536, (200, 200, 3)).astype(np.uint16)
    pyvips.Image.new_from_array(pixels).copy(interpretation="rgb16").write_to_file(str(file))
    file.write_bytes(file.read_bytes()[:60_000])
    assert depth_of(file) == 16
