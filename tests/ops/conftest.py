"""What the tests of the operators share: inputs, and the definition as a naive loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Inputs = dict[str, Tensor]


def _inputs(
    batch: int = 2,
    groups: int = 2,
    per_group: int = 3,
    states: int = 5,
    length: int = 7,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Inputs:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    channels = groups * per_group
    return {
        "u": normal(batch, channels, length),
        "delta": normal(batch, channels, length),
        "A": -torch.exp(normal(channels, states)),
        "B": normal(batch, groups, states, length),
        "C": normal(batch, groups, states, length),
        "D": normal(channels),
        "delta_bias": normal(channels),
    }


def _cross_inputs(
    batch: int = 2,
    channels: int = 6,
    height: int = 5,
    width: int = 3,
    states: int = 4,
    rank: int = 2,
    dtype: torch.dtype = torch.float64,
) -> Inputs:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return {
        "x": normal(batch, channels, height, width),
        "x_proj_weight": normal(4, rank + 2 * states, channels) / channels**0.5,
        "dt_projs_weight": normal(4, channels, rank),
        "dt_projs_bias": normal(4, channels),
        "A_logs": normal(4 * channels, states),
        "Ds": normal(4 * channels),
    }


def _naive(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """One step after the other; groups by repetition. Differentiable by autograd."""
    if B.ndim == 3:
        B, C = B[:, None], C[:, None]
    repeat = u.shape[1] // B.shape[1]
    B, C = B.repeat_interleave(repeat, 1), C.repeat_interleave(repeat, 1)
    step = delta if delta_bias is None else delta + delta_bias[:, None]
    if delta_softplus:
        step = torch.log1p(torch.exp(-step.abs())) + step.clamp(min=0)
    h = u.new_zeros(*u.shape[:2], A.shape[1])
    ys = []
    for t in range(u.shape[-1]):
        h = torch.exp(step[:, :, t, None] * A) * h + step[:, :, t, None] * B[..., t] * u[:, :, t, None]
        ys.append((h * C[..., t]).sum(-1))
    y = torch.stack(ys, -1)
    if D is not None:
        y = y + D[:, None] * u
    return (y if z is None else y * z * torch.sigmoid(z)), h


@pytest.fixture(scope="session")
def scan_inputs() -> Callable[..., Inputs]:
    return _inputs


@pytest.fixture(scope="session")
def cross_inputs() -> Callable[..., Inputs]:
    return _cross_inputs


@pytest.fixture(scope="session")
def naive() -> Callable[..., tuple[Tensor, Tensor]]:
    return _naive


@pytest.fixture(scope="session")
def gradients() -> Callable[..., list[Tensor]]:
    """The value of a function, and the gradients of a fixed random weighting of it, in the order of the arguments."""

    def compute(function: Callable[..., Tensor], given: Inputs, dtype: torch.dtype) -> list[Tensor]:
        leaves = {name: t.detach().to(dtype).requires_grad_() for name, t in given.items()}
        y = function(**leaves)
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
        (y * weights).sum().backward()
        found = [leaf.grad for leaf in leaves.values()]
        assert all(g is not None for g in found)
        return [y.detach(), *(g for g in found if g is not None)]

    return compute


@pytest.fixture(scope="session")
def sensitivity() -> Callable[..., list[float]]:
    """How far each result of a function in float64 moves when its inputs are rounded to float32 in one way or another.

    A sum whose parts cancel moves far for its size, and no float32 arithmetic can be asked to be nearer than that.
    """

    def compute(function: Callable[..., list[Tensor]], given: Inputs, exact: list[Tensor]) -> list[float]:
        moved = []
        for seed in range(8):
            draw = torch.Generator().manual_seed(seed)
            shaken = {
                name: t * (1 + 2**-24 * (2 * torch.rand(t.shape, generator=draw, dtype=t.dtype) - 1))
                for name, t in given.items()
            }
            moved.append([float((a - b).abs().max()) for a, b in zip(function(**shaken), exact, strict=True)])
        return [max(each) for each in zip(*moved, strict=True)]

    return compute


@pytest.fixture(scope="session")
def largest_error() -> Callable[[Tensor, Tensor], float]:
    """Relative to the largest expected value."""

    def compare(found: Tensor, expected: Tensor) -> float:
        assert found.shape == expected.shape
        if not expected.numel():
            return 0.0
        return float((found.double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=1e-30))

    return compare
