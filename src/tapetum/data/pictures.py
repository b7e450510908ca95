"""Pictures kept decoded in memory: decoding takes most of a small network's training time otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.resize import Sized, resized
from tapetum.errors import InputError
from tapetum.imaging import is_picture, read_picture

Reader = Callable[[Path], NDArray[Any]]


class PictureStore:
    """Decoded pictures by path, each read once at its first use, as long as there is room.

    Args:
        limit: bytes to keep; pictures beyond it are read each time.
    """

    def __init__(self, limit: int) -> None:
        self._pictures: dict[tuple[Path, Reader], NDArray[Any]] = {}
        self._left = limit

    def get(self, path: Path, read: Reader) -> NDArray[Any]:
        """``(H, W, 3)`` RGB as ``read`` gives it: uint8, or float32 in [0, 1]."""
        key = path, read  # sources may read one file in different ways
        if key in self._pictures:
            return self._pictures[key]
        picture = read(path)
        if picture.nbytes <= self._left:
            self._left -= picture.nbytes
            self._pictures[key] = picture
        return picture


@dataclass(frozen=True)
class ResizedReader:
    """Reads with ``read`` and resizes: ``(H, W, 3)`` float32, about [0, 1] (bicubic resampling overshoots)."""

    read: Reader
    sized: Sized

    def __call__(self, path: Path) -> NDArray[np.float32]:
        picture = self.read(path)
        if picture.dtype == np.uint8:
            picture = np.divide(picture, 255, dtype=np.float32)
        return resized(picture, self.sized)


def load_rgb(path: Path, mend: bool = True) -> NDArray[np.uint8]:
    """An 8-bit sRGB picture ``(H, W, 3)``; grey is repeated, deeper pictures are rounded.

    Args:
        mend: as ``read_picture`` takes it.

    Raises:
        InputError: the file cannot be read.
    """
    pixels = read_picture(path, mend=mend).pixels
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / np.float32(257)).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(pixels, 0, 1) * np.float32(255)).astype(np.uint8)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name; not the hidden ones, whose names begin with a dot.

    Raises:
        InputError: the folder does not exist or holds no picture.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of pictures")
    paths = sorted(p for p in folder.iterdir() if is_picture(p) and not p.name.startswith("."))
    if not paths:
        raise InputError(f"{folder}: holds no picture")
    return paths
