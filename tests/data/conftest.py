"""Small data sets of boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PictureFile = Callable[..., Path]


@pytest.fixture
def picture(tmp_path: Path) -> PictureFile:
    """Writes a grey picture of 200x100 pixels (or another size) under ``tmp_path`` and returns its path."""

    def write(name: str, width: int = 200, height: int = 100, **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path, **options)
        return path

    return write


@pytest.fixture
def text(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return write
