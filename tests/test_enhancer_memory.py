"""The budget of the enhancer holds for pictures of every size.

NumPy reports what it allocates to tracemalloc, so this is counted and not guessed from the process; the engine's own
share is played by an engine that takes all it declares.
"""

from __future__ import annotations

import re
import tracemalloc
import warnings
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum import Enhancer
from tapetum.engines import Extras
from tapetum.errors import TapetumWarning
from tapetum.imaging import Picture
from tapetum.methods.contract import Properties


class Hog:
    """An engine that takes the bytes it declares, and keeps them from run to run as ONNX Runtime's arena does."""

    name = "test:cpu"

    def __init__(
        self, context: Literal["none", "thumbnail", "statistics"] = "none", bytes_per_pixel: int = 100
    ) -> None:
        self.properties = Properties(
            size_multiple=8,
            minimum_size=8,
            receptive_field=20,
            context=context,
            thumbnail_size=0 if context == "none" else 64,
            bytes_per_pixel=bytes_per_pixel,
        )
        self.arena = np.empty(0, np.uint8)
        self.runs = 0

    def run(self, low: np.ndarray, context: np.ndarray | None = None, extras: Extras | None = None) -> np.ndarray:
        self.runs += 1
        wanted = self.properties.bytes_per_pixel * low.shape[2] * low.shape[3]
        if self.arena.size < wanted:
            self.arena = np.empty(wanted, np.uint8)
        return low * np.float32(1.5)

    def measure(self, low: np.ndarray, extras: Extras | None = None) -> np.ndarray:
        self.run(low)
        return low.mean((2, 3))

    def free_memory(self) -> int:
        return 10**12


def make_enhancer(engine: Hog, **options: Any) -> Enhancer:
    enhancer = Enhancer(**options)
    enhancer.engine = engine
    return enhancer


def working_memory(enhancer: Enhancer, image: Any) -> int:
    """Most bytes allocated at a time while the image is enhanced, beside it and its result."""
    enhancer(np.zeros((8, 8, 3), np.uint8))  # imports and the like
    tracemalloc.start()
    try:
        result = enhancer(image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peak - (result.pixels if isinstance(result, Picture) else result).nbytes


def dark(height: int, width: int, channels: int, dtype: Any) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 60, (height, width, channels)).astype(np.uint8)
    return values if dtype == np.uint8 else (values / np.float32(255)).astype(np.float32)


@pytest.mark.parametrize("strength", [1, 0.5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "size", [(700, 900, 3), (700, 900, 1), (100, 6000, 3), (6000, 100, 3), (1, 200_000, 3)], ids=str
)
def test_a_budget_holds(size: tuple[int, int, int], dtype: Any, strength: float) -> None:
    image = dark(*size, dtype)
    for context in ("none", "thumbnail", "statistics"):
        for budget in (8_000_000, 25_000_000):
            engine = Hog(context)
            with warnings.catch_warnings():
                warnings.simplefilter("error", TapetumWarning)
                taken = working_memory(make_enhancer(engine, memory=budget, strength=strength), image)
            assert taken <= budget, f"{context}, {budget}"
            assert engine.runs > 2  # or this shows little


@settings(max_examples=40)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(3_000_000, 60_000_000), st.integers(20, 400))
def test_a_budget_holds_or_a_warning_says_what_is_needed(
    height: int, width: int, budget: int, bytes_per_pixel: int
) -> None:
    enhancer = make_enhancer(Hog("thumbnail", bytes_per_pixel), memory=budget)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        taken = working_memory(enhancer, dark(height, width, 3, np.uint8))
    told = [re.search(r"are too little: the smallest tiles need ([\d.]+) MB", str(w.message)) for w in caught]
    allowed = max([budget, *(float(match[1]) * 1e6 * 1.006 for match in told if match)])  # told with three digits
    assert taken <= allowed


def test_memory_does_not_grow_with_the_picture() -> None:
    """Four times the pixels, the same budget: but for the rows between tiles (192 bytes a column) it stays."""
    sizes = [(600, 800), (1200, 1600), (2400, 3200)]
    taken = [working_memory(make_enhancer(Hog("thumbnail"), tile=200), dark(*size, 3, np.uint8)) for size in sizes]
    assert taken[1] - taken[0] < 500 * 800
    assert taken[2] - taken[1] < 500 * 1600


def test_files_of_floats_within_the_range_are_not_copied() -> None:
    image = dark(900, 1000, 3, np.float32)
    assert working_memory(make_enhancer(Hog(), memory=8_000_000), Picture(image)) <= 8_000_000


def test_highlights_of_float_pictures_take_one_copy_more() -> None:
    image = dark(900, 1000, 3, np.float32)
    image[0, 0] = 3
    assert working_memory(make_enhancer(Hog(), memory=8_000_000), Picture(image)) <= 8_000_000 + image.nbytes
