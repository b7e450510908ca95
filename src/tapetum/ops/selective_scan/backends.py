"""Which back ends there are on this machine, and which one computes."""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from types import ModuleType

import torch

from tapetum.errors import TapetumWarning, UsageError

NAMES = ("reference", "cpu", "triton")


def available_backends() -> list[str]:
    """Names of the back ends that work on this machine, "reference" first."""
    return [name for name in NAMES if isinstance(_load(name), ModuleType)]


def choose(backend: str, device: torch.device, dtype: torch.dtype) -> ModuleType:
    """The module that computes: the named one, or with "auto" the fastest for the device.

    Where the fast back end of a device does not work, "auto" says so once and takes the reference.

    Raises:
        UsageError: no such name, or the named one does not work here or for these tensors.
    """
    if backend == "auto":
        return _automatic(device.type, dtype)
    if backend not in NAMES:
        raise UsageError(f"unknown backend {backend!r} of the selective scan: choose from auto, {', '.join(NAMES)}")
    module = _load(backend)
    if not isinstance(module, ModuleType):
        raise UsageError(f"the backend {backend} of the selective scan does not work here: {module}")
    if backend == "reference":
        return module
    expected = getattr(module, "DEVICE", backend)
    if device.type != expected:
        raise UsageError(f"the backend {backend} of the selective scan takes tensors on {expected}, got {device.type}")
    if dtype == torch.float64:
        raise UsageError(f"the backend {backend} of the selective scan computes in float32; for float64 take reference")
    return module


@torch.compiler.assume_constant_result
def is_fused(backend: str, device: str, dtype: torch.dtype) -> bool:
    """Whether the back end that computes has a cross scan of its own. Raises what :func:`choose` raises."""
    return hasattr(choose(backend, torch.device(device), dtype), "cross_forward")


def _automatic(device: str, dtype: torch.dtype) -> ModuleType:
    name = {"cpu": "cpu", "cuda": "triton"}.get(device, "reference")
    if dtype == torch.float64:
        name = "reference"
    module = _load(name)
    if isinstance(module, ModuleType):
        return module
    _warn_once(name, module)
    return _loaded("reference")


@cache
def _warn_once(name: str, reason: str) -> None:
    warnings.warn(f"the selective scan runs in its slow reference form, as {name} fails: {reason}", TapetumWarning, 4)


@cache
def _load(name: str) -> ModuleType | str:
    """The back end's module, ready to compute, or why it does not work here."""
    try:
        return _loaded(name)
    except Exception as error:  # whatever a compiler or a driver raises must not stop the reference
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _loaded(name: str) -> ModuleType:
    module = importlib.import_module(f"tapetum.ops.selective_scan.{name}")
    if hasattr(module, "prepare"):
        module.prepare()
    return module
