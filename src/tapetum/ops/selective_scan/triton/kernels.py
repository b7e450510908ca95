# type: ignore  (the language in the kernels is Triton's, not typed Python)
"""The loops of the scan, in Triton: one program per block of channels, segment of ``SEGMENT`` steps, and picture.

The recurrence is linear, so segments need not wait for each other. Forward: ``scan`` runs every segment from a zero
state and keeps where it ends; ``pass_on`` goes through the segments in order and gives each the state that it really
starts from (over a segment a state decays by ``exp(A ΣΔ)``); ``scan`` runs every segment again from there. Backward:
the same with the gradients of the states, from the last segment to the first (``retreat_ends``, ``pass_on``,
``retreat``).

A program holds a tile of states ``(N, CHANNELS)`` in the registers of one warp, and takes ``TILE`` steps at a time.
Loops over the steps of a tile are unrolled, so that taking a step out of a tile (``sum(where(here, tile, 0))``) costs
nothing. No sum is atomic: twice the same result.

All tensors are float32. Padding (channels, states and steps beyond the end) reads as zeros, whatever is there; a step
of size 0 leaves the states as they are. ``A`` is ``(N, M)`` and has been multiplied by log2(e).
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _pixels(step, length, height, width, sign, COLUMNS: tl.constexpr):
    """Where the steps of the sequence lie: row after row, or column after column; sign -1: from last to first."""
    at = step if sign > 0 else length - 1 - step
    if COLUMNS:
        at = at % height * width + at // height
    return at.to(tl.int64)


@triton.jit
def _softplus(x):
    """max(x, 0) + log1p(exp(-|x|)), with log1p(w) = 2 atanh(w / (2 + w)) as a series: log(1 + w) would lose small w."""
    w = tl.exp2(-tl.abs(x) * LOG2_E)
    ratio = w / (w + 2.0)
    s = ratio * ratio  # at most 1/9
    series = 1 + s * (1 / 3 + s * (1 / 5 + s * (1 / 7 + s * (1 / 9 + s * (1 / 11 + s * (1 / 13 + s * (1 / 15)))))))
    return 2.0 * ratio * series + tl.where(x > 0.0, x, 0.0)


@triton.jit
def _sigmoid(x):
    w = tl.exp2(-tl.abs(x) * LOG2_E)
    return tl.where(x < 0.0, w, 1.0) / (w + 1.0)


@triton.jit
def _step_sizes(
    delta, delta_channel, delta_pixel, rows, rows_pixel, weights, bias, pixel, valid, channel, inside,
    RANK: tl.constexpr, SOFTPLUS: tl.constexpr,
):  # fmt: skip
    """δ + bias and Δ of a tile, ``(TILE, CHANNELS)``: δ is read, or (RANK > 0) made from the rows' first entries."""
    wanted = valid[:, None] & inside[None, :]
    if RANK > 0:
        raw = tl.zeros([pixel.shape[0], channel.shape[0]], tl.float32)
        for r in range(RANK):
            low = tl.load(rows + pixel * rows_pixel + r, mask=valid, other=0.0)
            raw += low[:, None] * tl.load(weights + channel * RANK + r, mask=inside, other=0.0)[None, :]
    else:
        raw = tl.load(delta + pixel[:, None] * delta_pixel + channel[None, :] * delta_channel, mask=wanted, other=0.0)
    raw += tl.load(bias + channel, mask=inside, other=0.0)[None, :]
    step = _softplus(raw) if SOFTPLUS else raw
    return raw, tl.where(wanted, step, 0.0)


@triton.jit
def _states(h, step, drive, B, A, TILE: tl.constexpr):
    """The states over a tile: ``exp(Δ A) h[l-1]`` of each step ``(TILE, N, CHANNELS)``, and the one after the last."""
    decayed = tl.zeros([TILE, h.shape[0], h.shape[1]], tl.float32)
    for t in tl.static_range(TILE):
        here = (tl.arange(0, TILE) == t)[:, None]
        size = tl.sum(tl.where(here, step, 0.0), 0)
        pushed = tl.sum(tl.where(here, drive, 0.0), 0)
        row = tl.sum(tl.where(here, B, 0.0), 0)
        h = tl.exp2(size[None, :] * A) * h
        decayed = tl.where(here[:, :, None], h[None, :, :], decayed)
        h += pushed[None, :] * row[:, None]
    return decayed, h


