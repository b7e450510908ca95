"""NIQE (Mittal et al., IEEE SPL 2013) and MUSIQ (Ke et al., ICCV 2021), which need no target, as pyiqa computes them.

pyiqa's licence is non-commercial, so tapetum never installs it, not even as an extra: who may use it installs it. It is
imported when one of these measures is asked for, and keeps its weights in torch's hub folder, into which it fetches
them only where :func:`prepare` is told to. Pictures are rounded to 8 bit first.
"""

from __future__ import annotations

import importlib
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.errors import UsageError, os_reason
from tapetum.metrics.pictures import Image, as_uint8, check

_SHORTEST = {"niqe": 192, "musiq": 32}  # NIQE's statistics are of blocks of 96 at two scales
_FILES = {"niqe": "niqe*", "musiq": "musiq_koniq*"}


def niqe(enhanced: Image) -> float:
    """Distance from the statistics of undisturbed photographs. Lower is better.

    Raises:
        ValueError: a side is shorter than 192. UsageError: as :func:`prepare`.
    """
    return _value("niqe", enhanced)


def musiq(enhanced: Image) -> float:
    """Quality as people judged KonIQ-10k's photographs, about 0..100. Higher is better.

    Raises:
        ValueError: a side is shorter than 32. UsageError: as :func:`prepare`.
    """
    return _value("musiq", enhanced)


def prepare(measure: str, download: bool = False) -> Any:
    """The network, ready; pyiqa may fetch its weights where ``download`` says so.

    Raises:
        UsageError: pyiqa is not installed, or its weights are not there and not to be fetched, or cannot be.
    """
    try:
        library = importlib.import_module("pyiqa")
        torch = importlib.import_module("torch")
    except ImportError:
        raise UsageError(
            f"{measure} is computed by pyiqa, which is not installed. Its licence is non-commercial: "
            "where you may use it, `pip install pyiqa`"
        ) from None
    folder = Path(torch.hub.get_dir()) / "pyiqa"
    if not download and not any(folder.glob(_FILES[measure])):
        raise UsageError(f"{measure} needs weights that are not in {folder}: let --download fetch them")
    try:
        return _network(library.create_metric, measure)
    except (OSError, RuntimeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else " ".join(str(error).split())
        raise UsageError(f"{measure}: pyiqa cannot make it: {reason}") from None


@lru_cache(maxsize=2)
def _network(create: Any, measure: str) -> Any:
    return create(measure, device="cpu")


def _value(measure: str, enhanced: Image) -> float:
    check(enhanced, enhanced)
    height, width = enhanced.shape[:2]
    shortest = _SHORTEST[measure]
    if min(height, width) < shortest:
        raise ValueError(f"{measure} needs pictures of at least {shortest} x {shortest}, got {height} x {width}")
    network = prepare(measure)
    import torch

    planes = np.divide(as_uint8(enhanced).transpose(2, 0, 1)[None], 255, dtype=np.float32)
    with torch.inference_mode():
        value = float(network(torch.from_numpy(planes)))
    if not math.isfinite(value):
        raise ValueError(f"{measure} of this picture is no number")
    return value
