"""What a report must say of where its figures come from: machine, versions, commit, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from pathlib import Path

import tapetum

_PACKAGES = ("numpy", "onnxruntime", "torch", "pyvips")


def machine() -> str:
    """Processor and system: "AMD EPYC 9B14, Linux x86_64"."""
    return f"{_processor()}, {platform.system()} {platform.machine()}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def versions() -> dict[str, str]:
    """Of this package, Python, and the libraries that have a part in the figures."""
    found = {"tapetum": tapetum.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