@triton.jit
def _outputs(h, step, drive, B, C, A, TILE: tl.constexpr):
    """``<h[l], C[l]>`` of each step ``(TILE, CHANNELS)``, and the state after the last. (From what ``_states`` gives it
    would need half as many registers again.)"""
    out = tl.zeros([TILE, h.shape[1]], tl.float32)
    for t in tl.static_range(TILE):
        here = (tl.arange(0, TILE) == t)[:, None]
        size = tl.sum(tl.where(here, step, 0.0), 0)
        pushed = tl.sum(tl.where(here, drive, 0.0), 0)
        row = tl.sum(tl.where(here, B, 0.0), 0)
        seen = tl.sum(tl.where(here, C, 0.0), 0)
        h = tl.exp2(size[None, :] * A) * h + pushed[None, :] * row[:, None]
        out = tl.where(here, tl.sum(h * seen[:, None], 0)[None, :], out)
    return out, h


@triton.jit
def _state_gradients(carried, step, incoming, C, A, TILE: tl.constexpr):
    """Backwards over a tile: ``g[l] = C[l] grad[l] + exp(Δ[l+1] A) g[l+1]`` of each step ``(TILE, N, CHANNELS)``, and
    what the first passes on to the tile before."""
    g = tl.zeros([TILE, carried.shape[0], carried.shape[1]], tl.float32)
    for t in tl.static_range(TILE - 1, -1, -1):
        here = (tl.arange(0, TILE) == t)[:, None]
        size = tl.sum(tl.where(here, step, 0.0), 0)
        arriving = tl.sum(tl.where(here, incoming, 0.0), 0)
        row = tl.sum(tl.where(here, C, 0.0), 0)
        carried += row[:, None] * arriving[None, :]
        g = tl.where(here[:, :, None], carried[None, :, :], g)
        carried = tl.exp2(size[None, :] * A) * carried
    return g, carried


