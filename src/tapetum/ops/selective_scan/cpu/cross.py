"""The four-direction selective scan of a picture ``(batch, E, H, W)``, fused.

One direction after the other: the picture and its projections for the direction lie channels last, in picture order;
the kernels find the pixels of the steps by arithmetic, form the step sizes and add their results to one picture. The
definition is ``unfused.py``; arguments as there, A negative.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from tapetum import machine_code
from tapetum.ops.selective_scan.cpu.blocks import FLOAT_BYTES, Blocks, address, kernel, workers
from tapetum.ops.selective_scan.cpu.kernels import BLOCK, LOG2_E, QUAD, Variant
from tapetum.ops.selective_scan.reference import CHUNK, new_states
from tapetum.ops.selective_scan.unfused import DIRECTIONS, channels_last

# The blocks' shares of the gradients are summed after a stretch of chunks: the longest whose shares stay in a cache
STRETCH_CHUNKS, STRETCH_BYTES = (8, 64), 2**20


class _Item(NamedTuple):
    batch: int
    block: int


class _CrossScan:
    """What forward and backward share."""

    def __init__(
        self, x: Tensor, x_proj_weight: Tensor, dt_projs_weight: Tensor, dt_projs_bias: Tensor, A: Tensor, Ds: Tensor
    ) -> None:
        self.batch, self.channels, self.height, self.width = x.shape
        self.length = self.height * self.width
        self.rank, self.states = dt_projs_weight.shape[2], A.shape[1]
        self.row = self.rank + 2 * self.states
        self.pixels = channels_last(x)
        self.projection = x_proj_weight
        # per pixel, of the direction that was last projected: δ_low, B, C
        self.rows = self.pixels.new_empty(self.batch, self.length, self.row)
        self.blocks = Blocks(1, self.channels, machine_code.this_machine().width)
        self.variant = Variant(True, True, self.states % BLOCK)
        weights = (A * LOG2_E, Ds, dt_projs_bias.flatten(), dt_projs_weight.flatten(0, 1))
        self.A, self.D, self.bias, self.W = (self.pack(w) for w in weights)
        self.items = [_Item(*item) for item in product(range(self.batch), range(self.blocks.count))]

    def project(self, direction: int) -> None:
        """Fills ``rows`` for a direction."""
        torch.matmul(self.pixels, self.projection[direction].t(), out=self.rows)

    def pack(self, weights: Tensor) -> Tensor:
        """``(4E, ...) -> (4, blocks, ..., width)``"""
        return torch.stack([self.blocks.pack(of_direction) for of_direction in weights.unflatten(0, (4, -1))])

    def unpack(self, packed: Tensor) -> Tensor:
        """``(blocks, 4, ..., width) -> (4E, ...)``"""
        return torch.cat([self.blocks.unpack(of_direction) for of_direction in packed.movedim(1, 0)])

    def per_block(self, *shape: int) -> Tensor:
        """Zeros ``(batch, blocks, ..., width)``."""
        return self.pixels.new_zeros(self.batch, self.blocks.count, *shape, self.blocks.width)

    def picture(self, pixels: Tensor) -> Tensor:
        return pixels.view(self.batch, self.height, self.width, self.channels).permute(0, 3, 1, 2)

    def fields(self, item: _Item, direction: int, begin: int, end: int, kept: Tensor | None) -> dict[str, int]:
        first, lanes = self.blocks.channels(item.block)
        by_columns, backwards = direction % 2 == 1, direction >= 2
        given = {
            "begin": begin,
            "end": end,
            "first": self.length - 1 if backwards else 0,
            "sign": -1 if backwards else 1,
            "inner": self.height if by_columns else self.length,
            "inner_stride": self.width if by_columns else 1,
            "outer_stride": 1,
            "lanes": lanes,
            "rows": address(self.rows, item.batch),
            "rows_step": self.row,
            "rank": self.rank,
            "states": self.states,
            "A": address(self.A, direction, item.block),
            "D": address(self.D, direction, item.block),
            "bias": address(self.bias, direction, item.block),
            "W": address(self.W, direction, item.block),
            **self.tensor("u", self.pixels, item),
        }
        if kept is not None:
            place = address(kept, item.batch, 0, 0, direction * self.channels + first)
            given |= {"kept": place, "kept_chunk": kept.stride(1), "kept_state": kept.stride(2)}
        return given

    def tensor(self, name: str, tensor: Tensor, item: _Item) -> dict[str, int]:
        """The fields of a ``(batch, steps, E)`` tensor."""
        first, _ = self.blocks.channels(item.block)
        return {name: address(tensor, item.batch, 0, first), f"{name}_channel": 1, f"{name}_step": self.channels}

    def pixels_of(self, direction: int, begin: int, end: int) -> Tensor:
        """Which pixels the steps of a direction are."""
        steps = torch.arange(begin, end)
        if direction >= 2:
            steps = self.length - 1 - steps
        return steps % self.height * self.width + steps // self.height if direction % 2 else steps


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
    y = torch.zeros_like(scan.pixels)
    h = scan.per_block(4, scan.states)

    call = kernel("forward", scan.variant)

    def run(item: _Item, direction: int) -> None:
        fields = scan.fields(item, direction, 0, scan.length, kept if keep_states else None)
        call(fields | scan.tensor("y", y, item) | {"h": address(h, *item, direction)})

    with workers(len(scan.items)) as share:
        for direction in DIRECTIONS:
            scan.project(direction)
            share(partial(run, direction=direction), scan.items)
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
    grad = channels_last(grad)
    grad_x, grad_rows = torch.zeros_like(scan.pixels), torch.empty_like(scan.rows)
    grad_projection, grad_W = torch.empty_like(x_proj_weight), torch.zeros_like(dt_projs_weight)
    # what the kernels add to: by block and direction
    grad_A, grad_D, grad_bias = scan.per_block(4, scan.states), scan.per_block(4), scan.per_block(4)
    carried = scan.per_block(4, scan.states)
    # what they give for a stretch of steps
    half = -(-scan.states // QUAD) * QUAD
    stretch = stretch_back(scan.batch * (scan.blocks.count * 2 * half + scan.channels))
    longest = min(stretch, scan.length)
    shares = x.new_empty(scan.batch, scan.blocks.count, longest, 2, half)
    grad_delta = x.new_empty(scan.batch, longest, scan.channels)

    call = kernel("backward", scan.variant)

    def run(item: _Item, direction: int, begin: int, end: int) -> None:
        fields = scan.fields(item, direction, begin, end, states)
        for name, tensor in (("grad", grad), ("grad_u", grad_x), ("grad_delta", grad_delta)):
            fields |= scan.tensor(name, tensor, item)
        fields |= {"grad_rows": address(shares, *item), "grad_rows_half": half}
        for name, tensor in (("carried", carried), ("grad_A", grad_A), ("grad_D", grad_D), ("grad_bias", grad_bias)):
            fields[name] = address(tensor, *item, direction)
        call(fields)

    with workers(len(scan.items)) as share:
        for direction in DIRECTIONS:
            scan.project(direction)
            for begin in reversed(range(0, scan.length, stretch)):
                end = min(begin + stretch, scan.length)
                share(partial(run, direction=direction, begin=begin, end=end), scan.items)
                pixels = scan.pixels_of(direction, begin, end)
                of_delta = grad_delta[:, : end - begin]
                of_B_and_C = shares[:, :, : end - begin, :, : scan.states].sum(1).flatten(2)
                of_low = torch.matmul(of_delta, dt_projs_weight[direction])
                grad_rows.index_copy_(1, pixels, torch.cat([of_low, of_B_and_C], 2))
                low = scan.rows[:, pixels, : scan.rank]
                grad_W[direction] += torch.matmul(low.flatten(0, 1).t(), of_delta.flatten(0, 1)).t()
            of_rows = grad_rows.flatten(0, 1)
            grad_x.flatten(0, 1).addmm_(of_rows, x_proj_weight[direction])
            torch.matmul(of_rows.t(), scan.pixels.flatten(0, 1), out=grad_projection[direction])
    of_A, of_D, of_bias = (scan.unpack(t.sum(0)) for t in (grad_A, grad_D, grad_bias))
    return scan.picture(grad_x), grad_projection, grad_W, of_bias.view(dt_projs_bias.shape), of_A, of_D


def stretch_back(numbers: int) -> int:
    """Steps of a stretch, when each leaves so many numbers."""
    least, most = STRETCH_CHUNKS
    return CHUNK * min(most, max(least, STRETCH_BYTES // (FLOAT_BYTES * CHUNK * max(1, numbers))))
