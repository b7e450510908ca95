"""Pictures kept decoded in memory: decoding takes most of a small network's training time otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tapetum.errors import InputError
from tapetum.imaging import is_picture, read_picture


class PictureStore:
    """Decoded 8-bit RGB pictures by path, each read once, at its first use."""

    def __init__(self) -> None:
        self._pictures: dict[Path, NDArray[np.uint8]] = {}

    def __getitem__(self, path: Path) -> NDArray[np.uint8]:
        """``(H, W, 3)`` uint8."""
        if path not in self._pictures:
            self._pictures[path] = load_rgb(path)
        return self._pictures[path]


def load_rgb(path: Path) -> NDArray[np.uint8]:
    """An 8-bit sRGB picture ``(H, W, 3)``; grey is repeated, deeper pictures are rounded.

    Raises:
        InputError: the file cannot be read.
    """
    pixels = read_picture(path).pixels
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / np.float32(257)).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(pixels, 0, 1) * np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name.

    Raises:
        InputError: the folder does not exist or holds no picture.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of pictures")
    paths = sorted(p for p in folder.iterdir() if is_picture(p))
    if not paths:
        raise InputError(f"{folder}: holds no picture")
    return paths
