"""Weights that a parity case does not ship: made from key names and shapes alone (fill rule "v1").

The numbers of a key come from NumPy's default generator, seeded with the CRC-32 of the key's text. First match wins:

1. ``overrides``, {fnmatch pattern: rule} in order, a rule being one of
   "keep" (leave the key out: the network keeps its own value), {"const": c}, {"normal": [mean, std]},
   {"uniform": [low, high]}, {"log_arange": std} (log(1..n) along the last axis, + std * N(0, 1)),
   {"orthogonal": gain} (a square or 1x1-convolution orthogonal matrix, times gain);
2. two dimensions or more: N(0, 1) * 0.7 / sqrt(fan_in), fan_in = prod(shape[1:]);
3. a key that ends in "weight": 1 + 0.05 N(0, 1);
4. a key that ends in "running_var": 1 + 0.05 |N(0, 1)|;
5. anything else: 0.02 N(0, 1).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Shape = tuple[int, ...]


def fill_state(manifest: Mapping[str, Sequence[int]], overrides: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """key -> float32 array, without the keys whose rule is "keep"."""
    rules = {key: next((r for pattern, r in overrides.items() if fnmatchcase(key, pattern)), None) for key in manifest}
    return {key: fill(key, tuple(manifest[key]), rule) for key, rule in rules.items() if rule != "keep"}


def fill(key: str, shape: Shape, rule: Mapping[str, Any] | None) -> NDArray[np.float32]:
    """One tensor. ``rule`` None: rules 2 to 5. Raises ValueError for a rule that v1 does not have."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if rule is None:
        return _by_name(key, shape, rng.standard_normal(shape)).astype(np.float32)
    if len(rule) != 1 or next(iter(rule)) not in _RULES:
        raise ValueError(f"{key}: fill rule {rule!r} is unknown (v1 has keep, {', '.join(_RULES)})")
    kind, argument = next(iter(rule.items()))
    return _RULES[kind](rng, shape, argument).astype(np.float32)


def _by_name(key: str, shape: Shape, noise: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(shape) >= 2:
        return noise * 0.7 / math.sqrt(math.prod(shape[1:]))
    if key.endswith("weight"):
        return 1 + 0.05 * noise
    if key.endswith("running_var"):
        return 1 + 0.05 * np.abs(noise)
    return 0.02 * noise


def _log_arange(rng: Generator, shape: Shape, std: float) -> NDArray[np.float64]:
    return np.log(np.arange(1, shape[-1] + 1)) + std * rng.standard_normal(shape)


def _orthogonal(rng: Generator, shape: Shape, gain: float) -> NDArray[np.float64]:
    q, r = np.linalg.qr(rng.standard_normal((shape[0], shape[0])))
    return (gain * q * np.sign(np.diag(r))).reshape(shape)


_RULES: dict[str, Callable[[Generator, Shape, Any], NDArray[np.float64]]] = {
    "const": lambda rng, shape, value: np.full(shape, value, np.float64),
    "normal": lambda rng, shape, mean_std: mean_std[0] + mean_std[1] * rng.standard_normal(shape),
    "uniform": lambda rng, shape, bounds: rng.uniform(bounds[0], bounds[1], shape),
    "log_arange": _log_arange,
    "orthogonal": _orthogonal,
}
