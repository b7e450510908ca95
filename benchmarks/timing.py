"""What a benchmark needs: core-seconds, wall time and peak memory, of code and of whole processes. Tables in markdown.

This module imports nothing heavy: Linux counts the memory of the process that starts another one as the other's peak.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Usage:
    """wall and cores: seconds; peak: bytes of resident memory; text: what was printed."""

    wall: float
    cores: float
    peak: int
    text: str = ""


def measure(call: Callable[[], object], repeats: int = 5) -> Usage:
    """Medians over ``repeats`` calls in this process, after one that is not counted. The peak is the process's."""
    call()
    walls, cores = [], []
    for _ in range(repeats):
        wall, core = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    return Usage(statistics.median(walls), statistics.median(cores), peak_memory())


def peak_memory() -> int:
    """Bytes of resident memory that this process had at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_now() -> int:
    """Bytes of resident memory that this process has now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def run_process(*command: str, timeout: float = 600) -> Usage:
    """One whole process. Raises RuntimeError with what it printed where it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{text}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Usage(wall, usage.ru_utime + usage.ru_stime, peak, text)


def run_part(script: str, part: str, **arguments: Any) -> Any:
    """A function of a benchmark script in a process of its own: the script's ``main`` calls it by name with the
    arguments, and prints what it returns as JSON in the last line."""
    usage = run_process(sys.executable, script, part, json.dumps(arguments))
    return json.loads(usage.text.splitlines()[-1])


def dispatch(parts: dict[str, Callable[..., Any]], whole: Callable[[], None]) -> None:
    """``main`` of a benchmark script: without arguments everything; else one part, for :func:`run_part`."""
    if len(sys.argv) == 3:
        print(json.dumps(parts[sys.argv[1]](**json.loads(sys.argv[2]))))
    else:
        whole()


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(header), *([f"{v:.3g}" if isinstance(v, float) else str(v) for v in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tapetum_command() -> str:
    """The installed command line program, beside this Python."""
    return str(Path(sys.executable).with_name("tapetum"))
