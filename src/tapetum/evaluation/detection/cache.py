"""Enhanced pictures kept on disk, so that a stopped run goes on and a second detector need not wait for them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tapetum
from tapetum.data.pictures import load_rgb
from tapetum.errors import InputError, os_reason
from tapetum.imaging import Picture, write_picture
from tapetum.weights.registry import NAMED_WEIGHTS, sha256_of


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/tapetum``, which is ``~/.cache/tapetum`` where that is not set."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "tapetum"


def model_key(model: str, weights: Path | None, engine: str) -> str:
    """Tells models apart by their content: a SHA-256 over that of the file of weights, the method's name where the
    file does not say it, which engine runs it, and the version of this package.

    Args:
        model: as ``Enhancer`` takes it.
        engine: ``Enhancer.engine.name``.

    Raises:
        InputError: the file cannot be read.
    """
    file = Path(model) if model.lower().endswith(".onnx") else weights
    entry = NAMED_WEIGHTS.get(model)
    if file is not None:
        try:
            content = sha256_of(file)
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {os_reason(error)}") from None
    else:
        content = entry.sha256 + entry.onnx_sha256 if entry else ""
    method = entry.method if entry else "" if weights is None else model
    text = "\n".join([content, method, engine, tapetum.__version__])
    return hashlib.sha256(text.encode()).hexdigest()


class EnhancedCache:
    """Enhanced pictures by the content of the picture file and of the model, as PNG of 8 bit.

    Args:
        folder: made where it is missing.
        key: of :func:`model_key`.
        enhance: ``(H, W, 3)`` uint8 to the same.

    Attributes:
        made: pictures that were enhanced.
        found: pictures that were there already.
    """

    def __init__(self, folder: Path, key: str, enhance: Callable[[NDArray[np.uint8]], Any]) -> None:
        self._folder = folder / "enhanced" / key[:32]
        self._enhance = enhance
        self.made = 0
        self.found = 0

    def get(self, path: Path) -> NDArray[np.uint8]:
        """The enhanced picture ``(H, W, 3)``. Raises InputError: a picture cannot be read or written."""
        try:
            place = self._folder / f"{sha256_of(path)}.png"
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {os_reason(error)}") from None
        if place.is_file():
            self.found += 1
            return load_rgb(place)
        image = load_rgb(path)
        try:
            enhanced = self._enhance(image)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self._folder}: cannot be made: {os_reason(error)}") from None
        write_picture(Picture(enhanced), place)
        self.made += 1
        return enhanced
