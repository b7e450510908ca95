"""What detectors and segmenters in ONNX have in common: one input, which is a picture. NumPy and ONNX Runtime only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tapetum.errors import WeightsError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def picture_input(session: InferenceSession, path: Path, what: str) -> type:
    """NumPy type of the input ``(1 or open, 3, H, W)``; ``what`` the network is, for people: "detector".

    Raises:
        WeightsError: other inputs.
    """
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    wanted = all(not isinstance(have, int) or have == want for have, want in zip(shape, (1, 3), strict=False))
    if len(shape) != 4 or not wanted or inputs[0].type not in _TYPES:
        shapes = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise WeightsError(f"{path}: a {what} has one input of floats (1, 3, height, width), this has {shapes}")
    return _TYPES[inputs[0].type]


def fixed_sides(session: InferenceSession) -> list[int | None]:
    """Height and width of the input, None where the file leaves them open."""
    return [side if isinstance(side, int) else None for side in session.get_inputs()[0].shape[2:]]


def run(session: InferenceSession, path: Path, planes: NDArray[Any]) -> list[NDArray[Any]]:
    """All outputs for ``(1, 3, H, W)``. Raises WeightsError: the network does not take it."""
    try:
        return [np.asarray(output) for output in session.run(None, {session.get_inputs()[0].name: planes})]
    except Exception as error:  # the runtime's exceptions have no common base but this
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise WeightsError(f"{path}: does not take a picture {planes.shape} ({reason})") from None
