"""How a network is run: one small interface, NumPy arrays cross it. ``onnx`` needs no torch; ``torch`` runs modules."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tapetum.methods.contract import Properties


class OutOfMemory(Exception):
    """The engine's device has not enough memory for this input. The enhancer answers with smaller tiles."""


class Engine(Protocol):
    """Runs one network on one device.

    Attributes:
        properties: what the network declares about itself.
        name: engine and device, "onnx:cpu" or "torch:cuda:0".
    """

    @property
    def properties(self) -> Properties: ...

    @property
    def name(self) -> str: ...

    def run(self, low: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
        """``(N, C, H, W)`` float32 to the same size, not clamped.

        Args:
            context: the thumbnail ``(N, C, T, T)`` or the statistics ``(N, K)`` of the whole picture, as
                ``properties.context`` says. None: ``low`` is the whole picture.

        Raises:
            OutOfMemory: ``low`` is too large for the device.
        """
        ...

    def measure(self, low: np.ndarray) -> np.ndarray:
        """The global statistics ``(N, K)`` of a picture ``(N, C, H, W)``; only for ``context == "statistics"``.

        Raises:
            OutOfMemory: ``low`` is too large for the device.
        """
        ...

    def free_memory(self) -> int:
        """Bytes that are free on the device now."""
        ...
