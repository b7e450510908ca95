"""Picture files for command lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, dark: NDArray[np.uint8]) -> Save:
    """Writes the dark picture (or another) under ``tmp_path`` and returns its path."""

    def write(name: str, pixels: NDArray[np.generic] | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dark if pixels is None else pixels).save(path)
        return path

    return write
