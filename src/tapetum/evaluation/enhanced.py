"""Enhanced pictures kept on disk, so that a stopped run goes on and a second detector need not wait for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.pictures import load_rgb
from tapetum.enhancer import Enhancer
from tapetum.errors import InputError
from tapetum.evaluation.cache import Store, model_key, picture_name
from tapetum.imaging import Picture, write_picture

DARK = "dark"
"""The name of the pictures as they are, beside those of models."""
Load = Callable[[Path], NDArray[np.uint8]]
"""A picture file to what is measured of it, ``(H, W, 3)``."""


def spread(total: int, count: int) -> list[int]:
    """Indices of ``count`` of ``total`` pictures, or of all where there are fewer, from the first on."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


class EnhancedCache:
    """Enhanced pictures by the content of the picture file and of the model, as PNG of 8 bit.

    Args:
        folder: made where it is missing.
        key: of :func:`tapetum.evaluation.cache.model_key`.
        enhance: ``(H, W, 3)`` uint8 to the same.

    Attributes:
        made: pictures that were enhanced.
        found: pictures that were there already.
    """

    def __init__(self, folder: Path, key: str, enhance: Callable[[NDArray[np.uint8]], Any]) -> None:
        self._store = Store(folder / "enhanced" / key[:32], ".png", load_rgb, _write)
        self._enhance = enhance
        self.made = 0
        self.found = 0

    def get(self, path: Path) -> NDArray[np.uint8]:
        """The enhanced picture ``(H, W, 3)``. Raises InputError: a picture cannot be read or written."""
        name = picture_name(path)
        stored = self._store.get(name)
        if stored is not None:
            self.found += 1
            return stored
        image = load_rgb(path)
        try:
            enhanced = self._enhance(image)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        self._store.put(name, enhanced)
        self.made += 1
        return enhanced


def load_enhanced(model: str, weights: Path | None, device: str, cache: Path, **options: Any) -> Load:
    """A way to load pictures as a model makes them, kept in a cache.

    Raises:
        as ``Enhancer``; InputError: the file of weights cannot be read.
    """
    enhancer = Enhancer(model, device, weights=weights, **options)
    key = model_key(model, weights, enhancer.engine.name, **({"options": options} if options else {}))
    return EnhancedCache(cache, key, enhancer).get


def _write(pixels: NDArray[np.uint8], path: Path) -> None:
    write_picture(Picture(pixels), path)