@triton.jit
def scan(
    u, u_batch, u_channel, u_pixel,
    delta, delta_batch, delta_channel, delta_pixel,
    rows, rows_pixel,  # (batch, G, pixels, RANK + 2N): δ_low, B, C
    weights,  # (M, RANK): δ from δ_low
    A, D, bias,  # (N, M), (M), (M)
    borders,  # (batch, segments, N, M): WHOLE: the state before each segment; else written: after it, from zero
    sums,  # (batch, segments, M): not WHOLE, written: ΣΔ
    y, y_batch, y_channel, y_pixel,
    last,  # (batch, N, M): the state after the last step
    kept, kept_chunk,  # (batch, chunks, N, ...): the states before each chunk
    channels, per_group, length, height, width,
    sign: tl.constexpr, COLUMNS: tl.constexpr,
    RANK: tl.constexpr, SOFTPLUS: tl.constexpr, WHOLE: tl.constexpr, KEEP: tl.constexpr, ADD: tl.constexpr,
    STATES: tl.constexpr, PADDED: tl.constexpr, CHANNELS: tl.constexpr, TILE: tl.constexpr,
    CHUNK: tl.constexpr, SEGMENT: tl.constexpr,
):  # fmt: skip
    """The states of one segment; WHOLE: from its true beginning, with y; else from zero, only where it ends."""
    blocks = tl.cdiv(per_group, CHANNELS)
    group, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    segment, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    in_group = block * CHANNELS + tl.arange(0, CHANNELS)
    inside = in_group < per_group
    channel = (group * per_group + in_group).to(tl.int64)
    n = tl.arange(0, PADDED)
    wanted = (n < STATES)[:, None] & inside[None, :]
    tile_of_states = n[:, None] * channels + channel[None, :]

    u += batch * u_batch
    delta += batch * delta_batch
    y += batch * y_batch
    rows += (batch * (channels // per_group) + group) * length * rows_pixel
    borders += (batch * tl.num_programs(1) + segment) * STATES * channels
    decays = tl.load(A + tile_of_states, mask=wanted, other=0.0)
    skip = tl.load(D + channel, mask=inside, other=0.0)
    h = tl.zeros([PADDED, CHANNELS], tl.float32)
    if WHOLE:
        h = tl.load(borders + tile_of_states, mask=wanted, other=0.0)
    total = tl.zeros([CHANNELS], tl.float32)

    begin = segment * SEGMENT
    for first in range(begin, tl.minimum(begin + SEGMENT, length), TILE):
        if KEEP and first % CHUNK == 0:
            chunk = batch * tl.cdiv(length, CHUNK) + first // CHUNK
            at = chunk * kept_chunk + n[:, None] * (kept_chunk // STATES) + channel[None, :]
            tl.store(kept + at, h, mask=wanted)
        step_number = first + tl.arange(0, TILE)
        valid = step_number < length
        pixel = _pixels(step_number, length, height, width, sign, COLUMNS)
        here = valid[:, None] & inside[None, :]
        of_states = valid[:, None] & (n < STATES)[None, :]
        row = rows + pixel[:, None] * rows_pixel + RANK + n[None, :]
        _, step = _step_sizes(
            delta, delta_channel, delta_pixel, rows, rows_pixel, weights, bias, pixel, valid, channel, inside,
            RANK, SOFTPLUS,
        )  # fmt: skip
        pushed = tl.load(u + pixel[:, None] * u_pixel + channel[None, :] * u_channel, mask=here, other=0.0)
        drive = step * pushed
        B = tl.load(row, mask=of_states, other=0.0)
        if WHOLE:
            C = tl.load(row + STATES, mask=of_states, other=0.0)
            out, h = _outputs(h, step, drive, B, C, decays, TILE)
            out += skip[None, :] * pushed
            target = y + pixel[:, None] * y_pixel + channel[None, :] * y_channel
            if ADD:
                out += tl.load(target, mask=here, other=0.0)
            tl.store(target, out, mask=here)
        else:
            _, h = _states(h, step, drive, B, decays, TILE)
            total += tl.sum(step, 0)
    if not WHOLE:
        tl.store(borders + tile_of_states, h, mask=wanted)
        tl.store(sums + (batch * tl.num_programs(1) + segment) * channels + channel, total, mask=inside)
    elif segment == tl.num_programs(1) - 1:
        tl.store(last + batch * STATES * channels + tile_of_states, h, mask=wanted)


@triton.jit
def pass_on(
    borders,  # (batch, segments, N, M): in, what each segment gives from zero; out, what each is given
    sums,  # (batch, segments, M)
    A,  # (N, M)
    segments, channels, size,  # size = N M
    BACKWARDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """From segment to segment, in order (backwards: from the last to the first)."""
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < size
    batch = tl.program_id(1).to(tl.int64)
    rate = tl.load(A + element, mask=inside, other=0.0)
    state = tl.zeros([BLOCK], tl.float32)
    for index in tl.range(0, segments, num_stages=4):
        segment = batch * segments + (segments - 1 - index if BACKWARDS else index)
        place = borders + segment * size + element
        given = tl.load(place, mask=inside, other=0.0)
        total = tl.load(sums + segment * channels + element % channels, mask=inside, other=0.0)
        tl.store(place, state, mask=inside)
        # nothing to decay: 0 times an overflow would be NaN
        state = given + tl.where(state == 0.0, 0.0, tl.exp2(total * rate) * state)


@triton.jit
def retreat_ends(
    grad, grad_batch, grad_channel, grad_pixel,
    delta, delta_batch, delta_channel, delta_pixel,
    rows, rows_pixel, weights, A, bias,
    borders, sums,  # written: what each segment passes to the one before, if nothing comes from behind; ΣΔ
    channels, per_group, length, height, width,
    sign: tl.constexpr, COLUMNS: tl.constexpr,
    RANK: tl.constexpr, SOFTPLUS: tl.constexpr,
    STATES: tl.constexpr, PADDED: tl.constexpr, CHANNELS: tl.constexpr, TILE: tl.constexpr,
    SEGMENT: tl.constexpr,
):  # fmt: skip
    """``exp(Δ[l] A) g[l]`` at the first step of each segment, with ``g[l] = C[l] grad[l] + exp(Δ[l+1] A) g[l+1]``."""
    blocks = tl.cdiv(per_group, CHANNELS)
    group, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    segment, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    in_group = block * CHANNELS + tl.arange(0, CHANNELS)
    inside = in_group < per_group
    channel = (group * per_group + in_group).to(tl.int64)
    n = tl.arange(0, PADDED)
    wanted = (n < STATES)[:, None] & inside[None, :]
    tile_of_states = n[:, None] * channels + channel[None, :]

    grad += batch * grad_batch
    delta += batch * delta_batch
    rows += (batch * (channels // per_group) + group) * length * rows_pixel
    decays = tl.load(A + tile_of_states, mask=wanted, other=0.0)
    carried = tl.zeros([PADDED, CHANNELS], tl.float32)
    total = tl.zeros([CHANNELS], tl.float32)
    begin = segment * SEGMENT
    tiles = tl.cdiv(tl.minimum(SEGMENT, length - begin), TILE)
    for back in range(0, tiles):
        step_number = begin + (tiles - 1 - back) * TILE + tl.arange(0, TILE)
        valid = step_number < length
        pixel = _pixels(step_number, length, height, width, sign, COLUMNS)
        _, step = _step_sizes(
            delta, delta_channel, delta_pixel, rows, rows_pixel, weights, bias, pixel, valid, channel, inside,
            RANK, SOFTPLUS,
        )  # fmt: skip
        row = rows + pixel[:, None] * rows_pixel + RANK + STATES + n[None, :]
        C = tl.load(row, mask=valid[:, None] & (n < STATES)[None, :], other=0.0)
        incoming = tl.load(
            grad + pixel[:, None] * grad_pixel + channel[None, :] * grad_channel,
            mask=valid[:, None] & inside[None, :], other=0.0,
        )  # fmt: skip
        _, carried = _state_gradients(carried, step, incoming, C, decays, TILE)
        total += tl.sum(step, 0)
    tl.store(
        borders + (batch * tl.num_programs(1) + segment) * STATES * channels + tile_of_states, carried, mask=wanted
    )
    tl.store(sums + (batch * tl.num_programs(1) + segment) * channels + channel, total, mask=inside)


@triton.jit
def retreat(
    grad, grad_batch, grad_channel, grad_pixel,
    u, u_batch, u_channel, u_pixel,
    delta, delta_batch, delta_channel, delta_pixel,
    rows, rows_pixel, weights, A, D, bias,
    borders,  # (batch, segments, N, M): what each segment gets from the one behind it
    kept, kept_chunk,  # the states before each chunk
    scratch,  # (programs, CHUNK / TILE, PADDED, CHANNELS): the states before each tile of the chunk in work
    grad_u, grad_u_batch, grad_u_channel, grad_u_pixel,  # added to (ADD) or written
    grad_delta, grad_delta_batch, grad_delta_channel, grad_delta_pixel,  # of δ, before softplus and bias
    grad_rows,  # (splits, batch, G, pixels, 2N): B's and C's, of the blocks of each split
    grad_A, grad_D, grad_bias,  # (batch, segments, N, M), (batch, segments, M) twice: of each segment
    channels, per_group, length, height, width,
    sign: tl.constexpr, COLUMNS: tl.constexpr,
    RANK: tl.constexpr, SOFTPLUS: tl.constexpr, ADD: tl.constexpr,
    STATES: tl.constexpr, PADDED: tl.constexpr, CHANNELS: tl.constexpr, TILE: tl.constexpr,
    CHUNK: tl.constexpr, SEGMENT: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """All gradients of one segment. One program takes every SPLITS-th block of a group's channels, one after the other,
    and adds their shares of the gradients of B and C."""
    groups = channels // per_group
    group, split = tl.program_id(0) // SPLITS, tl.program_id(0) % SPLITS
    segment, segments, batch = tl.program_id(1), tl.num_programs(1), tl.program_id(2).to(tl.int64)
    program = (batch * segments + segment) * tl.num_programs(0) + tl.program_id(0)
    n = tl.arange(0, PADDED)
    grad += batch * grad_batch
    u += batch * u_batch
    delta += batch * delta_batch
    grad_u += batch * grad_u_batch
    grad_delta += batch * grad_delta_batch
    rows += (batch * groups + group) * length * rows_pixel
    grad_rows += ((split * tl.num_programs(2) + batch) * groups + group) * length * (2 * STATES)
    scratch += program * (CHUNK // TILE) * PADDED * CHANNELS
    tile_of_scratch = n[:, None] * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    begin = segment * SEGMENT
    end = tl.minimum(begin + SEGMENT, length)

    for block in range(split, tl.cdiv(per_group, CHANNELS), SPLITS):
        in_group = block * CHANNELS + tl.arange(0, CHANNELS)
        inside = in_group < per_group
        channel = (group * per_group + in_group).to(tl.int64)
        wanted = (n < STATES)[:, None] & inside[None, :]
        tile_of_states = n[:, None] * channels + channel[None, :]
        decays = tl.load(A + tile_of_states, mask=wanted, other=0.0)
        skip = tl.load(D + channel, mask=inside, other=0.0)
        of_segment = (batch * segments + segment) * STATES * channels + tile_of_states
        carried = tl.load(borders + of_segment, mask=wanted, other=0.0)
        of_A = tl.zeros([PADDED, CHANNELS], tl.float32)
        of_D = tl.zeros([CHANNELS], tl.float32)
        of_bias = tl.zeros([CHANNELS], tl.float32)

        chunks = tl.cdiv(end - begin, CHUNK)
        for back in range(0, chunks):
            first = begin + (chunks - 1 - back) * CHUNK
            tiles = tl.cdiv(tl.minimum(CHUNK, end - first), TILE)
            chunk = batch * tl.cdiv(length, CHUNK) + first // CHUNK
            at = chunk * kept_chunk + n[:, None] * (kept_chunk // STATES) + channel[None, :]
            h = tl.load(kept + at, mask=wanted, other=0.0)
            tl.debug_barrier()  # the scratch has been read
            for tile in range(0, tiles):
                tl.store(scratch + tile * PADDED * CHANNELS + tile_of_scratch, h)
                step_number = first + tile * TILE + tl.arange(0, TILE)
                valid = step_number < length
                pixel = _pixels(step_number, length, height, width, sign, COLUMNS)
                _, step = _step_sizes(
                    delta, delta_channel, delta_pixel, rows, rows_pixel, weights, bias, pixel, valid, channel, inside,
                    RANK, SOFTPLUS,
                )  # fmt: skip
                here = valid[:, None] & inside[None, :]
                pushed = tl.load(u + pixel[:, None] * u_pixel + channel[None, :] * u_channel, mask=here, other=0.0)
                row = rows + pixel[:, None] * rows_pixel + RANK + n[None, :]
                B = tl.load(row, mask=valid[:, None] & (n < STATES)[None, :], other=0.0)
                drive = step * pushed
                _, h = _states(h, step, drive, B, decays, TILE)
            tl.debug_barrier()  # the scratch has been written

            for index in range(0, tiles):
                tile = tiles - 1 - index
                step_number = first + tile * TILE + tl.arange(0, TILE)
                valid = step_number < length
                pixel = _pixels(step_number, length, height, width, sign, COLUMNS)
                raw, step = _step_sizes(
                    delta, delta_channel, delta_pixel, rows, rows_pixel, weights, bias, pixel, valid, channel, inside,
                    RANK, SOFTPLUS,
                )  # fmt: skip
                here = valid[:, None] & inside[None, :]
                of_states = valid[:, None] & (n < STATES)[None, :]
                pushed = tl.load(u + pixel[:, None] * u_pixel + channel[None, :] * u_channel, mask=here, other=0.0)
                incoming = tl.load(
                    grad + pixel[:, None] * grad_pixel + channel[None, :] * grad_channel, mask=here, other=0.0
                )
                row = rows + pixel[:, None] * rows_pixel + RANK + n[None, :]
                B = tl.load(row, mask=of_states, other=0.0)
                C = tl.load(row + STATES, mask=of_states, other=0.0)
                drive = step * pushed

                h = tl.load(scratch + tile * PADDED * CHANNELS + tile_of_scratch)
                decayed, _ = _states(h, step, drive, B, decays, TILE)
                g, carried = _state_gradients(carried, step, incoming, C, decays, TILE)

                flow = decayed * g
                towards_B = tl.sum(g * B[:, :, None], 1)
                of_delta = pushed * towards_B + tl.sum(flow * decays[None, :, :], 1) * LN_2
                if SOFTPLUS:
                    of_delta *= _sigmoid(raw)
                of_delta = tl.where(here, of_delta, 0.0)
                of_A += tl.sum(flow * step[:, None, :], 0)
                of_D += tl.sum(pushed * incoming, 0)
                of_bias += tl.sum(of_delta, 0)
                of_B = tl.sum(g * drive[:, None, :], 2)
                of_C = tl.sum((decayed + drive[:, None, :] * B[:, :, None]) * incoming[:, None, :], 2)
                of_u = step * towards_B + skip[None, :] * incoming

                target = grad_u + pixel[:, None] * grad_u_pixel + channel[None, :] * grad_u_channel
                if ADD:
                    of_u += tl.load(target, mask=here, other=0.0)
                tl.store(target, of_u, mask=here)
                target = grad_delta + pixel[:, None] * grad_delta_pixel + channel[None, :] * grad_delta_channel
                tl.store(target, of_delta, mask=here)
                target = grad_rows + pixel[:, None] * (2 * STATES) + n[None, :]
                if block != split:
                    of_B += tl.load(target, mask=of_states, other=0.0)
                    of_C += tl.load(target + STATES, mask=of_states, other=0.0)
                tl.store(target, of_B, mask=of_states)
                tl.store(target + STATES, of_C, mask=of_states)

        tl.store(grad_A + of_segment, of_A, mask=wanted)
        of_segment_channels = (batch * segments + segment) * channels + channel
        tl.store(grad_D + of_segment_channels, of_D, mask=inside)
        tl.store(grad_bias + of_segment_channels, of_bias, mask=inside)
        tl.debug_barrier()  # the next block adds to the rows that this one wrote
