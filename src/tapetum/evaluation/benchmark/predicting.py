"""A process of its own that makes the predictions of one model: ``python -m tapetum.evaluation.benchmark.predicting``.

It reads one job in JSON from stdin and writes one JSON object a line to stdout: ``{"done": I, "about": {...}}`` or
``{"failed": I, "reason": TEXT}`` for each picture, and at last ``{"about": {...}}`` with what was counted; or, where
the model cannot be made, ``{"error": TEXT, "usage": BOOL}``. A process for each model: its peak of memory is that of
one model, and a crash ends nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.data.pairs import Pair
from tapetum.enhancer import Enhancer
from tapetum.errors import InputError, TapetumError, UsageError
from tapetum.evaluation.benchmark.costs import costs, peak_memory
from tapetum.evaluation.benchmark.facts import machine
from tapetum.evaluation.benchmark.plan import Model, Split, measured
from tapetum.evaluation.benchmark.stored import About, Prediction, open_store
from tapetum.evaluation.run import by_enhancer, read_both

Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Work:
    """One picture to predict: where it is, how it is read, by which protocol, and where its prediction is stored."""

    low: str
    target: str
    layout: str | None
    protocol: str
    folder: str
    name: str


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        count: whether parameters and multiply-adds are wanted.
    """

    model: Model
    self_ensemble: bool
    works: Sequence[Work]
    count: bool

    def to_json(self) -> str:
        content = asdict(self)
        content["model"]["weights"] = None if self.model.weights is None else str(self.model.weights)
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> Job:
        content = json.loads(text)
        weights = content["model"]["weights"]
        content["model"]["weights"] = None if weights is None else Path(weights)
        content["model"] = Model(**content["model"])
        content["works"] = [Work(**work) for work in content["works"]]
        return cls(**content)


def work(job: Job, say: Say) -> None:
    """Makes the predictions of a job and stores them.

    Raises:
        TapetumError: the model cannot be made.
    """
    model = job.model
    enhancer = Enhancer(model.name, model.device, weights=model.weights, **model.options)
    engine, place = enhancer.engine.name, machine()
    size = None
    for index, item in enumerate(job.works):
        try:
            made = predict(enhancer, item, job.self_ensemble)
        except Exception as error:  # whatever it is: the other pictures can be done
            kind = "" if isinstance(error, TapetumError) else f"{type(error).__name__}: "
            say({"failed": index, "reason": f"{kind}{' '.join(str(error).split()) or 'no reason given'}"})
        else:
            size = size or made
            # with each picture, for nobody may wait for the last one
            say({"done": index, "about": asdict(About(engine, place, peak_memory()))})
    about = About(engine, place, peak_memory())
    if job.count and size is not None:
        about.size = f"{size[0]}x{size[1]}"
        try:
            about.parameters, about.macs = costs(model, enhancer, *size)
        except Exception as error:  # figures beside the figures: not worth losing anything
            say({"note": f"{model.title}: its multiply-adds could not be counted ({type(error).__name__}: {error})"})
    say({"about": asdict(about)})


def predict(enhancer: Enhancer, item: Work, ensemble: bool) -> tuple[int, int]:
    """Makes and stores one prediction; returns the picture's height and width.

    Raises:
        InputError: the picture cannot be read, or the prediction has values that are no numbers.
    """
    protocol = measured(item.protocol, (), ensemble)
    split = Split("", (), item.layout)
    if protocol.sized is None:
        low = split.read(Path(item.low))
    else:
        low, _ = protocol.prepare(*read_both(Path(item.low), Path(item.target), split.read))
    pair = Pair(item.name, Path(item.low), Path(item.target), "")
    begin = time.perf_counter()
    enhanced = by_enhancer(enhancer, protocol)(pair, low)
    seconds = time.perf_counter() - begin
    if not np.isfinite(enhanced).all():
        raise InputError("the prediction has values that are no numbers (NaN) or infinite")
    if enhanced.shape != low.shape:
        raise InputError(f"the prediction is {enhanced.shape}, and the picture {low.shape}")
    open_store(Path(item.folder)).put(item.name, Prediction(np.asarray(enhanced, np.float32), seconds))
    return low.shape[0], low.shape[1]


def main() -> None:
    # what libraries print must not come between the lines
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=out, flush=True)

    try:
        work(Job.from_json(sys.stdin.read()), say)
    except TapetumError as error:
        say({"error": str(error), "usage": isinstance(error, UsageError)})
    except (KeyboardInterrupt, BrokenPipeError):  # whoever wanted this is gone; what was made is stored
        os._exit(1)


if __name__ == "__main__":
    main()
