"""The selective scan of sequences ``(batch, M, L)``. Signatures as in ``reference.py``."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from tapetum import machine_code
from tapetum.ops.selective_scan.cpu.blocks import FLOAT_BYTES, Blocks, Share, address, kernel, workers
from tapetum.ops.selective_scan.cpu.kernels import BLOCK, LOG2_E, QUAD, Variant
from tapetum.ops.selective_scan.reference import CHUNK, new_states

# B and C are put in order, and their gradients summed over blocks, for so many steps at a time (multiples of CHUNK)
STRETCH = 32 * CHUNK
STRETCH_BACK = 8 * CHUNK


class _Scan:
    """What forward and backward share."""

    def __init__(
        self,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None,
        delta_bias: Tensor | None,
        delta_softplus: bool,
        kept: Tensor | None,
    ) -> None:
        self.batch, channels, self.length = u.shape
        self.groups, self.states = B.shape[1:3]
        self.u, self.delta, self.B, self.C = u, delta, B, C
        self.blocks = Blocks(self.groups, channels // self.groups, machine_code.this_machine().width)
        self.variant = Variant(False, delta_softplus, self.states % BLOCK)
        zeros = u.new_zeros(channels)
        self.A = self.blocks.pack(A * LOG2_E)
        self.D = self.blocks.pack(zeros if D is None else D)
        self.bias = self.blocks.pack(zeros if delta_bias is None else delta_bias)
        self.kept = kept
        self.items = list(product(range(self.batch), range(self.blocks.count)))

    def rows(self, begin: int, end: int, share: Share) -> Tensor:
        """B and C of some steps side by side: ``(batch, G, steps, 2N)``.

        By NumPy on our threads: torch's own threads would wait actively beside them.
        """
        packed = self.A.new_empty(self.batch, self.groups, end - begin, 2 * self.states)
        target, B, C = (t.detach().numpy() for t in (packed, self.B, self.C))

        def pack(place: tuple[int, int]) -> None:
            target[place][:, : self.states] = B[place][:, begin:end].T
            target[place][:, self.states :] = C[place][:, begin:end].T

        share(pack, product(range(self.batch), range(self.groups)))
        return packed

    def fields(self, item: tuple[int, int], begin: int, end: int, rows: Tensor) -> dict[str, int]:
        batch, block = item
        first, lanes = self.blocks.channels(block)
        given = {
            "begin": begin,
            "end": end,
            "sign": 1,
            "inner": self.length,
            "inner_stride": 1,
            "lanes": lanes,
            "rows": address(rows, batch, block // self.blocks.per_group_count) - FLOAT_BYTES * begin * 2 * self.states,
            "rows_step": 2 * self.states,
            "states": self.states,
            "A": address(self.A, block),
            "D": address(self.D, block),
            "bias": address(self.bias, block),
            **_tensor("u", self.u, batch, first),
            **_tensor("delta", self.delta, batch, first),
        }
        if self.kept is not None:
            kept = address(self.kept, batch, 0, 0, first)
            given |= {"kept": kept, "kept_chunk": self.kept.stride(1), "kept_state": self.kept.stride(2)}
        return given


def _tensor(name: str, tensor: Tensor, batch: int, first: int) -> dict[str, int]:
    _, channel, step = tensor.stride()
    return {name: address(tensor, batch, first), f"{name}_channel": channel, f"{name}_step": step}


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
    scan = _Scan(u, delta, A, B, C, D, delta_bias, delta_softplus, kept if keep_states else None)
    y = u.new_empty(u.shape)
    h = u.new_zeros(batch, scan.blocks.count, states, scan.blocks.width)
    call = kernel("forward", scan.variant)
    with workers(len(scan.items)) as share:
        for begin in range(0, length, STRETCH):
            end = min(begin + STRETCH, length)
            rows = scan.rows(begin, end, share)

            def run(item: tuple[int, int], begin: int = begin, end: int = end, rows: Tensor = rows) -> None:
                first, _ = scan.blocks.channels(item[1])
                fields = scan.fields(item, begin, end, rows) | _tensor("y", y, item[0], first)
                call(fields | {"h": address(h, *item)})

            share(run, scan.items)
    last = torch.stack([scan.blocks.unpack(one) for one in h]) if batch else u.new_empty(0, channels, states)
    return y, last, kept


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
    scan = _Scan(u, delta, A, B, C, D, delta_bias, delta_softplus, states)
    blocks, batch, length = scan.blocks, scan.batch, scan.length
    grad_u, grad_delta, grad_B, grad_C = (t.new_empty(t.shape) for t in (u, delta, B, C))
    carried = u.new_zeros(batch, blocks.count, scan.states, blocks.width)
    grad_A = torch.zeros_like(carried)
    grad_D, grad_bias = grad_A.new_zeros(2, batch, blocks.count, blocks.width)
    half = -(-scan.states // QUAD) * QUAD
    grad_rows = u.new_empty(batch, blocks.count, min(STRETCH_BACK, length), 2, half)
    shares, of_B, of_C = grad_rows.numpy(), grad_B.numpy(), grad_C.numpy()
    call = kernel("backward", scan.variant)
    with workers(len(scan.items)) as share:
        for begin in reversed(range(0, length, STRETCH_BACK)):
            end = min(begin + STRETCH_BACK, length)
            rows = scan.rows(begin, end, share)

            def run(item: tuple[int, int], begin: int = begin, end: int = end, rows: Tensor = rows) -> None:
                first, _ = blocks.channels(item[1])
                fields = scan.fields(item, begin, end, rows)
                for name, tensor in (("grad", grad), ("grad_u", grad_u), ("grad_delta", grad_delta)):
                    fields |= _tensor(name, tensor, item[0], first)
                for name, tensor in (
                    ("grad_rows", grad_rows),
                    ("carried", carried),
                    ("grad_A", grad_A),
                    ("grad_D", grad_D),
                    ("grad_bias", grad_bias),
                ):
                    fields[name] = address(tensor, *item)
                call(fields | {"grad_rows_half": half})

            share(run, scan.items)

            def sum_blocks(place: tuple[int, int], begin: int = begin, end: int = end) -> None:
                batch, group = place
                first = group * blocks.per_group_count
                total = shares[batch, first : first + blocks.per_group_count, : end - begin].sum(0)
                of_B[place][:, begin:end] = total[:, 0, : scan.states].T
                of_C[place][:, begin:end] = total[:, 1, : scan.states].T

            share(sum_blocks, product(range(batch), range(scan.groups)))
    of_A, of_D, of_bias = (blocks.unpack(t.sum(0)) for t in (grad_A, grad_D, grad_bias))
    return grad_u, grad_delta, of_A, grad_B, grad_C, of_D, of_bias
