"""Blocks of channels: how weights are laid out for the kernels, how kernels are called and share the threads."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tapetum import machine_code
from tapetum.ops.selective_scan.cpu.emit import WORKING_MEMORY
from tapetum.ops.selective_scan.cpu.kernels import Variant, build

FLOAT_BYTES = 4
# calls a function on each of some things
Share = Callable[[Callable[[Any], None], Iterable[Any]], None]


def kernel(name: str, variant: Variant) -> Callable[[Mapping[str, int]], None]:
    """The loop "forward" or "backward" for this machine: called with its fields by name, where a missing one is 0."""
    return _kernel(name, variant, machine_code.this_machine())


@cache
def _kernel(name: str, variant: Variant, target: machine_code.Target) -> Callable[[Mapping[str, int]], None]:
    written = build(name, variant, target.width)
    function = machine_code.compile_function(written.raw.module, name, target)
    kind = ctypes.c_int64 * len(written.fields)

    def call(values: Mapping[str, int]) -> None:
        memory = torch.empty(written.working_memory, dtype=torch.float32, device="cpu")  # whatever the defaults are
        given = {**values, WORKING_MEMORY: memory.data_ptr()}
        function(kind(*(given.get(field, 0) for field in written.fields)))

    return call


@dataclass(frozen=True)
class Blocks:
    """Channels of ``groups`` groups, cut into blocks of ``width`` that do not cross a group; the last may be short."""

    groups: int
    per_group: int
    width: int

    @property
    def per_group_count(self) -> int:
        return -(-self.per_group // self.width)

    @property
    def count(self) -> int:
        return self.groups * self.per_group_count

    def channels(self, block: int) -> tuple[int, int]:
        """First channel and how many."""
        group, index = divmod(block, self.per_group_count)
        first = index * self.width
        return group * self.per_group + first, min(self.width, self.per_group - first)

    def pack(self, weights: Tensor) -> Tensor:
        """``(M, ...) -> (blocks, ..., width)``, zeros where a block is short."""
        grouped = weights.unflatten(0, (self.groups, self.per_group)).movedim(1, -1)
        padded = F.pad(grouped, (0, self.per_group_count * self.width - self.per_group))
        return padded.unflatten(-1, (-1, self.width)).movedim(-2, 1).flatten(0, 1).contiguous()

    def unpack(self, packed: Tensor) -> Tensor:
        """``(blocks, ..., width) -> (M, ...)``"""
        grouped = packed.unflatten(0, (self.groups, -1)).movedim(1, -2).flatten(-2)
        return grouped[..., : self.per_group].movedim(-1, 1).flatten(0, 1).contiguous()


def address(tensor: Tensor, *index: int) -> int:
    """Of the element at the (leading) index."""
    steps = sum(i * stride for i, stride in zip(index, tensor.stride(), strict=False))
    return tensor.data_ptr() + FLOAT_BYTES * steps


@contextmanager
def workers(jobs: int) -> Iterator[Share]:
    """A function that calls another one on each of some things, on as many threads as torch uses (``jobs`` at most).

    The kernels run without Python's lock. Made anew for each operator: threads do not survive a fork.
    """
    threads = min(torch.get_num_threads(), jobs)
    if threads <= 1:

        def one_by_one(call: Callable[[Any], None], things: Iterable[Any]) -> None:
            for thing in things:
                call(thing)

        yield one_by_one
        return
    with ThreadPoolExecutor(threads - 1, thread_name_prefix="selective-scan") as pool:

        def share(call: Callable[[Any], None], things: Iterable[Any]) -> None:
            waiting = iter(list(things))  # a list's iterator can be asked by several threads

            def take_and_call() -> None:
                for thing in waiting:
                    call(thing)

            others = [pool.submit(take_and_call) for _ in range(threads - 1)]
            take_and_call()
            for other in others:
                other.result()  # raises what a call raised there

        yield share
