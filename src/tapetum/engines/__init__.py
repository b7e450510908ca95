"""How a method is run: one small interface, NumPy arrays cross it. ``onnx`` needs no torch; ``torch`` runs modules;
``numpy`` runs classical methods, which have no network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tapetum.errors import InputError
from tapetum.methods.contract import OnStep, Place, Properties


class OutOfMemory(Exception):
    """The engine's device has not enough memory for this input. The enhancer answers with smaller tiles."""


@dataclass(frozen=True)
class Extras:
    """What a network with options is told beside the picture (``methods/contract.py``).

    Attributes:
        options: those that the network takes, by name. An absent one has its default.
        noise: ``(N, channels, H / noise_scale, W / noise_scale)`` float32, or ``(N, channels)``.
        on_step: told of each step, where the network works in steps.
        place: of ``low`` in the whole picture; None: it is the whole.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    noise: np.ndarray | None = None
    on_step: OnStep | None = None
    place: Place | None = None


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

    def run(self, low: np.ndarray, context: np.ndarray | None = None, extras: Extras | None = None) -> np.ndarray:
        """``(N, C, H, W)`` float32 to the same size, not clamped.

        Args:
            context: the thumbnail ``(N, C, T, T)``, the statistics ``(N, K)`` or the analysis of the whole picture,
                as ``properties.context`` says. None: ``low`` is the whole picture.
            extras: None: the defaults of its options, and noise of its own.

        Raises:
            OutOfMemory: ``low`` is too large for the device.
        """
        ...

    def measure(self, low: np.ndarray, extras: Extras | None = None) -> np.ndarray:
        """The global statistics ``(N, K)`` of a picture ``(N, C, H, W)``; only for ``context == "statistics"``.

        Raises:
            OutOfMemory: ``low`` is too large for the device.
        """
        ...

    def analyse(self, pixels: np.ndarray) -> np.ndarray:
        """What must be known of a picture ``(H, W, 1 or 3)``, uint8, uint16 or float32 in 0..1; only for
        ``context == "pixels"``.
        """
        ...

    def noise_channels(self, options: Mapping[str, Any]) -> int:
        """How many channels of noise the network wants with these options; only where it has a ``noise_scale``."""
        ...

    def free_memory(self) -> int:
        """Bytes that are free on the device now."""
        ...


def check_finite(enhanced: np.ndarray) -> None:
    """Raises InputError for a network's result with NaN or infinite values, which would be written as black."""
    if not math.isfinite(enhanced.sum(dtype=np.float64)):  # a sum, since it needs no second array
        raise InputError("the model makes values of it that are no numbers (NaN or infinite): are its weights damaged?")
