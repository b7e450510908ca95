"""The operators as torch sees them: opaque to ``torch.compile`` and ``torch.export``, differentiable, any back end.

All tensors have one dtype and device (``interface.py`` sees to that).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tapetum.errors import UsageError
from tapetum.ops.selective_scan import unfused
from tapetum.ops.selective_scan.backends import choose
from tapetum.ops.selective_scan.reference import new_states

_ARGUMENTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias, bool delta_softplus, "
)


def _forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    keep_states: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    module = choose(backend, u.device, u.dtype)
    with torch.autocast(u.device.type, enabled=False):
        return module.forward(u, delta, A, B, C, D, delta_bias, delta_softplus, keep_states)


def _forward_fake(u: Tensor, delta: Tensor, A: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, length = u.shape
    states = new_states(u, length, A.shape[1], channels, rest[-2])
    return u.new_empty(u.shape), u.new_empty(batch, channels, A.shape[1]), states


def _backward(
    grad: Tensor,
    states: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    module = choose(backend, u.device, u.dtype)
    with torch.autocast(u.device.type, enabled=False):
        return module.backward(grad, states, u, delta, A, B, C, D, delta_bias, delta_softplus)


def _backward_fake(
    grad: Tensor, states: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    channels = A.shape[0]
    return (*(t.new_empty(t.shape) for t in (u, delta, A, B, C)), A.new_empty(channels), A.new_empty(channels))


selective_scan = torch.library.custom_op(
    "tapetum::selective_scan",
    _forward,
    mutates_args=(),
    schema=f"({_ARGUMENTS} bool keep_states, str backend) -> (Tensor, Tensor, Tensor)",
)
selective_scan.register_fake(_forward_fake)

selective_scan_backward = torch.library.custom_op(
    "tapetum::selective_scan_backward",
    _backward,
    mutates_args=(),
    schema=f"(Tensor grad, Tensor states, {_ARGUMENTS} str backend) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
selective_scan_backward.register_fake(_backward_fake)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.delta_softplus, _, ctx.backend = inputs
    ctx.save_for_backward(output[2], *tensors)


def _gradients(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    states, *tensors = ctx.saved_tensors
    given = selective_scan_backward(grad, states, *tensors, ctx.delta_softplus, ctx.backend)
    return (*(g if t is not None else None for g, t in zip(given, tensors, strict=True)), None, None, None)


selective_scan.register_autograd(_gradients, setup_context=_keep_for_backward)


_CROSS_ARGUMENTS = "Tensor x, Tensor x_proj_weight, Tensor dt_projs_weight, Tensor dt_projs_bias, Tensor A, Tensor Ds, "


def _cross_forward(
    x: Tensor,
    x_proj_weight: Tensor,
    dt_projs_weight: Tensor,
    dt_projs_bias: Tensor,
    A: Tensor,
    Ds: Tensor,
    keep_states: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    module = choose(backend, x.device, x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        if hasattr(module, "cross_forward"):
            return module.cross_forward(x, x_proj_weight, dt_projs_weight, dt_projs_bias, A, Ds, keep_states)
        # a program that was exported on a machine with a fused back end, on one without: it does not train there

        def scan(*tensors: Any) -> Tensor:
            u, delta, A, B, C, D, _, delta_bias, delta_softplus = tensors
            return module.forward(u, delta, A, B, C, D, delta_bias, delta_softplus, False)[0]

        y = unfused.cross_selective_scan(x, x_proj_weight, dt_projs_weight, dt_projs_bias, A, Ds, scan)
        return y.contiguous(memory_format=torch.channels_last), x.new_empty(0)


def _cross_forward_fake(x: Tensor, x_proj_weight: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    _, channels, height, width = x.shape
    A = rest[2]
    return _channels_last_like(x), new_states(x, height * width, A.shape[1], 4 * channels, rest[-2])


def _channels_last_like(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    return x.new_empty(batch, height, width, channels).permute(0, 3, 1, 2)


def _cross_backward(
    grad: Tensor,
    states: Tensor,
    x: Tensor,
    x_proj_weight: Tensor,
    dt_projs_weight: Tensor,
    dt_projs_bias: Tensor,
    A: Tensor,
    Ds: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    module = choose(backend, x.device, x.dtype)
    if not hasattr(module, "cross_backward"):
        raise UsageError("cross selective scan: this exported program trains only where a fast back end works")
    with torch.autocast(x.device.type, enabled=False):
        return module.cross_backward(grad, states, x, x_proj_weight, dt_projs_weight, dt_projs_bias, A, Ds)


def _cross_backward_fake(grad: Tensor, states: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return (_channels_last_like(x), *(t.new_empty(t.shape) for t in rest[:-1]))


cross_selective_scan = torch.library.custom_op(
    "tapetum::cross_selective_scan",
    _cross_forward,
    mutates_args=(),
    schema=f"({_CROSS_ARGUMENTS} bool keep_states, str backend) -> (Tensor, Tensor)",
)
cross_selective_scan.register_fake(_cross_forward_fake)

cross_selective_scan_backward = torch.library.custom_op(
    "tapetum::cross_selective_scan_backward",
    _cross_backward,
    mutates_args=(),
    schema=f"(Tensor grad, Tensor states, {_CROSS_ARGUMENTS} str backend) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
cross_selective_scan_backward.register_fake(_cross_backward_fake)


def _keep_for_cross_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, _, ctx.backend = inputs
    ctx.save_for_backward(output[1], *tensors)


def _cross_gradients(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    states, *tensors = ctx.saved_tensors
    return (*cross_selective_scan_backward(grad, states, *tensors, ctx.backend), None, None)


cross_selective_scan.register_autograd(_cross_gradients, setup_context=_keep_for_cross_backward)
