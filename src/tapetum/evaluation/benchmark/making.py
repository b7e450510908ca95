"""Makes the predictions that are not stored yet, each model in processes of its own."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tapetum.errors import InputError, UsageError
from tapetum.evaluation.benchmark.plan import Look, Model, Plan
from tapetum.evaluation.benchmark.predicting import Job, Work
from tapetum.evaluation.benchmark.stored import About, name_of, read_about, store_of, write_about

# One thread for each process: results do not depend on how many processes there are, and times are a core's
_ONE_THREAD = dict.fromkeys(("TAPETUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

_SECONDS_TO_END = 10  # that a process has which was told to

Place = tuple[str, str]
"""Folder and name of a prediction."""


@dataclass
class Made:
    """What became of the predictions.

    Attributes:
        found, made: how many were stored already, and how many were made now.
        failed: why a prediction could not be made, by its place.
        abouts: of each model, by its title.
    """

    found: int = 0
    made: int = 0
    failed: dict[Place, str] = field(default_factory=dict)
    abouts: dict[str, About] = field(default_factory=dict)

    def add(self, other: Made) -> None:
        """More of the same models."""
        self.found += other.found
        self.made += other.made
        self.failed |= other.failed
        for title, about in other.abouts.items():
            self.abouts[title] = self.abouts.get(title, About()).merge(about)


def make_predictions(
    plan: Plan,
    looks: Sequence[Look],
    cache: Path,
    jobs: int,
    step: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> Made:
    """Makes what is missing.

    Args:
        cache: folder.
        jobs: most processes at a time.
        step: told ``(done, total)`` of the predictions that are to be made.
        tell: told lines for people.

    Raises:
        UsageError: a model cannot be made of what the plan says of it.
        InputError: a file of weights cannot be read, or the cache not be written.
    """
    made = Made()
    queue: list[Job] = []
    stored: dict[str, dict[Path, About]] = {}

    def note(title: str, about: About) -> None:
        """Stored at once: predictions are, too, and do not tell it."""
        about = made.abouts[title] = made.abouts[title].merge(about)
        for folder, known in stored[title].items():
            if known != about and folder.is_dir():
                write_about(about, folder)
                stored[title][folder] = about

    for model in plan.models:
        lacking = missing(model, looks, cache)
        works = lacking.works
        stored[model.title] = {folder: read_about(folder) for folder in lacking.folders}
        made.abouts[model.title] = functools.reduce(About.merge, stored[model.title].values(), About())
        note(model.title, About())  # one folder may know what another lacks
        if lacking.found and not works and not made.abouts[model.title].whole:
            works.append(lacking.found.pop())  # one is made anew: a stopped run did not come to what a model costs
        made.found += len(lacking.found)
        shares = [works[i::jobs] for i in range(min(jobs, len(works)))]
        queue += [Job(model, plan.self_ensemble, share, i == 0) for i, share in enumerate(shares)]
    total = sum(len(job.works) for job in queue)
    lock, done = threading.Lock(), 0

    def one(job: Job) -> None:
        nonlocal done

        def heard(message: dict[str, Any]) -> None:
            nonlocal done
            with lock:
                if "note" in message:
                    tell(message["note"])
                    return
                if "about" in message:
                    note(job.model.title, About(**message["about"]))
                if "failed" in message:
                    item = job.works[message["failed"]]
                    made.failed[item.folder, item.name] = message["reason"]
                elif "done" in message:
                    made.made += 1
                else:
                    return
                done += 1
                step(done, total)

        _run(job, heard, processes)

    processes: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for future in [pool.submit(one, job) for job in queue]:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_SECONDS_TO_END)
            raise
    return made


@dataclass(frozen=True)
class Lacking:
    """What is to be made of a model's predictions, what is there already, and its folders."""

    works: list[Work]
    found: list[Work]
    folders: list[Path]


def missing(model: Model, looks: Sequence[Look], cache: Path) -> Lacking:
    works: dict[Place, Work] = {}
    found: dict[Place, Work] = {}
    folders: dict[Path, None] = {}
    for protocol, split in looks:
        store = store_of(cache, model, protocol)
        folders[store.folder] = None
        for pair in split.pairs if split.name not in model.leave_out else ():
            try:
                name = name_of(pair, split, protocol)
            except InputError:
                continue  # said when it is measured
            place = str(store.folder), name
            if place in works or place in found:
                continue
            low, target = str(pair.low.absolute()), str(pair.target.absolute())
            group = works if store.get(name) is None else found
            group[place] = Work(low, target, split.layout, protocol.name, *place)
    return Lacking(list(works.values()), list(found.values()), list(folders))


def _run(job: Job, heard: Callable[[dict[str, Any]], None], processes: list[subprocess.Popen[str]]) -> None:
    """One process from its beginning to its end."""
    answered: set[int] = set()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        command = [sys.executable, "-m", "tapetum.evaluation.benchmark.predicting"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            env={**os.environ, **_ONE_THREAD},
        )
        processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            with contextlib.suppress(BrokenPipeError), process.stdin:  # it may have ended already
                process.stdin.write(job.to_json())
            for line in process.stdout:
                message = json.loads(line)
                if "error" in message:
                    kind = UsageError if message["usage"] else InputError
                    raise kind(f"{job.model.title}: {message['error']}")
                answered |= {message[key] for key in ("done", "failed") if key in message}
                heard(message)
        errors.seek(0)
        last = ([line.strip() for line in errors if line.strip()] or [""])[-1]
    for index in range(len(job.works)):
        if index not in answered:
            reason = f"its process ended before ({process.returncode}{': ' + last if last else ''})"
            heard({"failed": index, "reason": reason})
