"""The selective scan in plain torch: any device, float32 or float64, forward and backward as the definition says.

Every back end is such a module: ``forward`` and ``backward`` with these signatures. ``states`` are the states before
each chunk of ``CHUNK`` steps, ``(batch, chunks, N, M)``; from them the backward pass computes the others again.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 128


def new_states(like: Tensor, length: int, states: int, channels: int, keep: bool) -> Tensor:
    """Room for the states before each chunk of a scan, ``(batch, chunks, N, M)``; ``(0,)`` where none are kept."""
    return like.new_empty(len(like), -(-length // CHUNK), states, channels) if keep else like.new_empty(0)


def forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    keep_states: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """``h[l] = exp(Δ[l] A) h[l-1] + Δ[l] B[l] u[l]``, ``y[l] = <h[l], C[l]> + D u[l]``.

    u, delta ``(batch, M, L)``, A ``(M, N)``, B, C ``(batch, G, N, L)``, D, delta_bias ``(M)``
    -> y ``(batch, M, L)``, the last state ``(batch, M, N)``, and the states before the chunks (or ``(0,)``).
    """
    batch, channels, length = u.shape
    state = u.new_zeros(batch, channels, A.shape[1])
    kept, parts = [], []
    for chunk in _chunks(length):
        kept.append(state.transpose(1, 2))
        step = _step_sizes(delta[..., chunk], delta_bias, delta_softplus)
        states = _states(state, u[..., chunk], step, A, B[..., chunk])
        state = states[-1]
        parts.append(torch.einsum("lbmn,lbmn->bml", states, _per_channel(C[..., chunk], channels)))
    y = torch.cat(parts, -1) if parts else torch.zeros_like(u)
    if D is not None:
        y = y + D[:, None] * u
    return y, state.clone(), _stacked(kept, state) if keep_states else u.new_empty(0)


def backward(
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C, D and delta_bias (the last two are zeros where there is none) from y's."""
    batch, channels, length = u.shape
    groups = B.shape[1]
    grad_u, grad_delta = torch.zeros_like(u), torch.zeros_like(delta)
    grad_A, grad_B, grad_C = torch.zeros_like(A), torch.zeros_like(B), torch.zeros_like(C)
    carried = u.new_zeros(batch, channels, A.shape[1])  # exp(Δ[l+1] A) g[l+1]
    for index, chunk in reversed(list(enumerate(_chunks(length)))):
        now_u, now_grad = _time_first(u[..., chunk]), _time_first(grad[..., chunk])
        raw = delta[..., chunk]
        step = _step_sizes(raw, delta_bias, delta_softplus)
        start = states[:, index].transpose(1, 2)
        h = _states(start, u[..., chunk], step, A, B[..., chunk])
        before = torch.cat([start[None], h[:-1]])
        now_B, now_C, step = (
            _per_channel(B[..., chunk], channels),
            _per_channel(C[..., chunk], channels),
            _time_first(step),
        )
        decay = torch.exp(step * A)
        g = now_C * now_grad
        for t in reversed(range(len(g))):
            g[t] += carried
            carried = decay[t] * g[t]
        flow = decay * before * g
        towards_B = (now_B * g).sum(-1)
        grad_step = now_u[..., 0] * towards_B + (A * flow).sum(-1)
        if delta_softplus:
            biased = raw if delta_bias is None else raw + delta_bias[:, None]
            grad_step = grad_step * torch.sigmoid(biased).permute(2, 0, 1)
        grad_delta[..., chunk] = grad_step.permute(1, 2, 0)
        grad_u[..., chunk] = (step[..., 0] * towards_B).permute(1, 2, 0)
        grad_A += (step * flow).sum((0, 1))
        grad_B[..., chunk] = _per_group(step * now_u * g, groups)
        grad_C[..., chunk] = _per_group(now_grad * h, groups)
    if D is not None:
        grad_u = grad_u + D[:, None] * grad
    return grad_u, grad_delta, grad_A, grad_B, grad_C, (u * grad).sum((0, 2)), grad_delta.sum((0, 2))


def _chunks(length: int) -> list[slice]:
    return [slice(begin, min(begin + CHUNK, length)) for begin in range(0, length, CHUNK)]


def _stacked(kept: list[Tensor], state: Tensor) -> Tensor:
    batch, channels, states = state.shape
    return torch.stack(kept, 1) if kept else state.new_empty(batch, 0, states, channels)


def _step_sizes(delta: Tensor, delta_bias: Tensor | None, delta_softplus: bool) -> Tensor:
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    # threshold: above it torch takes the identity; in float64 the difference shows at 20, not at 40
    return F.softplus(delta, threshold=40) if delta_softplus else delta


def _states(state: Tensor, u: Tensor, step: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """The states after each step of a chunk: ``(l, batch, M, N)``."""
    decay = torch.exp(_time_first(step) * A)
    states = _time_first(step * u) * _per_channel(B, u.shape[1])
    for t in range(len(states)):
        states[t] += decay[t] * state
        state = states[t]
    return states


def _time_first(x: Tensor) -> Tensor:
    """``(batch, M, l) -> (l, batch, M, 1)``"""
    return x.permute(2, 0, 1)[..., None]


def _per_channel(x: Tensor, channels: int) -> Tensor:
    """``(batch, G, N, l) -> (l, batch, M, N)``: to each channel what its group has."""
    return x.permute(3, 0, 1, 2).repeat_interleave(channels // x.shape[1], 2)


def _per_group(x: Tensor, groups: int) -> Tensor:
    """``(l, batch, M, N) -> (batch, G, N, l)``: the sum over the channels of each group."""
    return x.unflatten(2, (groups, -1)).sum(3).permute(1, 2, 3, 0)
