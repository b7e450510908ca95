"""Synthetic scenes: things of any shape in a room, photographed with several exposures and from slightly elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Scene = Callable[..., NDArray[np.uint8]]
Save = Callable[..., Path]


@pytest.fixture
def scene() -> Scene:
    """``(number, exposure, across, zoom, noise)`` to a picture ``(160, 240, 3)``; a number is always the same scene."""

    def make(
        number: int, exposure: float = 1.0, across: int = 0, zoom: float = 1.0, noise: float = 0.0
    ) -> NDArray[np.uint8]:
        random = np.random.default_rng(number)
        light = np.full((220, 320, 3), 0.3) + np.linspace(0, 0.2, 320)[None, :, None]
        for _ in range(60):
            top, left = random.integers(0, 200), random.integers(0, 300)
            height, width = random.integers(8, 60, 2)
            light[top : top + height, left : left + width] = random.uniform(0.05, 0.9, 3)
        height, width = round(160 / zoom), round(240 / zoom)
        view = light[20 : 20 + height, 30 + across : 30 + across + width]
        view = np.clip((view * exposure), 0, 1) ** (1 / 2.2) * 255
        view = view + np.random.default_rng(99).normal(0, noise, view.shape) if noise else view
        image = Image.fromarray(np.clip(view, 0, 255).astype(np.uint8))
        return np.asarray(image.resize((240, 160), Image.Resampling.BICUBIC))

    return make


@pytest.fixture
def data_set(tmp_path: Path, scene: Scene) -> Path:
    """Six training pairs and three test pairs; test pair "b" shows training scene 3, brighter and from elsewhere."""

    def pair(folder: str, name: str, number: int, exposure: float = 1.0, across: int = 0) -> None:
        for side, light in (("low", 0.05 * exposure), ("high", exposure)):
            path = tmp_path / "set" / folder / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene(number, light, across, noise=1.0 if side == "low" else 0.0)).save(path)

    for number in range(1, 6):
        pair("our485", str(number), number)
    pair("our485", "2 again", 2, exposure=1.2)
    pair("eval15", "a", 11)
    pair("eval15", "b", 3, exposure=0.6, across=9)
    pair("eval15", "c", 12)
    return tmp_path / "set"
