"""What this computer has to offer: processor cores and memory that this process may use, and a place for caches."""

from __future__ import annotations

import os
from pathlib import Path

_UNKNOWN_MEMORY = 2 * 10**9  # assumed free where the system does not say
_CGROUP = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Cores that this process may use: affinity and a container's quota count, unlike in ``os.cpu_count``; and at most
    ``TAPETUM_THREADS``, where the environment has that."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    quota = _read_words(_CGROUP / "cpu.max")
    if len(quota) == 2 and quota[0] != "max":
        cores = min(cores, max(1, round(int(quota[0]) / int(quota[1]))))
    wanted = os.environ.get("TAPETUM_THREADS", "")
    return min(cores, max(1, int(wanted))) if wanted.isdecimal() else cores


def free_memory() -> int:
    """Bytes of main memory that can be used without swapping, within a container's limit."""
    free = _system_free_memory()
    limit = _read_words(_CGROUP / "memory.max")
    used = _read_words(_CGROUP / "memory.current")
    if limit and used and limit[0] != "max":
        # files that were read and are kept as long as nobody needs the memory
        stat = dict(line.split() for line in _read_lines(_CGROUP / "memory.stat"))
        free = min(free, max(0, int(limit[0]) - int(used[0]) + int(stat.get("inactive_file", 0))))
    return free


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/tapetum``, which is ``~/.cache/tapetum`` where that is not set: for what can be made again."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "tapetum"


def _system_free_memory() -> int:
    for line in _read_lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN_MEMORY


def _read_words(path: Path) -> list[str]:
    lines = _read_lines(path)
    return lines[0].split() if lines else []


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
