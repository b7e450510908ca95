"""Measures stored predictions: one picture at a time, all models on it. No network has a part in it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tapetum.data.pairs import Pair
from tapetum.errors import InputError
from tapetum.evaluation.benchmark.making import Made, Place
from tapetum.evaluation.benchmark.plan import Look, Plan, Split, measured
from tapetum.evaluation.benchmark.stored import name_of, open_store, store_of
from tapetum.evaluation.protocols import Protocol
from tapetum.evaluation.report import Row
from tapetum.evaluation.run import figures, read_both

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """One picture by one protocol.

    Attributes:
        split: with this pair only.
        predictions: title of each model to the folder and name of its prediction, or to why there is none.
    """

    split: Split
    pair: Pair
    protocol: str
    metrics: tuple[str, ...]
    gt_mean: str
    predictions: Mapping[str, Place | str]


@dataclass(frozen=True)
class Outcome:
    """What came of one picture by one protocol and one model: its figures, or why there are none."""

    protocol: str
    model: str
    split: str
    name: str
    row: Row | None
    reason: str = ""


def tasks_of(plan: Plan, looks: Sequence[Look], cache: Path, made: Made) -> list[Task]:
    """What is to be measured, look by look, picture by picture."""
    tasks = []
    for protocol, split in looks:
        models = [model for model in plan.models if split.name not in model.leave_out]
        stores = {model.title: str(store_of(cache, model, protocol).folder) for model in models}
        for pair in split.pairs:
            try:
                name = name_of(pair, split, protocol)
            except InputError as error:
                places: dict[str, Place | str] = {model.title: str(error) for model in models}
            else:
                places = {}
                for model in models:
                    place = stores[model.title], name
                    places[model.title] = made.failed.get(place, place)
            alone = replace(split, pairs=())
            tasks.append(Task(alone, pair, protocol.name, plan.metrics, plan.gt_mean, places))
    return tasks


def measure(task: Task) -> list[Outcome]:
    """An outcome for each model, in their order; whatever cannot be measured has its reason."""
    protocol = measured(task.protocol, task.metrics, False)
    try:
        low, target = pictures(task.split, task.pair, protocol)
    except InputError as error:
        return [_failed(task, model, str(error)) for model in task.predictions]
    outcomes = []
    for model, place in task.predictions.items():
        if isinstance(place, str):
            outcomes.append(_failed(task, model, place))
            continue
        prediction = open_store(Path(place[0])).get(place[1])
        if prediction is None:
            outcomes.append(_failed(task, model, "its prediction vanished from the cache meanwhile"))
            continue
        try:
            values = figures(protocol, prediction.enhanced, low, target, task.gt_mean)
        except ValueError as error:
            outcomes.append(_failed(task, model, f"{task.pair.low}: {error}"))
            continue
        row = Row(model, task.split.name, task.pair.name, task.pair.scene, values, prediction.seconds)
        outcomes.append(Outcome(task.protocol, model, task.split.name, task.pair.name, row))
    return outcomes


def pictures(split: Split, pair: Pair, protocol: Protocol) -> tuple[Image, Image]:
    """Dark picture and target at the size that is measured.

    Raises:
        InputError: one cannot be read, or they differ in size: pictures are never resized to fit.
    """
    return protocol.prepare(*read_both(pair.low, pair.target, split.read))


def measure_all(tasks: Sequence[Task], jobs: int) -> Iterator[list[Outcome]]:
    """The outcomes of each task, in their order, whatever ``jobs`` is: how many processes at a time."""
    if jobs == 1 or len(tasks) < 2:
        yield from map(measure, tasks)
        return
    # "fork" would copy the threads' locks of whoever calls this
    with ProcessPoolExecutor(min(jobs, len(tasks)), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(measure, tasks)


def _failed(task: Task, model: str, reason: str) -> Outcome:
    return Outcome(task.protocol, model, task.split.name, task.pair.name, None, reason)
