"""The loops of the scan, as LLVM IR. One call treats one block of channels: as many as a vector has lanes.

The lanes of a vector are channels of one group, so B and C are scalars that are spread, and no sum goes across lanes
(but in the gradients of B and C). Steps are taken in chunks of ``CHUNK``. Within a chunk the states are taken ``BLOCK``
at a time, so that they and their rows of A stay in registers while the steps go by; what belongs to a step but not to
a state (u, Δ, y, ...) waits in small buffers in the first-level cache. No tensor of shape (M, L, N) exists anywhere.

Where the step l of the sequence lies in memory: ``l' = first + sign l``, ``pixel = (l' % inner) inner_stride +
(l' // inner) outer_stride``: any of the four orders of a picture, or a plain sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from tapetum.ops.selective_scan.cpu.emit import FLOAT_BYTES, INT, INT_BYTES, WORKING_MEMORY, Function, Value
from tapetum.ops.selective_scan.reference import CHUNK

BLOCK = 8
SCATTERED, SIDE_BY_SIDE, STEPS_SIDE_BY_SIDE = range(3)
QUAD = 4  # gradients of B and C are written for this many states at a time

_COMMON = (
    WORKING_MEMORY,
    *("begin", "end", "first", "sign", "inner", "inner_stride", "outer_stride"),  # which steps, and where they are
    "lanes",  # how many channels of the block there are; the others compute zeros
    *("u", "u_channel", "u_step"),  # address, stride between channels, between pixels
    *("delta", "delta_channel", "delta_step"),  # without low rank only
    *("rows", "rows_step", "rank", "states"),  # per pixel: δ_low (rank), B (states), C (states)
    *("A", "D", "bias", "W"),  # of the block: log2(e) A (states, width), (width), (width), δ from δ_low (rank, width)
    *("kept", "kept_chunk", "kept_state"),  # states before each chunk, channels side by side; address 0: not wanted
)
_FORWARD = (
    *_COMMON,
    *("y", "y_channel", "y_step"),
    "h",  # the state, in and out (states, width)
)
_BACKWARD = (
    *_COMMON,
    *("grad", "grad_channel", "grad_step"),
    *("grad_u", "grad_u_channel", "grad_u_step"),
    *("grad_delta", "grad_delta_channel", "grad_delta_step"),  # with low rank: counted from begin, not from pixel 0
    *("grad_rows", "grad_rows_half"),  # per step from begin: this block's share of B's gradients, then of C's
    *("carried", "grad_A", "grad_D", "grad_bias"),  # added to
)
FIELDS = {"forward": _FORWARD, "backward": _BACKWARD}

LOG2_E, LN_2 = 1.4426950408889634, 0.6931471805599453
# 2^f on [-1/2, 1/2] and 2 atanh(sqrt(s)) / sqrt(s) on [0, 1/9]: minimax fits, relative errors 9e-8 and 4e-9
_EXP2 = (1.0, 0.6931469775950276, 0.24022242082577067, 0.05550733749202076, 0.009671512768004877, 0.0013264725406712966)
_ATANH = (2.000000007920986, 0.6666631468364766, 0.4002491020724183, 0.2796060383155809, 0.2817833006230743)
_ROUNDING = 12582912.0  # 1.5 * 2^23: adding it rounds to a whole number, which the low bits then show


@dataclass(frozen=True)
class Variant:
    """What is fixed when a kernel is made.

    Attributes:
        low_rank: Δ comes from δ_low; results are added to what is there. Else δ is read, results are written.
        softplus: Δ goes through softplus.
        rest: the number of states modulo BLOCK.
    """

    low_rank: bool
    softplus: bool
    rest: int


def build(name: str, variant: Variant, width: int) -> Function:
    """The function "forward" or "backward", for vectors of ``width`` floats, in a module of its own."""
    kernel = {"forward": _Forward, "backward": _Backward}[name]
    function = Function(ir.Module(name="selective_scan"), name, FIELDS[name], width)
    kernel(function, variant).write()
    function.finish()
    return function


class _Kernel:
    """What forward and backward share: positions, tiles, step sizes."""

    def __init__(self, function: Function, variant: Variant) -> None:
        f = self.f = function
        self.variant = variant
        self.width = f.width
        self.begin, self.end = f.argument("begin"), f.argument("end")
        self.lanes, self.rank, self.states = f.argument("lanes"), f.argument("rank"), f.argument("states")
        self.A, self.kept, self.rows = f.pointer("A"), f.pointer("kept"), f.pointer("rows")
        self.D, self.bias = f.load(f.pointer("D")), f.load(f.pointer("bias"))
        self.pixels = f.buffer(CHUNK * INT_BYTES // FLOAT_BYTES)
        self.u, self.raw, self.step, self.drive = (f.buffer(CHUNK) for _ in range(4))

    def place(self, begin: Value, count: Value) -> None:
        """Where the steps of the chunk are in memory."""
        f = self.f
        first, sign, inner = f.argument("first"), f.argument("sign"), f.argument("inner")
        with f.loop(0, count) as t:
            at = first + sign * (begin + t)
            pixel = (at % inner) * f.argument("inner_stride") + (at // inner) * f.argument("outer_stride")
            f.store_int(pixel, self.pixels, t)

    def read(self, name: str, tile: Value, count: Value) -> None:
        """Of the block's channels into ``tile`` (steps, width)."""
        f, width = self.f, self.width
        source, channel, step = f.pointer(name), f.argument(f"{name}_channel"), f.argument(f"{name}_step")
        way = self.way_through_memory(channel, step)
        with f.where(way, "==", SIDE_BY_SIDE), f.loop(0, count) as t:
            f.store(f.load(source, f.load_int(self.pixels, t) * step), tile, t * width)
        squares = self.squares(way, count)
        with f.loop(0, squares, width) as t:
            start = f.at(source, f.load_int(self.pixels, t))
            for k, x in enumerate(f.transposed([f.load(start, channel * lane) for lane in range(width)])):
                f.store(x, tile, (t + k) * width)
        with f.where(way, "!=", SIDE_BY_SIDE):
            with f.loop(squares, count) as t:
                f.store(f.value(0.0, f.vector), tile, t * width)
            with f.loop(0, self.lanes) as lane:
                start = f.at(source, lane * channel)
                with f.loop(squares, count) as t:
                    x = f.load_float(start, f.load_int(self.pixels, t) * step)
                    f.store(x, tile, t * width + lane)

    def write_tile(self, name: str, tile: Value, count: Value, add: bool, local: Value | None = None) -> None:
        """The tile's lanes to memory; ``local``: at the step's number from there, not at its pixel."""
        f, width = self.f, self.width
        target, channel, step = f.pointer(name), f.argument(f"{name}_channel"), f.argument(f"{name}_step")
        way = self.way_through_memory(channel, step)

        def place(t: Value) -> Value:
            return (f.load_int(self.pixels, t) if local is None else local + t) * step

        with f.where(way, "==", SIDE_BY_SIDE), f.loop(0, count) as t:
            at = f.at(target, place(t))
            x = f.load(tile, t * width)
            f.store(x + f.load(at) if add else x, at)
        squares = self.squares(way, count)
        with f.loop(0, squares, width) as t:
            start = f.at(target, f.load_int(self.pixels, t))
            for lane, x in enumerate(f.transposed([f.load(tile, (t + k) * width) for k in range(width)])):
                f.store(x, start, channel * lane)
        with f.where(way, "!=", SIDE_BY_SIDE), f.loop(0, self.lanes) as lane:
            start = f.at(target, lane * channel)
            with f.loop(squares, count) as t:
                at = f.at(start, place(t))
                x = f.load_float(tile, t * width + lane)
                f.store(x + f.load_float(at) if add else x, at)

    def way_through_memory(self, channel: Value, step: Value) -> Value:
        """How a full block lies there: its channels side by side, its steps side by side, or neither."""
        f = self.f
        way = f.variable(INT, SCATTERED)
        with f.where(self.lanes, "==", self.width):
            if not self.variant.low_rank:  # only there are the pixels of a chunk always consecutive
                with f.where(step, "==", 1):
                    way(STEPS_SIDE_BY_SIDE)
            with f.where(channel, "==", 1):
                way(SIDE_BY_SIDE)
        return way()

    def squares(self, way: Value, count: Value) -> Value:
        """How many steps of the chunk can be turned in squares of (width, width)."""
        f = self.f
        steps = f.variable(INT, 0)
        if not self.variant.low_rank:
            with f.where(way, "==", STEPS_SIDE_BY_SIDE):
                steps(count - count % self.width)
        return steps()

    def find_steps(self, count: Value) -> None:
        """u, δ + bias, Δ and Δ u of the chunk."""
        f, width = self.f, self.width
        self.read("u", self.u, count)
        if self.variant.low_rank:
            weights = f.pointer("W")
            with f.loop(0, count) as t:
                row = self.row(t)
                total = f.variable(f.vector, 0.0)
                with f.loop(0, self.rank) as r:
                    total(f.fma(f.load_float(row, r), f.load(weights, r * width), total()))
                f.store(total(), self.raw, t * width)
        else:
            self.read("delta", self.raw, count)
        with f.loop(0, count) as t:
            biased = f.load(self.raw, t * width) + self.bias
            step = self.softplus(biased) if self.variant.softplus else biased
            f.store(biased, self.raw, t * width)
            f.store(step, self.step, t * width)
            f.store(step * f.load(self.u, t * width), self.drive, t * width)

    def row(self, t: Value) -> Value:
        return self.f.at(self.rows, self.f.load_int(self.pixels, t) * self.f.argument("rows_step"))

    def exp2(self, x: Value) -> Value:
        """2^x for any x. Without AVX-512, 0 is 2^-126, so that no result is denormal."""
        f = self.f
        if f.has_avx512:
            return f.scaled(f.polynomial(f.from_nearest(x), _EXP2), f.nearest(x))
        x = f.at_most(f.at_least(x, -126.0), 128.0)
        shifted = x + _ROUNDING
        fraction = x - (shifted - _ROUNDING)
        power = f.bits(f.polynomial(fraction, _EXP2))
        exponent = f.builder.shl(f.bits(shifted), ir.Constant(power.type, [23] * self.width))
        return f.from_bits(f.builder.add(power, exponent))

    def softplus(self, x: Value) -> Value:
        """log1p(exp(-|x|)) + max(x, 0), with log1p(w) = 2 atanh(w / (2 + w))"""
        f = self.f
        w = self.exp2(f.absolute(x) * -LOG2_E)
        ratio = w / (w + 2.0)
        return ratio * f.polynomial(ratio * ratio, _ATANH) + f.at_least(x, 0.0)

    def sigmoid(self, x: Value) -> Value:
        f = self.f
        w = self.exp2(f.absolute(x) * -LOG2_E)
        return f.where_negative(x, w, 1.0) / (w + 1.0)


