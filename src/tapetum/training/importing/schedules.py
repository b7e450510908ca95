"""``train.scheduler`` and ``train.warmup_iter`` of an option file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapetum.training.importing.datasets import Note
from tapetum.training.importing.options import Options

WITHOUT_CLASS = ("CosineAnnealingWarmupRestarts", "CosineAnnealingLRWithRestart")
_FREE = ("LinearLR", "VibrateLR")  # these take any further key, and ignore it


def import_schedule(train: Options, known: tuple[str, ...], steps: int, note: Note) -> dict[str, Any]:
    """The recipe's schedule.

    Args:
        train: the section ``train``.
        known: names that the project's program knows.
        steps: length of the training.
        note: called with a place and what must be said about it.

    Raises:
        UsageError: an unknown schedule, an unknown key of it, or lists that do not fit each other.
    """
    section = train.section("scheduler")
    kind = section.text("type")
    if kind in WITHOUT_CLASS:
        section.refuse("type", f"the official program has a name {kind!r} without a schedule behind it")
    if kind not in known:
        section.refuse("type", f"unknown schedule {kind!r}, choose from {', '.join(known)}")
    result = _READERS[kind](section)
    if kind in _FREE:
        for place in section.unread():
            note(place, f"ignored: {kind} takes no further options")
        for key in section.keys:
            section.take(key)
    section.refuse_unread()
    if result["kind"] == "cosine_restarts" and (end := sum(result["periods"])) < steps:
        why = f"the cycles end at {end} of {steps} iterations, where the official program stops with an error; "
        note(section.place("periods"), why + "here the last minimum is held")
    warmup = train.whole("warmup_iter", -1)
    return {**result, "warmup": warmup} if warmup > 0 else result


def _cyclic(section: Options) -> dict[str, Any]:
    return _restarts(section, lambda cycles: section.numbers("eta_mins", [0.0] * cycles), "eta_mins")


def _one_minimum(section: Options) -> dict[str, Any]:
    return _restarts(section, lambda cycles: [section.number("eta_min", 0.0)] * cycles, "eta_min")


def _restarts(section: Options, minima_of: Callable[[int], list[float]], key: str) -> dict[str, Any]:
    periods = section.wholes("periods")
    weights = section.numbers("restart_weights", [1.0])
    minima = minima_of(len(periods))
    _same_length(section, "restart_weights", weights, "periods", periods)
    _same_length(section, key, minima, "periods", periods)
    return {"kind": "cosine_restarts", "periods": periods, "weights": weights, "minima": minima}


def _multi_step(section: Options) -> dict[str, Any]:
    restarts, weights = section.wholes("restarts", [0]), section.numbers("restart_weights", [1.0])
    _same_length(section, "restart_weights", weights, "restarts", restarts)
    return {
        "kind": "multi_step",
        "milestones": section.wholes("milestones"),
        "gamma": section.number("gamma", 0.1),
        "restarts": restarts,
        "weights": weights,
    }


def _cosine(section: Options) -> dict[str, Any]:
    return {"kind": "cosine", "t_max": section.whole("T_max"), "minimum": section.number("eta_min", 0.0)}


def _same_length(section: Options, key: str, values: list[Any], other: str, others: list[Any]) -> None:
    if len(values) != len(others):
        section.refuse(key, f"must have as many entries as {other} ({len(others)}), got {len(values)}")


_READERS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "CosineAnnealingRestartCyclicLR": _cyclic,
    "CosineAnnealingRestartLR": _one_minimum,
    "MultiStepLR": _multi_step,
    "MultiStepRestartLR": _multi_step,
    "TrueCosineAnnealingLR": _cosine,
    "LinearLR": lambda _: {"kind": "linear"},
    "VibrateLR": lambda _: {"kind": "vibrate"},
}
