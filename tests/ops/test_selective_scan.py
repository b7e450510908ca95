"""The selective scan against a naive loop, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tapetum.ops.selective_scan import selective_scan


def naive(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor) -> Tensor:
    """Spec: one step after the other, one state each, groups by repetition; differentiable by autograd."""
    repeat = u.shape[1] // B.shape[1]
    B, C = B.repeat_interleave(repeat, 1), C.repeat_interleave(repeat, 1)
    step = torch.nn.functional.softplus(delta + bias[:, None], threshold=100)
    h = u.new_zeros(*u.shape[:2], A.shape[1])
    ys = []
    for t in range(u.shape[-1]):
        h = torch.exp(step[:, :, t, None] * A) * h + step[:, :, t, None] * B[..., t] * u[:, :, t, None]
        ys.append((h * C[..., t]).sum(-1) + D * u[:, :, t])
    return torch.stack(ys, -1)


def inputs(
    batch: int = 2,
    groups: int = 2,
    per_group: int = 3,
    states: int = 5,
    length: int = 7,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

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


@pytest.mark.parametrize("length", [1, 2, 7, 128, 129, 300])
def test_reference_equals_the_naive_loop(length: int) -> None:
    given = inputs(length=length)
    y = selective_scan(**given, delta_softplus=True, backend="reference")
    expected = naive(*(given[name] for name in ("u", "delta", "A", "B", "C", "D", "delta_bias")))
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


def test_gradients_of_the_reference() -> None:
    given = {name: t.requires_grad_() for name, t in inputs().items()}

    def call(*tensors: Tensor) -> Tensor:
        y = selective_scan(**dict(zip(given, tensors, strict=True)), delta_softplus=True, backend="reference")
        assert isinstance(y, Tensor)
        return y

    assert torch.autograd.gradcheck(call, tuple(given.values()))
