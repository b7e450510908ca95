"""The Gaussian SSIM as one loop of machine code, where llvmlite is installed (it comes with the extra ``torch``).

Rows pass once. Each is turned into four: a, b, a^2 + b^2, a b, of which as many are kept as the window is high. Their
weighted sums are the window's means down the columns, and the same along the row gives the four means of the formula.
Everything is float64, as in :mod:`tapetum.metrics.ssim`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tapetum import machine_code

_INT, _FLOAT, _BYTE, _POINTER = ir.IntType(64), ir.DoubleType(), ir.IntType(8), ir.PointerType()
_INT32 = ir.IntType(32)
_PLANES = 4


def similarity(a: NDArray[Any], b: NDArray[Any], taps: Sequence[float], constants: tuple[float, float]) -> float:
    """Mean similarity over the channels, and the positions where the window fits.

    Args:
        a: ``(H, W)`` or ``(H, W, channels)``, 0..255; sides of at least the window's.
        b: the other picture, of the same shape.
        taps: the window along rows and down columns.
        constants: C1 and C2 of the formula.
    """
    of_bytes = a.dtype == b.dtype == np.uint8
    a, b = (np.ascontiguousarray(picture, np.uint8 if of_bytes else np.float64) for picture in (a, b))
    height, width, reach = a.shape[0], a.shape[1], len(taps) - 1
    row = a[0].size
    target = machine_code.this_machine()
    loop = _compiled(of_bytes, tuple(taps), constants, target)
    lanes = _lanes(target)
    kept = (-(-row // lanes) + 1) * lanes  # whole vectors, and one more, which the last step along a row reads
    work = np.zeros((len(taps) + 1) * _PLANES * kept)
    total = np.empty(lanes)
    addresses = (array.ctypes.data for array in (a, b, work, total))
    loop((ctypes.c_int64 * 8)(*addresses, height, row, row // width, kept))
    return float(total.sum() / ((height - reach) * (width - reach) * (row // width)))


def _lanes(target: machine_code.Target) -> int:
    return target.width // 2


@cache
def _compiled(
    of_bytes: bool, taps: tuple[float, ...], constants: tuple[float, float], target: machine_code.Target
) -> Callable[[Any], None]:
    module = ir.Module(name="ssim")
    _Loop(module, _BYTE if of_bytes else _FLOAT, _lanes(target), taps, constants)
    return machine_code.compile_function(module, "ssim", target)


class _Loop:
    """Writes ``void ssim(int64 *fields)``; the fields are those that :func:`similarity` gives."""

    def __init__(
        self, module: ir.Module, kind: ir.Type, lanes: int, taps: tuple[float, ...], constants: tuple[float, float]
    ) -> None:
        self.kind, self.lanes, self.taps, self.constants = kind, lanes, taps, constants
        self.vector = ir.VectorType(_FLOAT, lanes)
        ternary = ir.FunctionType(self.vector, [self.vector] * 3)
        self.fused = ir.Function(module, ternary, f"llvm.fmuladd.v{lanes}f64")
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_POINTER]), "ssim")
        self.function = function
        self.entry = ir.IRBuilder(function.append_basic_block("entry"))
        code = self.code = ir.IRBuilder(function.append_basic_block("body"))
        fields = [code.load(code.gep(function.args[0], [_INT(i)], source_etype=_INT), typ=_INT) for i in range(8)]
        self.first, self.second, self.work, self.total = (code.inttoptr(field, _POINTER) for field in fields[:4])
        self.height, self.row, self.step, self.kept = fields[4:]
        self._write()
        code.ret_void()
        self.entry.branch(function.basic_blocks[1])

    def _write(self) -> None:
        code, count = self.code, _INT(len(self.taps))
        reach = _INT(len(self.taps) - 1)
        columns = code.sub(self.row, code.mul(reach, self.step))
        total = self._variable(self.vector)
        with self._counting(self.height) as y:
            self._products(code.mul(y, self.row), self._rows(code.urem(y, count)))
            with code.if_then(code.icmp_signed(">=", y, reach)):
                top = code.sub(y, reach)
                window = [self._rows(code.urem(code.add(top, _INT(k)), count)) for k in range(len(self.taps))]
                means = self._rows(count)
                with self._counting(self.row, self.lanes) as x:
                    for plane, row in enumerate(means):
                        self._store(self._weighted([self._load(rows[plane], x) for rows in window]), row, x)
                with self._counting(columns, self.lanes) as x:
                    at = [code.add(x, code.mul(self.step, _INT(k))) for k in range(len(self.taps))]
                    moments = [self._weighted([self._load(row, place) for place in at]) for row in means]
                    inside = code.icmp_signed("<", self._numbered(x), self._spread(columns))
                    similarity = code.select(inside, self._similarity(*moments), self._constant(0.0))
                    code.store(self._sum(code.load(total, typ=self.vector), similarity), total)
        self._store(code.load(total, typ=self.vector), self.total, _INT(0))

    def _products(self, start: Any, rows: list[Any]) -> None:
        """A row of both pictures, which begins at pixel ``start``, into four."""
        with self._counting(self.row) as x:
            place = self.code.add(start, x)
            a, b = (self._pixel(picture, place) for picture in (self.first, self.second))
            squares = self._sum(self._product(a, a), self._product(b, b))
            for row, value in zip(rows, (a, b, squares, self._product(a, b)), strict=True):
                self._store(value, row, x)

    def _similarity(self, a: Any, b: Any, squares: Any, product: Any) -> Any:
        """See ``ssim._similarity``."""
        c1, c2, two = (self._constant(c) for c in (*self.constants, 2.0))
        means, power = self._product(a, b), self._sum(self._product(a, a), self._product(b, b))
        covariance, variances = self.code.fsub(product, means), self.code.fsub(squares, power)
        above = self._product(self._sum(self._product(two, means), c1), self._sum(self._product(two, covariance), c2))
        below = self._product(self._sum(power, c1), self._sum(variances, c2))
        return self.code.fdiv(above, below)

    def _weighted(self, values: Sequence[Any]) -> Any:
        """Only here are products and sums fused: all else is rounded as NumPy does, so that equal pictures give 1."""
        result = self._product(self._constant(self.taps[0]), values[0])
        for tap, value in zip(self.taps[1:], values[1:], strict=True):
            result = self.code.call(self.fused, [self._constant(tap), value, result])
        return result

    def _sum(self, a: Any, b: Any) -> Any:
        return self.code.fadd(a, b)

    def _product(self, a: Any, b: Any) -> Any:
        return self.code.fmul(a, b)

    # vectors

    def _constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [value] * self.lanes)

    def _spread(self, value: Any) -> Any:
        lanes = ir.VectorType(_INT, self.lanes)
        one = self.code.insert_element(ir.Constant(lanes, ir.Undefined), value, _INT32(0))
        return self.code.shuffle_vector(one, one, ir.Constant(ir.VectorType(_INT32, self.lanes), [0] * self.lanes))

    def _numbered(self, first: Any) -> Any:
        """first, first + 1, ..."""
        return self.code.add(self._spread(first), ir.Constant(ir.VectorType(_INT, self.lanes), list(range(self.lanes))))

    # memory and control

    def _rows(self, slot: Any) -> list[Any]:
        """The four rows that are kept in a slot; the last slot is that of the means down the columns."""
        code = self.code
        first = code.mul(slot, _INT(_PLANES))
        return [self._at(self.work, code.mul(code.add(first, _INT(i)), self.kept)) for i in range(_PLANES)]

    def _at(self, pointer: Any, index: Any, kind: ir.Type = _FLOAT) -> Any:
        return self.code.gep(pointer, [index], source_etype=kind)

    def _load(self, row: Any, index: Any) -> Any:
        return self.code.load(self._at(row, index), typ=self.vector, align=8)

    def _store(self, value: Any, row: Any, index: Any) -> None:
        """Of a vector, or a number."""
        self.code.store(value, self._at(row, index), align=8)

    def _pixel(self, picture: Any, index: Any) -> Any:
        value = self.code.load(self._at(picture, index, self.kind), typ=self.kind)
        return self.code.uitofp(value, _FLOAT) if self.kind is _BYTE else value

    def _variable(self, kind: ir.Type) -> Any:
        """Space for a value that changes; it begins with zeros."""
        place = self.entry.alloca(kind)
        place.type = _POINTER  # llvmlite still gives it a typed pointer, which LLVM no longer has
        self.code.store(ir.Constant(kind, None), place)
        return place

    @contextmanager
    def _counting(self, end: Any, step: int = 1) -> Iterator[Any]:
        """``for i in range(0, end, step)``, which has a first one."""
        code = self.code
        index = self._variable(_INT)
        body, after = (self.function.append_basic_block(name) for name in ("loop", "after"))
        code.branch(body)
        code.position_at_end(body)
        now = code.load(index, typ=_INT)
        yield now
        following = code.add(now, _INT(step))
        code.store(following, index)
        code.cbranch(code.icmp_signed("<", following, end), body, after)
        code.position_at_end(after)
