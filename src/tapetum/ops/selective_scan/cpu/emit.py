"""Writing LLVM IR like arithmetic: values with operators, variables, loops, memory. Nothing here knows the scan.

A :class:`Value` is a 64-bit integer, a float or a vector of ``width`` floats. Mixed arithmetic of a float and a vector
spreads the float. Variables live on the stack in the text and in registers after optimisation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

INT = ir.IntType(64)
INT32 = ir.IntType(32)
FLOAT = ir.FloatType()
POINTER = ir.PointerType()
FLOAT_BYTES, INT_BYTES = 4, 8
WORKING_MEMORY = "working_memory"


@dataclass(frozen=True)
class Value:
    """A value in a function being written."""

    function: Function
    raw: Any

    def _binary(self, other: Any, of_floats: str, of_integers: str) -> Value:
        left, right = self.function.matched(self, other)
        name = of_integers if left.raw.type == INT else of_floats
        return Value(self.function, getattr(self.function.builder, name)(left.raw, right.raw))

    def __add__(self, other: Any) -> Value:
        return self._binary(other, "fadd", "add")

    def __sub__(self, other: Any) -> Value:
        return self._binary(other, "fsub", "sub")

    def __mul__(self, other: Any) -> Value:
        return self._binary(other, "fmul", "mul")

    def __truediv__(self, other: Any) -> Value:
        return self._binary(other, "fdiv", "sdiv")

    def __floordiv__(self, other: Any) -> Value:
        return self._binary(other, "fdiv", "udiv")

    def __mod__(self, other: Any) -> Value:
        return self._binary(other, "frem", "urem")

    __radd__, __rmul__ = __add__, __mul__


class Variable:
    """A value that changes: ``v()`` reads, ``v(value)`` writes."""

    def __init__(self, function: Function, kind: ir.Type, first: Any) -> None:
        self.function = function
        self.place = function.stack(kind)
        self(first)

    def __call__(self, value: Any = None) -> Value:
        function = self.function
        kind = self.place.allocated_type
        if value is not None:
            function.builder.store(function.value(value, kind).raw, self.place)
        return Value(function, function.builder.load(self.place, typ=kind))


class Function:
    """A function ``void name(int64 *arguments)``, written from top to bottom; ``fields`` names the arguments.

    One of them is the address of ``working_memory`` floats, which the function may use as it likes.
    """

    def __init__(self, module: ir.Module, name: str, fields: Sequence[str], width: int) -> None:
        self.width = width
        self.vector = ir.VectorType(FLOAT, width)
        self.fields = fields
        self.working_memory = 0  # floats
        self.raw = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER]), name)
        self.entry = self.raw.append_basic_block("entry")
        self.builder = ir.IRBuilder(self.raw.append_basic_block("body"))

    def finish(self) -> None:
        self.builder.ret_void()
        ir.IRBuilder(self.entry).branch(self.raw.basic_blocks[1])

    def argument(self, name: str) -> Value:
        return self.load_int(Value(self, self.raw.args[0]), self.fields.index(name))

    def pointer(self, name: str) -> Value:
        return Value(self, self.builder.inttoptr(self.argument(name).raw, POINTER))

    # values

    def value(self, x: Any, kind: ir.Type | None = None) -> Value:
        if isinstance(x, int) and kind in (None, INT):
            x = Value(self, ir.Constant(INT, x))
        elif not isinstance(x, Value):
            x = Value(self, ir.Constant(FLOAT, float(x)))
        return self.spread(x) if kind == self.vector and x.raw.type == FLOAT else x

    def matched(self, left: Any, right: Any) -> tuple[Value, Value]:
        kind = left.raw.type if isinstance(left, Value) else right.raw.type
        left, right = self.value(left, kind), self.value(right, kind)
        if left.raw.type == FLOAT and right.raw.type == self.vector:
            left = self.spread(left)
        return left, right

    def spread(self, x: Value) -> Value:
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), x.raw, ir.Constant(INT32, 0))
        return self.shuffle(Value(self, one), Value(self, one), [0] * self.width)

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        mask = ir.Constant(ir.VectorType(INT32, len(lanes)), list(lanes))
        return Value(self, self.builder.shuffle_vector(a.raw, b.raw, mask))

    def transposed(self, rows: Sequence[Value]) -> list[Value]:
        """``width`` vectors to the vectors of their first, second, ... lanes."""
        half = self.width // 2
        low = [i // 2 + self.width * (i % 2) for i in range(self.width)]
        high = [half + i for i in low]
        rows = list(rows)
        for _ in range(half.bit_length()):  # each round interleaves the two halves; log2(width) of them turn the square
            pairs = list(zip(rows[:half], rows[half:], strict=True))
            rows = [self.shuffle(a, b, lanes) for a, b in pairs for lanes in (low, high)]
        return rows

    def fma(self, a: Any, b: Any, c: Any) -> Value:
        """``a * b + c``, fused where the processor can."""
        a, b, c = (self.value(x, self.vector) for x in (a, b, c))
        return Value(self, self._call("llvm.fmuladd", a, b, c))

    def absolute(self, a: Value) -> Value:
        return Value(self, self._call("llvm.fabs", a))

    def at_least(self, a: Value, low: float) -> Value:
        """max(a, low); NaN stays."""
        return self._select("<", a, low)

    def at_most(self, a: Value, high: float) -> Value:
        """min(a, high); NaN stays."""
        return self._select(">", a, high)

    def _select(self, sign: str, a: Value, bound: float) -> Value:
        limit = self.value(bound, self.vector)
        beyond = self.builder.fcmp_ordered(sign, a.raw, limit.raw)
        return Value(self, self.builder.select(beyond, limit.raw, a.raw))

    def where_negative(self, a: Value, then: Any, otherwise: Any) -> Value:
        zero = self.value(0.0, self.vector)
        then, otherwise = self.value(then, self.vector), self.value(otherwise, self.vector)
        negative = self.builder.fcmp_ordered("<", a.raw, zero.raw)
        return Value(self, self.builder.select(negative, then.raw, otherwise.raw))

    def nearest(self, a: Value) -> Value:
        """The nearest whole number."""
        return Value(self, self._call("llvm.rint", a))

    @property
    def has_avx512(self) -> bool:
        """Only its vectors have 16 floats; ``machine_code.this_machine``."""
        return self.width == 16

    def from_nearest(self, a: Value) -> Value:
        """``a - nearest(a)``, and 0 of infinity; AVX-512 only."""
        return self._avx512("reduce", a.raw, ir.Constant(INT32, 0))

    def scaled(self, a: Value, exponent: Value) -> Value:
        """``a 2^exponent`` of a whole exponent, infinite ones included; AVX-512 only."""
        return self._avx512("scalef", a.raw, exponent.raw)

    def _avx512(self, name: str, *operands: Any) -> Value:
        every, as_set = ir.Constant(ir.IntType(16), -1), ir.Constant(INT32, 4)  # lanes; rounding
        unused = ir.Constant(self.vector, [0.0] * self.width)
        return Value(self, self._declared(f"llvm.x86.avx512.mask.{name}.ps.512", *operands, unused, every, as_set))

    def _call(self, intrinsic: str, *arguments: Value) -> Any:
        return self._declared(f"{intrinsic}.v{self.width}f32", *(a.raw for a in arguments))

    def _declared(self, name: str, *arguments: Any) -> Any:
        """What an intrinsic function makes of them: a vector."""
        module = self.raw.module
        known = module.globals.get(name)
        if known is None:
            known = ir.Function(module, ir.FunctionType(self.vector, [a.type for a in arguments]), name)
        return self.builder.call(known, arguments)

    def bits(self, a: Value) -> Any:
        return self.builder.bitcast(a.raw, ir.VectorType(INT32, self.width))

    def from_bits(self, a: Any) -> Value:
        return Value(self, self.builder.bitcast(a, self.vector))

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """``c[0] + c[1] x + ...`` by Horner's rule."""
        result = self.value(coefficients[-1], self.vector)
        for c in reversed(coefficients[:-1]):
            result = self.fma(result, x, c)
        return result

    # control

    def variable(self, kind: ir.Type, first: Any) -> Variable:
        return Variable(self, kind, first)

    @contextmanager
    def loop(self, begin: Any, end: Any, step: int = 1) -> Iterator[Value]:
        """``for i in range(begin, end, step)``"""
        index = self.variable(INT, begin)
        end = self.value(end)
        head, body, after = (self.raw.append_basic_block(name) for name in ("head", "loop", "after"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(self.builder.icmp_signed("<", index().raw, end.raw), body, after)
        self.builder.position_at_end(body)
        now = index()
        yield now
        index(now + step)
        self.builder.branch(head)
        self.builder.position_at_end(after)

    @contextmanager
    def where(self, left: Value, sign: str, right: Any) -> Iterator[None]:
        """``if left <sign> right`` on integers."""
        with self.builder.if_then(self.builder.icmp_signed(sign, left.raw, self.value(right).raw)):
            yield

    def smaller(self, a: Value, b: Any) -> Value:
        b = self.value(b)
        return Value(self, self.builder.select(self.builder.icmp_signed("<", a.raw, b.raw), a.raw, b.raw))

    # memory

    def stack(self, kind: ir.Type) -> Any:
        """Space for one value, for the whole call."""
        place = ir.IRBuilder(self.entry).alloca(kind)
        place.type = POINTER  # llvmlite still gives it a typed pointer, which LLVM no longer has
        return place

    def buffer(self, vectors: int) -> Value:
        """The address of so many vectors, of the working memory that the caller gives.

        Not on the stack: Windows wants a library function for large frames, and threads have small stacks elsewhere.
        """
        first = self.working_memory
        self.working_memory += vectors * self.width
        return self.at(self.pointer(WORKING_MEMORY), first)

    def at(self, pointer: Value, index: Any) -> Value:
        """The address ``index`` floats further."""
        place = self.builder.gep(pointer.raw, [self.value(index).raw], source_etype=FLOAT)
        return Value(self, place)

    def load(self, pointer: Value, index: Any = 0) -> Value:
        """A vector that begins ``index`` floats further, at any alignment."""
        return Value(self, self.builder.load(self.at(pointer, index).raw, align=FLOAT_BYTES, typ=self.vector))

    def store(self, value: Value, pointer: Value, index: Any = 0) -> None:
        """Of a vector, of any length, or of a float."""
        self.builder.store(value.raw, self.at(pointer, index).raw, align=FLOAT_BYTES)

    def load_float(self, pointer: Value, index: Any = 0) -> Value:
        return Value(self, self.builder.load(self.at(pointer, index).raw, align=FLOAT_BYTES, typ=FLOAT))

    def load_int(self, pointer: Value, index: Any) -> Value:
        return Value(self, self.builder.load(self._int_at(pointer, index), align=INT_BYTES, typ=INT))

    def store_int(self, value: Value, pointer: Value, index: Any) -> None:
        self.builder.store(value.raw, self._int_at(pointer, index), align=INT_BYTES)

    def _int_at(self, pointer: Value, index: Any) -> Any:
        return self.builder.gep(pointer.raw, [self.value(index).raw], source_etype=INT)
