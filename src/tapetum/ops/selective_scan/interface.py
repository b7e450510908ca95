"""What users call: arguments checked, dtypes converted, the back end chosen, the gate applied."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tapetum.errors import UsageError
from tapetum.ops.selective_scan import operators, unfused
from tapetum.ops.selective_scan.backends import is_fused


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    *,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """The selective scan (Mamba, arXiv 2312.00752, algorithm 2): per channel a recurrence over N states.

    ``Δ[l] = softplus(delta[l] + delta_bias)`` (or without softplus), ``h[l] = exp(Δ[l] A) h[l-1] + Δ[l] B[l] u[l]``,
    ``h[-1] = 0``, ``y[l] = (<h[l], C[l]> + D u[l]) * SiLU(z[l])``. Computed in float32, or in float64 where u is
    float64, also under autocast.

    Args:
        u, delta, z: ``(batch, M, L)``, any strides.
        A: ``(M, N)``, usually negative.
        B, C: ``(batch, G, N, L)``, channel m takes group ``m // (M / G)``; or ``(batch, N, L)``, one for all.
        D, delta_bias: ``(M)``.
        return_last_state: also give the state after the last step, ``(batch, M, N)``, without gradient.
        backend: "auto", "reference", "cpu" or "triton".

    Returns:
        y ``(batch, M, L)`` in u's dtype; with ``return_last_state`` also the state, in the dtype of the computation.

    Raises:
        UsageError: shapes, dtypes or devices do not go together, or the back end does not work here.
    """
    _check_selective_scan(u, delta, A, B, C, D, z, delta_bias)
    if not isinstance(backend, str):
        raise UsageError(f"selective scan: backend must be the name of one, or auto, got {backend!r}")
    if B.ndim == 3:
        B, C = B[:, None], C[:, None]
    wide = torch.float64 if u.dtype == torch.float64 else torch.float32
    tensors: list[Any] = [None if t is None else t.to(wide) for t in (u, delta, A, B, C, D, delta_bias)]
    y, last_state, _ = operators.selective_scan(*tensors, delta_softplus, _needs_gradient(tensors), backend)
    if z is not None:
        y = y * F.silu(z.to(wide))
    y = y.to(u.dtype)
    return (y, last_state.detach()) if return_last_state else y


def cross_selective_scan(
    x: Tensor,
    x_proj_weight: Tensor,
    dt_projs_weight: Tensor,
    dt_projs_bias: Tensor,
    A_logs: Tensor,
    Ds: Tensor,
    *,
    backend: str = "auto",
) -> Tensor:
    """The four-direction selective scan of a picture (SS2D; VMamba, arXiv 2401.10166, section 4.2).

    Each direction k (rows, columns, both backwards) projects its pixels to ``[δ_low, B, C]`` with
    ``x_proj_weight[k]``, its step sizes are ``softplus(dt_projs_weight[k] δ_low + dt_projs_bias[k])``, and
    ``A = -exp(A_logs)``; the four results are summed at each pixel.

    Args:
        x: ``(batch, E, H, W)``, any strides; fastest in the channels_last memory format.
        x_proj_weight: ``(4, R + 2N, E)``, rows δ_low (R), B (N), C (N).
        dt_projs_weight: ``(4, E, R)``.
        dt_projs_bias: ``(4, E)``.
        A_logs: ``(4E, N)``, row k E + e.
        Ds: ``(4E)``.
        backend: "auto", "reference", "cpu" or "triton".

    Returns:
        ``(batch, E, H, W)`` in x's dtype.

    Raises:
        UsageError: shapes, dtypes or devices do not go together, or the back end does not work here.
    """
    _check_cross(x, x_proj_weight, dt_projs_weight, dt_projs_bias, A_logs, Ds)
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32

    weights = [t.to(wide) for t in (x_proj_weight, dt_projs_weight, dt_projs_bias)]
    tensors: list[Any] = [x.to(wide), *weights, -torch.exp(A_logs.to(wide)), Ds.to(wide)]
    if x.is_meta or is_fused(backend, x.device.type, wide):  # nothing is computed on meta
        y, _ = operators.cross_selective_scan(*tensors, _needs_gradient(tensors), backend)
    else:
        with torch.autocast(x.device.type, enabled=False):
            y = unfused.cross_selective_scan(*tensors, scan=partial(_scan, backend=backend))
    return y.to(x.dtype)


def _scan(*arguments: Any, backend: str) -> Tensor:
    y = selective_scan(*arguments, backend=backend)
    assert isinstance(y, Tensor)
    return y


def _needs_gradient(tensors: list[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _check_selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
) -> None:
    named = {"u": u, "delta": delta, "A": A, "B": B, "C": C, "D": D, "z": z, "delta_bias": delta_bias}
    _check_kinds(named)
    _check_rank("u", u, "(batch, M, L)")
    _check_rank("A", A, "(M, N)")
    batch, channels, length = u.shape
    states = A.shape[1]
    if channels < 1 or states < 1:
        raise UsageError(f"selective scan: A must be (M, N), M and N at least 1, got {tuple(A.shape)}")
    grouped = B.ndim == 4
    groups = B.shape[1] if grouped else 1
    if groups < 1 or channels % groups:
        raise UsageError(f"selective scan: the {channels} channels of u do not divide into the {groups} groups of B")
    shared = (batch, groups, states, length) if grouped else (batch, states, length)
    expected = {
        "delta": (batch, channels, length),
        "A": (channels, states),
        "B": shared,
        "C": shared,
        "D": (channels,),
        "z": (batch, channels, length),
        "delta_bias": (channels,),
    }
    _check_shapes("selective scan", named, expected)


def _check_cross(
    x: Tensor, x_proj_weight: Tensor, dt_projs_weight: Tensor, dt_projs_bias: Tensor, A_logs: Tensor, Ds: Tensor
) -> None:
    named = {
        "x": x,
        "x_proj_weight": x_proj_weight,
        "dt_projs_weight": dt_projs_weight,
        "dt_projs_bias": dt_projs_bias,
        "A_logs": A_logs,
        "Ds": Ds,
    }
    _check_kinds(named)
    _check_rank("x", x, "(batch, E, H, W)")
    _check_rank("dt_projs_weight", dt_projs_weight, "(4, E, R)")
    _check_rank("A_logs", A_logs, "(4E, N)")
    channels, rank, states = x.shape[1], dt_projs_weight.shape[2], A_logs.shape[1]
    if channels < 1 or rank < 1 or states < 1:
        raise UsageError("selective scan: E, R and N must be at least 1")
    expected = {
        "x_proj_weight": (4, rank + 2 * states, channels),
        "dt_projs_weight": (4, channels, rank),
        "dt_projs_bias": (4, channels),
        "A_logs": (4 * channels, states),
        "Ds": (4 * channels,),
    }
    _check_shapes("cross selective scan", named, expected)


_OPTIONAL = ("D", "z", "delta_bias")


def _check_kinds(named: Mapping[str, Tensor | None]) -> None:
    first = next(iter(named.values()))
    for name, tensor in named.items():
        if tensor is None and name in _OPTIONAL:
            continue
        if not isinstance(tensor, Tensor):
            raise UsageError(f"selective scan: {name} must be a tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise UsageError(f"selective scan: {name} must be of a floating type, got {tensor.dtype}")
        if first is not None and tensor.device != first.device:
            raise UsageError(f"selective scan: {name} is on {tensor.device}, but the input is on {first.device}")


def _check_rank(name: str, tensor: Tensor, shape: str) -> None:
    if tensor.ndim != shape.count(",") + 1:
        raise UsageError(f"selective scan: {name} must be {shape}, got {tuple(tensor.shape)}")


def _check_shapes(what: str, named: Mapping[str, Tensor | None], expected: dict[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        tensor = named[name]
        if tensor is not None and tuple(tensor.shape) != shape:
            raise UsageError(f"{what}: {name} must be {shape} to fit the others, got {tuple(tensor.shape)}")
