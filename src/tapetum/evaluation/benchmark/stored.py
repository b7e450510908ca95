"""Predictions on disk: exactly what a model gave, how long it took, and what is known of the model that made them."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.data.pairs import Pair
from tapetum.errors import InputError, TapetumWarning
from tapetum.evaluation.benchmark.plan import Model, Split, prediction_part
from tapetum.evaluation.cache import Arrays, Store, model_key, picture_name, read_arrays, write_arrays
from tapetum.evaluation.protocols import Protocol
from tapetum.evaluation.report import write_json


@dataclass(frozen=True)
class Prediction:
    """``enhanced``: ``(H, W, 3)`` float32 in [0, 1]. ``seconds``: from the decoded picture to the enhanced one."""

    enhanced: NDArray[np.float32]
    seconds: float


@dataclass
class About:
    """What is known of a model since it made predictions.

    Attributes:
        engine: what ran it, "onnx:cpu".
        machine: where.
        peak: bytes of memory that the largest of its processes had at most, or None where that is not known.
        parameters: of the network, or None.
        macs: multiply-adds of one pass at ``size``, or None where they could not be counted.
        size: "400x600", of the first picture; "" where nothing was counted yet.
    """

    engine: str = ""
    machine: str = ""
    peak: int | None = None
    parameters: int | None = None
    macs: int | None = None
    size: str = ""

    @property
    def whole(self) -> bool:
        """Whether all was noted that a process can find out: a stopped one may not have come to it."""
        return bool(self.engine and self.size)

    def merge(self, other: About) -> About:
        peaks = [peak for peak in (self.peak, other.peak) if peak is not None]
        first = self if self.size else other
        return About(
            other.engine or self.engine,
            other.machine or self.machine,
            max(peaks) if peaks else None,
            first.parameters,
            first.macs,
            first.size,
        )


def store_of(cache: Path, model: Model, protocol: Protocol) -> Store[Prediction]:
    """Where a model's predictions for a protocol are. Raises InputError: its file of weights cannot be read."""
    key = model_key(
        model.name, model.weights, model.engine, options=dict(model.options), protocol=prediction_part(protocol)
    )
    return open_store(cache / "predictions" / key[:32])


def open_store(folder: Path) -> Store[Prediction]:
    return Store(folder, ".npz", _read, _write)


def name_of(pair: Pair, split: Split, protocol: Protocol) -> str:
    """The name of a pair's prediction: by the bytes of the dark picture, how they are read, and, where the protocol
    resizes to what it makes of the target's size, by those of the target. Raises InputError: it cannot be read."""
    parts = [picture_name(pair.low), split.layout or ""]
    if protocol.sized is not None:
        parts.append(picture_name(pair.target))
    return "-".join(filter(None, (part[:32] for part in parts)))


def read_about(folder: Path) -> About:
    """What is stored of a model; nothing where that is missing or, with a warning, damaged."""
    path = folder / "about.json"
    try:
        about = _checked(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return About()
    except (OSError, ValueError, RecursionError):
        about = None
    if about is None:
        warnings.warn(f"{path}: damaged: it is made anew", TapetumWarning, stacklevel=2)
    return about or About()


def _checked(content: Any) -> About | None:
    """None: not what :func:`write_about` writes."""
    if not isinstance(content, dict) or set(content) != {field.name for field in fields(About)}:
        return None
    texts = [content[name] for name in ("engine", "machine", "size")]
    numbers = [content[name] for name in ("peak", "parameters", "macs")]
    fits = all(isinstance(text, str) for text in texts) and all(
        number is None or (type(number) is int and number >= 0) for number in numbers
    )
    return About(**content) if fits else None


def write_about(about: About, folder: Path) -> None:
    write_json(asdict(about), folder / "about.json")


def _write(prediction: Prediction, path: Path) -> None:
    enhanced = prediction.enhanced
    levels = np.rint(enhanced * np.float32(255)).astype(np.uint8)
    # eight bits where these give back the very same numbers (a protocol that truncates, a method of levels)
    exact = np.array_equal(_from_levels(levels), enhanced)
    write_arrays({"enhanced": levels if exact else enhanced, "seconds": np.array(prediction.seconds)}, path)


def _read(path: Path) -> Prediction:
    arrays = read_arrays(path)
    enhanced, seconds = _entry(arrays, "enhanced", path), _entry(arrays, "seconds", path)
    if enhanced.ndim != 3 or enhanced.shape[2] != 3 or enhanced.dtype not in (np.uint8, np.float32) or seconds.ndim:
        raise InputError(f"{path}: damaged")
    return Prediction(_from_levels(enhanced) if enhanced.dtype == np.uint8 else enhanced, float(seconds))


def _from_levels(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(levels, 255, dtype=np.float32)


def _entry(arrays: Arrays, name: str, path: Path) -> NDArray[Any]:
    if name not in arrays:
        raise InputError(f"{path}: damaged")
    return arrays[name]
