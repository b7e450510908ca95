"""Starts the kernels: on sequences (signatures as in ``reference.py``), and on a picture in its four orders."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tapetum.errors import UsageError
from tapetum.ops.selective_scan.reference import CHUNK, new_states
from tapetum.ops.selective_scan.triton import kernels as _kernels
from tapetum.ops.selective_scan.unfused import DIRECTIONS, channels_last

kernels: Any = _kernels  # typed as the functions they are written as, not as what triton.jit makes of them
SEGMENT = 2 * CHUNK  # steps that one program takes; a short picture still gives many programs
CHANNELS = 8  # of one program: eight floats are a sector of memory, whichever way the tensors lie
TILE, TILE_BACK = 8, 4  # steps at a time: with more the compiler runs out of registers
SPLITS = 2  # programs that share the channels of a group in the backward pass; each has its own gradients of B and C
LARGEST_GRID = 65_535  # programs along the second and third axis
LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class _Sequence:
    """What the scan goes over: tensors ``(batch, M, pixels)`` of any strides, and the order of the pixels.

    Attributes:
        u: ``(batch, M, pixels)``
        delta: the same; or None, where δ is made from the rows.
        rows: ``(batch, G, pixels, R + 2N)``: δ_low (R may be 0), B, C of each pixel.
        weights: ``(M, R)``, of δ from δ_low.
        A: ``(N, M)``, times log2(e).
        D, bias: ``(M)``
        softplus: Δ goes through softplus.
        columns: column after column of a picture ``(height, width)``, else as the pixels lie.
        sign: -1: from the last step to the first.
    """

    u: Tensor
    delta: Tensor | None
    rows: Tensor
    weights: Tensor | None
    A: Tensor
    D: Tensor
    bias: Tensor
    softplus: bool
    columns: bool = False
    sign: int = 1
    height: int = 1
    width: int = 1

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """channels, per_group, length, height, width, as the kernels take them."""
        _, channels, length = self.u.shape
        return channels, channels // self.rows.shape[1], length, self.height, self.width

    @property
    def segments(self) -> int:
        return -(-self.u.shape[2] // SEGMENT)

    def meta(self, most: int) -> dict[str, Any]:
        """What the kernels take as constants; ``most``: steps of a tile, if there are at most 32 states."""
        states, padded = len(self.A), _power_of_two(len(self.A))
        return {
            "sign": self.sign,
            "COLUMNS": self.columns,
            "RANK": self.rows.shape[3] - 2 * states,
            "SOFTPLUS": self.softplus,
            "STATES": states,
            "PADDED": padded,
            "CHANNELS": CHANNELS,
            "TILE": max(1, min(most, 32 * most // padded)),  # keeps (TILE, N, CHANNELS) in one warp's registers
            "SEGMENT": SEGMENT,
            "num_warps": 1,
        }

    def step_tensors(self) -> tuple[Any, ...]:
        """delta with its strides, rows with their length, weights."""
        absent = self.u  # never read
        delta = absent if self.delta is None else self.delta
        return (*_strided(delta), self.rows, self.rows.shape[3], absent if self.weights is None else self.weights)

    def pass_on(self, borders: Tensor, sums: Tensor, backwards: bool) -> None:
        size, block = self.A.numel(), 128
        grid = (-(-size // block), len(self.u))
        kernels.pass_on[grid](
            borders, sums, self.A, self.segments, self.A.shape[1], size, BACKWARDS=backwards, BLOCK=block, num_warps=4
        )

    def borders(self) -> tuple[Tensor, Tensor]:
        batch, channels, _ = self.u.shape
        return (
            self.u.new_empty(batch, self.segments, len(self.A), channels),
            self.u.new_empty(batch, self.segments, channels),
        )


def _check_grid(sequence: _Sequence) -> None:
    """Raises UsageError where CUDA cannot launch so many programs."""
    if max(sequence.segments, len(sequence.u)) > LARGEST_GRID:
        raise UsageError(
            f"selective scan: {sequence.segments} segments of a batch of {len(sequence.u)} are more than CUDA launches "
            f"at once ({LARGEST_GRID}): take tiles, or backend='reference'"
        )


def _scan(sequence: _Sequence, y: Tensor, last: Tensor, kept: Tensor | None, add: bool) -> None:
    """Forward: y ``(batch, M, pixels)`` is written or (``add``) added to; last ``(batch, N, M)`` and, where there is
    one, kept ``(batch, chunks, N, M)`` are written."""
    s = sequence
    _check_grid(s)
    channels, per_group, *_ = s.sizes
    borders, sums = s.borders()
    grid = (channels // per_group * -(-per_group // CHANNELS), s.segments, len(s.u))

    def run(whole: bool) -> None:
        kernels.scan[grid](
            *_strided(s.u), *s.step_tensors(), s.A, s.D, s.bias, borders, sums, *_strided(y), last,
            *((last, 0) if kept is None else (kept, kept.stride(1))), *s.sizes,
            WHOLE=whole, KEEP=whole and kept is not None, ADD=add, CHUNK=CHUNK, **s.meta(TILE),
        )  # fmt: skip

    with _on(s.u):
        if s.segments == 1:
            borders.zero_()
        else:
            run(whole=False)
            s.pass_on(borders, sums, backwards=False)
        run(whole=True)


def _retreat(
    sequence: _Sequence, grad: Tensor, kept: Tensor, grad_u: Tensor, grad_delta: Tensor, add: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Backward: grad_u is written or (``add``) added to, grad_delta is written.

    Returns the gradients of B and C ``(batch, G, pixels, 2N)``, of A ``(M, N)``, D and bias ``(M)``."""
    s = sequence
    _, per_group, length, *_ = s.sizes
    batch, groups, states = len(s.u), s.rows.shape[1], len(s.A)
    meta = s.meta(TILE_BACK)
    blocks = -(-per_group // CHANNELS)
    splits = min(SPLITS, blocks)
    borders, sums = s.borders()
    of_A, of_D, of_bias = torch.empty_like(borders), torch.empty_like(sums), torch.empty_like(sums)
    of_rows = s.u.new_empty(splits, batch, groups, length, 2 * states)
    programs = batch * s.segments * groups * splits
    scratch = s.u.new_empty(programs, CHUNK // meta["TILE"], meta["PADDED"], CHANNELS)
    with _on(s.u):
        if s.segments == 1:
            borders.zero_()
        else:
            kernels.retreat_ends[(groups * blocks, s.segments, batch)](
                *_strided(grad), *s.step_tensors(), s.A, s.bias, borders, sums, *s.sizes, **meta
            )
            s.pass_on(borders, sums, backwards=True)
        kernels.retreat[(groups * splits, s.segments, batch)](
            *_strided(grad), *_strided(s.u), *s.step_tensors(), s.A, s.D, s.bias, borders, kept, kept.stride(1),
            scratch, *_strided(grad_u), *_strided(grad_delta), of_rows, of_A, of_D, of_bias, *s.sizes,
            ADD=add, CHUNK=CHUNK, SPLITS=splits, **meta,
        )  # fmt: skip
    return of_rows.sum(0), of_A.sum((0, 1)).T, of_D.sum((0, 1)), of_bias.sum((0, 1))


def _strided(tensor: Tensor) -> tuple[Tensor, int, int, int]:
    batch, channel, pixel = tensor.stride()
    return tensor, batch, channel, pixel


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _on(tensor: Tensor) -> AbstractContextManager[Any]:
    """Triton starts kernels on the current device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _sequence(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> _Sequence:
    zeros = u.new_zeros(u.shape[1])
    return _Sequence(
        u,
        delta,
        torch.cat([B, C], 2).transpose(2, 3).contiguous(),  # a program reads all states of a step at once
        None,
        (A * LOG2_E).T.contiguous(),
        zeros if D is None else D.contiguous(),
        zeros if delta_bias is None else delta_bias.contiguous(),
        delta_softplus,
    )


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
    batch, channels, length = u.shape
    states = A.shape[1]
    kept = new_states(u, length, states, channels, keep_states)
    y, last = u.new_empty(u.shape), u.new_zeros(batch, states, channels)
    if u.numel():
        _scan(
            _sequence(u, delta, A, B, C, D, delta_bias, delta_softplus),
            y,
            last,
            kept if keep_states else None,
            add=False,
        )
    return y, last.transpose(1, 2).contiguous(), kept


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
    zeros = u.new_zeros(u.shape[1])
    if not u.numel():
        return *(t.new_zeros(t.shape) for t in (u, delta, A, B, C)), zeros, zeros.clone()  # type: ignore[return-value]
    grad_u, grad_delta = u.new_empty(u.shape), delta.new_empty(delta.shape)
    sequence = _sequence(u, delta, A, B, C, D, delta_bias, delta_softplus)
    of_rows, of_A, of_D, of_bias = _retreat(sequence, grad, states, grad_u, grad_delta, add=False)
    of_B, of_C = (t.clone(memory_format=torch.contiguous_format) for t in of_rows.transpose(2, 3).chunk(2, 2))
    return grad_u, grad_delta, of_A.contiguous(), of_B, of_C, of_D, of_bias


class _CrossScan:
    """What forward and backward of the four directions share. Their results are added one after the other, in the order
    rows, rows backwards, columns, columns backwards, so that they are always the same."""

    def __init__(
        self,
        x: Tensor,
        x_proj_weight: Tensor,
        dt_projs_weight: Tensor,
        dt_projs_bias: Tensor,
        A: Tensor,
        Ds: Tensor,
    ) -> None:
        self.batch, self.channels, self.height, self.width = x.shape
        self.length, self.states = self.height * self.width, A.shape[1]
        self.rank = dt_projs_weight.shape[2]
        self.pixels = channels_last(x)
        self.projections, self.weights, self.bias = x_proj_weight, dt_projs_weight.contiguous(), dt_projs_bias
        self.A = (A * LOG2_E).unflatten(0, (4, self.channels)).transpose(1, 2).contiguous()
        self.D = Ds.unflatten(0, (4, self.channels)).contiguous()

    def sequence(self, direction: int) -> _Sequence:
        """The picture in one of its orders. The projections are of one direction at a time, to save memory."""
        rows = torch.matmul(self.pixels, self.projections[direction].T)
        return _Sequence(
            self.pixels.transpose(1, 2),
            None,
            rows[:, None].contiguous(),
            self.weights[direction],
            self.A[direction],
            self.D[direction],
            self.bias[direction].contiguous(),
            True,
            columns=direction % 2 == 1,
            sign=-1 if direction >= 2 else 1,
            height=self.height,
            width=self.width,
        )

    def of_direction(self, kept: Tensor, direction: int) -> Tensor:
        """``(batch, chunks, N, 4E) -> (batch, chunks, N, E)``"""
        return kept[..., direction * self.channels : (direction + 1) * self.channels]

    def picture(self, pixels: Tensor) -> Tensor:
        return pixels.unflatten(1, (self.height, self.width)).permute(0, 3, 1, 2)


def cross_forward(
    x: Tensor,
    x_proj_weight: Tensor,
    dt_projs_weight: Tensor,
    dt_projs_bias: Tensor,
    A: Tensor,
    Ds: Tensor,
    keep_states: bool,
) -> tuple[Tensor, Tensor]:
    """``(batch, E, H, W)`` in the channels_last memory format, and the states before each chunk
    ``(batch, chunks, N, 4E)`` or ``(0,)``."""
    scan = _CrossScan(x, x_proj_weight, dt_projs_weight, dt_projs_bias, A, Ds)
    kept = new_states(x, scan.length, scan.states, 4 * scan.channels, keep_states)
    y, last = torch.empty_like(scan.pixels), x.new_empty(scan.batch, scan.states, scan.channels)
    for direction in DIRECTIONS if x.numel() else ():
        states = scan.of_direction(kept, direction) if keep_states else None
        _scan(scan.sequence(direction), y.transpose(1, 2), last, states, add=direction != DIRECTIONS[0])
    return scan.picture(y), kept


def cross_backward(
    grad: Tensor,
    states: Tensor,
    x: Tensor,
    x_proj_weight: Tensor,
    dt_projs_weight: Tensor,
    dt_projs_bias: Tensor,
    A: Tensor,
    Ds: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x (channels_last), x_proj_weight, dt_projs_weight, dt_projs_bias, A and Ds."""
    scan = _CrossScan(x, x_proj_weight, dt_projs_weight, dt_projs_bias, A, Ds)
    grad = channels_last(grad).transpose(1, 2)
    grad_x, grad_delta = torch.zeros_like(scan.pixels), torch.empty_like(scan.pixels)
    grad_projection, grad_W, grad_bias = (torch.zeros_like(t) for t in (x_proj_weight, dt_projs_weight, dt_projs_bias))
    grad_A, grad_D = torch.zeros_like(A), torch.zeros_like(Ds)
    for direction in DIRECTIONS if x.numel() else ():
        sequence = scan.sequence(direction)
        of_rows, of_A, of_D, of_bias = _retreat(
            sequence,
            grad,
            scan.of_direction(states, direction),
            grad_x.transpose(1, 2),
            grad_delta.transpose(1, 2),
            add=True,
        )
        low = sequence.rows[:, 0, :, : scan.rank]
        of_projected = torch.cat([torch.matmul(grad_delta, dt_projs_weight[direction]), of_rows[:, 0]], 2)
        grad_x += torch.matmul(of_projected, x_proj_weight[direction])
        grad_projection[direction] = torch.einsum("blc,ble->ce", of_projected, scan.pixels)
        grad_W[direction] = torch.einsum("ble,blr->er", grad_delta, low)
        grad_bias[direction] = of_bias
        own = slice(direction * scan.channels, (direction + 1) * scan.channels)
        grad_A[own], grad_D[own] = of_A, of_D
    return scan.picture(grad_x), grad_projection, grad_W, grad_bias, grad_A, grad_D
