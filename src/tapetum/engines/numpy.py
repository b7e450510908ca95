"""NumPy: runs classical methods, which have no network and no weights. Needs nothing but the core install."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tapetum.engines import Extras
from tapetum.errors import UsageError
from tapetum.machine import free_memory
from tapetum.methods.classical.contract import Classical
from tapetum.methods.contract import Place, Properties


class NumpyEngine:
    """A classical method on the processor.

    Raises:
        UsageError: another device.
    """

    name = "numpy:cpu"

    def __init__(self, method: Classical, device: str = "auto") -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(f"{method.name} runs on the processor only: there is no device {device!r} for it")
        self._method = method
        context = "none" if method.analyse is None else "pixels"
        self.properties = Properties(
            context=context, no_onnx="it is no network", bytes_per_pixel=method.bytes_per_pixel
        )

    def run(self, low: np.ndarray, context: np.ndarray | None = None, extras: Extras | None = None) -> np.ndarray:
        """See :class:`tapetum.engines.Engine`."""
        place = extras.place if extras is not None else None
        return np.stack([self._run(image, context, place or Place(0, 0, *image.shape[1:])) for image in low])

    def _run(self, image: np.ndarray, analysis: np.ndarray | None, place: Place) -> np.ndarray:
        if analysis is None:
            analysis = self.analyse(image.transpose(1, 2, 0))
        return self._method.apply(image, analysis, place)

    def analyse(self, pixels: np.ndarray) -> np.ndarray:
        """See :class:`tapetum.engines.Engine`."""
        return np.empty(0, np.float32) if self._method.analyse is None else self._method.analyse(pixels)

    def measure(self, low: np.ndarray, extras: Extras | None = None) -> np.ndarray:
        """See :class:`tapetum.engines.Engine`: there are no statistics to measure."""
        raise NotImplementedError

    def noise_channels(self, options: Mapping[str, Any]) -> int:
        """See :class:`tapetum.engines.Engine`."""
        return 0

    def free_memory(self) -> int:
        """See :class:`tapetum.engines.Engine`."""
        return free_memory()