class _Forward(_Kernel):
    def write(self) -> None:
        f = self.f
        self.h, self.y = f.pointer("h"), f.buffer(CHUNK)
        with f.loop(self.begin, self.end, CHUNK) as begin:
            count = f.smaller(self.end - begin, CHUNK)
            self.place(begin, count)
            self.keep(begin)
            self.find_steps(count)
            with f.loop(0, count) as t:
                f.store(self.D * f.load(self.u, t * self.width), self.y, t * self.width)
            whole = self.states - self.variant.rest
            with f.loop(0, whole, BLOCK) as n:
                self.advance(n, BLOCK, count)
            if self.variant.rest:
                self.advance(whole, self.variant.rest, count)
            self.write_tile("y", self.y, count, add=self.variant.low_rank)

    def keep(self, begin: Value) -> None:
        f, width = self.f, self.width
        with f.where(f.argument("kept"), "!=", 0), f.loop(0, self.states) as n:
            at = f.at(self.kept, (begin // CHUNK) * f.argument("kept_chunk") + n * f.argument("kept_state"))
            with f.where(self.lanes, "==", width):
                f.store(f.load(self.h, n * width), at)
            with f.where(self.lanes, "!=", width), f.loop(0, self.lanes) as lane:
                f.store(f.load_float(self.h, n * width + lane), at, lane)

    def advance(self, n: Value, count: int, steps: Value) -> None:
        """States n to n + count over the chunk; y gets their share."""
        f, width = self.f, self.width
        A = [f.load(self.A, (n + k) * width) for k in range(count)]
        h = [f.variable(f.vector, f.load(self.h, (n + k) * width)) for k in range(count)]
        with f.loop(0, steps) as t:
            step, drive = f.load(self.step, t * width), f.load(self.drive, t * width)
            row = f.at(self.row(t), self.rank + n)
            y = f.load(self.y, t * width)
            for k in range(count):
                pushed = drive * f.load_float(row, k)
                h[k](f.fma(self.exp2(step * A[k]), h[k](), pushed))
                y = f.fma(h[k](), f.load_float(row, self.states + k), y)
            f.store(y, self.y, t * width)
        for k in range(count):
            f.store(h[k](), self.h, (n + k) * width)


class _Backward(_Kernel):
    def write(self) -> None:
        f, width = self.f, self.width
        self.grad, self.towards_B, self.towards_A = (f.buffer(CHUNK) for _ in range(3))
        self.decays, self.decayed = f.buffer(CHUNK * BLOCK), f.buffer(CHUNK * BLOCK)
        self.grad_rows, self.half = f.pointer("grad_rows"), f.argument("grad_rows_half")
        self.grad_A, self.carried = f.pointer("grad_A"), f.pointer("carried")
        chunks = (self.end - self.begin + (CHUNK - 1)) // CHUNK
        with f.loop(0, chunks) as index:
            begin = self.begin + (chunks - 1 - index) * CHUNK
            count = f.smaller(self.end - begin, CHUNK)
            self.place(begin, count)
            self.find_steps(count)
            self.read("grad", self.grad, count)
            with f.loop(0, count) as t:
                for tile in (self.towards_A, self.towards_B):
                    f.store(f.value(0.0, f.vector), tile, t * width)
            whole = self.states - self.variant.rest
            with f.loop(0, whole, BLOCK) as n:
                self.block(n, BLOCK, begin, count)
            if self.variant.rest:
                self.block(whole, self.variant.rest, begin, count)
            self.finish(begin, count)

    def block(self, n: Value, count: int, begin: Value, steps: Value) -> None:
        A = [self.f.load(self.A, (n + k) * self.width) for k in range(count)]
        self.recompute(n, A, begin, steps)
        self.retreat(n, A, begin, steps)

    def recompute(self, n: Value, A: list[Value], begin: Value, steps: Value) -> None:
        """From the kept states: exp(Δ A) and exp(Δ A) h[l-1] of every step of the chunk."""
        f, width, count = self.f, self.width, len(A)
        start = f.at(self.kept, (begin // CHUNK) * f.argument("kept_chunk") + n * f.argument("kept_state"))
        h = [f.variable(f.vector, 0.0) for _ in A]
        with f.where(self.lanes, "==", width):
            for k in range(count):
                h[k](f.load(start, f.argument("kept_state") * k))
        with f.where(self.lanes, "!=", width):
            lanes = [f.buffer(1) for _ in A]
            for k in range(count):
                f.store(f.value(0.0, f.vector), lanes[k])
                with f.loop(0, self.lanes) as lane:
                    f.store(f.load_float(start, f.argument("kept_state") * k + lane), lanes[k], lane)
                h[k](f.load(lanes[k]))
        with f.loop(0, steps) as t:
            step, drive = f.load(self.step, t * width), f.load(self.drive, t * width)
            row = f.at(self.row(t), self.rank + n)
            for k in range(count):
                decay = self.exp2(step * A[k])
                decayed = decay * h[k]()
                h[k](f.fma(drive, f.load_float(row, k), decayed))
                f.store(decay, self.decays, (t * BLOCK + k) * width)
                f.store(decayed, self.decayed, (t * BLOCK + k) * width)

    def retreat(self, n: Value, A: list[Value], begin: Value, steps: Value) -> None:
        """Backwards over the chunk, with g = C grad + exp(Δ[l+1] A) g[l+1]."""
        f, width, count = self.f, self.width, len(A)
        carried = [f.variable(f.vector, f.load(self.carried, (n + k) * width)) for k in range(count)]
        sums = [f.variable(f.vector, 0.0) for _ in A]
        quads = -(-count // QUAD) * QUAD
        with f.loop(0, steps) as back:
            t = steps - 1 - back
            step, drive, grad = (f.load(tile, t * width) for tile in (self.step, self.drive, self.grad))
            row = f.at(self.row(t), self.rank + n)
            target = f.at(self.grad_rows, (begin - self.begin + t) * (self.half * 2) + n)
            to_B, to_A = f.load(self.towards_B, t * width), f.load(self.towards_A, t * width)
            of_B, of_C = [], []
            for k in range(count):
                decay = f.load(self.decays, (t * BLOCK + k) * width)
                decayed = f.load(self.decayed, (t * BLOCK + k) * width)
                B = f.load_float(row, k)
                g = f.fma(grad, f.load_float(row, self.states + k), carried[k]())
                h = f.fma(drive, B, decayed)
                flow = decayed * g
                to_B = f.fma(g, B, to_B)
                to_A = f.fma(flow, A[k], to_A)
                sums[k](f.fma(step, flow, sums[k]()))
                carried[k](decay * g)
                of_B.append(drive * g)
                of_C.append(grad * h)
            zeros = [f.value(0.0, f.vector)] * (quads - count)
            for k in range(0, quads, QUAD):
                f.store(self.sum_lanes((of_B + zeros)[k : k + QUAD]), target, k)
                f.store(self.sum_lanes((of_C + zeros)[k : k + QUAD]), target, self.half + k)
            f.store(to_B, self.towards_B, t * width)
            f.store(to_A, self.towards_A, t * width)
        for k in range(count):
            f.store(carried[k](), self.carried, (n + k) * width)
            f.store(f.load(self.grad_A, (n + k) * width) + sums[k](), self.grad_A, (n + k) * width)

    def sum_lanes(self, vectors: list[Value]) -> Value:
        """Four vectors to the four sums of their lanes."""
        f = self.f

        def pairs(a: Value, b: Value, width: int) -> Value:
            lanes = [(i // 4 * 4, i % 4) for i in range(width)]
            even = [q + 2 * (i % 2) + (width if i >= 2 else 0) for q, i in lanes]
            return f.shuffle(a, b, even) + f.shuffle(a, b, [i + 1 for i in even])

        a, b, c, d = vectors
        total = pairs(pairs(a, b, self.width), pairs(c, d, self.width), self.width)
        width = self.width
        while width > QUAD:
            width //= 2
            total = f.shuffle(total, total, range(width)) + f.shuffle(total, total, range(width, 2 * width))
        return total

    def finish(self, begin: Value, count: Value) -> None:
        """What belongs to steps: the gradients of u, δ, D and the bias."""
        f, width = self.f, self.width
        of_D, of_bias = f.variable(f.vector, 0.0), f.variable(f.vector, 0.0)
        with f.loop(0, count) as t:
            u, step, grad = (f.load(tile, t * width) for tile in (self.u, self.step, self.grad))
            to_B = f.load(self.towards_B, t * width)
            of_delta = f.fma(u, to_B, f.load(self.towards_A, t * width) * LN_2)
            if self.variant.softplus:
                of_delta = of_delta * self.sigmoid(f.load(self.raw, t * width))
            of_D(f.fma(u, grad, of_D()))
            of_bias(of_bias() + of_delta)
            f.store(f.fma(step, to_B, self.D * grad), self.u, t * width)
            f.store(of_delta, self.raw, t * width)
        for name, total in (("grad_D", of_D), ("grad_bias", of_bias)):
            place = f.pointer(name)
            f.store(f.load(place) + total(), place)
        low_rank = self.variant.low_rank
        self.write_tile("grad_u", self.u, count, add=low_rank)
        self.write_tile("grad_delta", self.raw, count, add=False, local=begin - self.begin if low_rank else None)
