"""The Triton programs of a sparse training step; `gpu.py` says in which order they run.

Only what is larger than a batch is done here, and never as a tensor of rows times latents: the
encoder's product is formed tile by tile, and of each tile only the entries that are active or
inside the window of the pseudo-gradient are kept. Every sum has a fixed order: there are no
atomic operations, so that equal inputs give equal bits.

An entry is a pair of row and latent, with its pre-activation z. A segment holds the entries of
one row in one group of latents. `lane` is the place in the stack of dictionaries.
"""

# Triton reads the annotations of its functions by itself, and its decorator hides their types.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
# ruff: noqa: ANN001, ANN201

from __future__ import annotations

import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]


@triton.jit
def select_entries(
    x,
    b_dec,
    w_enc,
    b_enc,
    theta,
    latents,
    values,
    counts,
    num_rows,
    width_in,
    width,
    per_group,
    half_window,
    capacity,
    x_lane,
    x_row,
    PRE_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Keep the entries with z > theta or |z - theta| < eps / 2, in order, segment by segment.

    A segment that overflows is counted to its end, so that the caller knows what it takes.
    """
    tile, group, lane = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    rows = tile * BLOCK_B + tl.arange(0, BLOCK_B)
    is_row = rows < num_rows
    segment = (lane * num_rows + rows) * tl.num_programs(1) + group
    found = tl.zeros([BLOCK_B], tl.int32)
    stop = tl.minimum((group + 1) * per_group, width)
    for start in range(group * per_group, stop, BLOCK_M):
        columns = start + tl.arange(0, BLOCK_M)
        is_latent = columns < stop
        z = tl.zeros([BLOCK_B, BLOCK_M], tl.float32)
        for first in range(0, width_in, BLOCK_D):
            dims = first + tl.arange(0, BLOCK_D)
            is_dim = dims < width_in
            x_at = x + lane * x_lane + rows.to(tl.int64)[:, None] * x_row + dims[None, :]
            x_BD = tl.load(x_at, mask=is_row[:, None] & is_dim[None, :], other=0.0)
            if PRE_BIAS:
                x_BD -= tl.load(b_dec + lane * width_in + dims, mask=is_dim, other=0.0)[None, :]
            w_row = (lane * width + columns) * width_in
            w_MD = tl.load(
                w_enc + w_row[:, None] + dims[None, :],
                mask=is_latent[:, None] & is_dim[None, :],
                other=0.0,
            )
            z = tl.dot(x_BD, tl.trans(w_MD), z, input_precision=PRECISION)
        z += tl.load(b_enc + lane * width + columns, mask=is_latent, other=0.0)[None, :]
        theta_M = tl.load(theta + lane * width + columns, mask=is_latent, other=0.0)
        distance = z - theta_M[None, :]
        kept = (distance > 0) | (tl.abs(distance) < half_window)
        kept = kept & is_row[:, None] & is_latent[None, :]
        ones = kept.to(tl.int32)
        place = found[:, None] + tl.cumsum(ones, 1) - ones
        at = segment[:, None] * capacity + place
        fits = kept & (place < capacity)
        tl.store(latents + at, tl.broadcast_to(columns[None, :], [BLOCK_B, BLOCK_M]), mask=fits)
        tl.store(values + at, z, mask=fits)
        found += tl.sum(ones, 1)
    tl.store(counts + segment, found, mask=is_row)


@triton.jit
def pack_entries(
    latents,
    values,
    counts,
    starts,
    packed_latents,
    packed_values,
    packed_rows,
    num_rows,
    width,
    capacity,
    GROUPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Put the segments of all rows one behind the other; latents get their lane's offset."""
    row, lane = tl.program_id(0), tl.program_id(1).to(tl.int64)
    for group in range(GROUPS):
        segment = (lane * num_rows + row) * GROUPS + group
        count = tl.load(counts + segment)
        start = tl.load(starts + segment)
        for first in range(0, count, BLOCK):
            place = first + tl.arange(0, BLOCK)
            is_entry = place < count
            latent = tl.load(latents + segment * capacity + place, mask=is_entry)
            z = tl.load(values + segment * capacity + place, mask=is_entry)
            tl.store(packed_latents + start + place, latent + lane * width, mask=is_entry)
            tl.store(packed_values + start + place, z, mask=is_entry)
            tl.store(packed_rows + start + place, lane * num_rows + row, mask=is_entry)


@triton.jit
def decode_rows(
    latents,
    values,
    row_starts,
    theta,
    w_dec,
    offset,
    target,
    errors,
    squares,
    num_active,
    num_rows,
    width_out,
    offset_lane,
    offset_row,
    target_lane,
    target_row,
    BLOCK_O: tl.constexpr,
    BLOCK_J: tl.constexpr,
):
    """Return for each row e = offset + sum f d - y, ||e||^2 and its number of active latents."""
    row, lane = tl.program_id(0), tl.program_id(1).to(tl.int64)
    flat = lane * num_rows + row
    start, stop = tl.load(row_starts + flat), tl.load(row_starts + flat + 1)
    dims = tl.arange(0, BLOCK_O)
    is_dim = dims < width_out
    e_O = tl.load(offset + lane * offset_lane + row * offset_row + dims, mask=is_dim, other=0.0)
    e_O -= tl.load(target + lane * target_lane + row * target_row + dims, mask=is_dim, other=0.0)
    active = tl.zeros([BLOCK_J], tl.int32)
    for first in range(start, stop, BLOCK_J):
        place = first + tl.arange(0, BLOCK_J)
        is_entry = place < stop
        latent = tl.load(latents + place, mask=is_entry, other=0).to(tl.int64)
        z = tl.load(values + place, mask=is_entry, other=0.0)
        on = is_entry & (z > tl.load(theta + latent, mask=is_entry, other=0.0))
        d_JO = tl.load(
            w_dec + latent[:, None] * width_out + dims[None, :],
            mask=on[:, None] & is_dim[None, :],
            other=0.0,
        )
        e_O += tl.sum(tl.where(on, z, 0.0)[:, None] * d_JO, 0)
        active += on.to(tl.int32)
    tl.store(errors + flat * width_out + dims, e_O, mask=is_dim)
    tl.store(squares + flat, tl.sum(e_O * e_O, 0))
    tl.store(num_active + flat, tl.sum(active, 0))


@triton.jit
def project_errors(
    latents,
    row_starts,
    w_dec,
    errors,
    slopes,
    factor,
    num_rows,
    width_out,
    BLOCK_O: tl.constexpr,
    BLOCK_J: tl.constexpr,
):
    """Return for each entry q = factor e . d, the loss's derivative in its latent."""
    row, lane = tl.program_id(0), tl.program_id(1).to(tl.int64)
    flat = lane * num_rows + row
    start, stop = tl.load(row_starts + flat), tl.load(row_starts + flat + 1)
    dims = tl.arange(0, BLOCK_O)
    is_dim = dims < width_out
    e_O = tl.load(errors + flat * width_out + dims, mask=is_dim, other=0.0)
    for first in range(start, stop, BLOCK_J):
        place = first + tl.arange(0, BLOCK_J)
        is_entry = place < stop
        latent = tl.load(latents + place, mask=is_entry, other=0).to(tl.int64)
        d_JO = tl.load(
            w_dec + latent[:, None] * width_out + dims[None, :],
            mask=is_entry[:, None] & is_dim[None, :],
            other=0.0,
        )
        tl.store(slopes + place, factor * tl.sum(d_JO * e_O[None, :], 1), mask=is_entry)


@triton.jit
def adam_update(value, moment, gradient, decay, beta2, root_correction, rate):
    """Return value and second moment after Adam's step with beta1 = 0 (eps 1e-8).

    `decay` is what the moment has lost in the steps since its last touch, before this one.
    """
    moment = moment * decay * beta2 + (1 - beta2) * gradient * gradient
    return value - rate * gradient / (tl.sqrt(moment) / root_correction + 1e-8), moment


@triton.jit
def update_latents(
    order,
    latent_starts,
    entry_rows,
    values,
    slopes,
    row_prices,
    x,
    errors,
    theta,
    b_dec,
    w_enc,
    w_enc_moment,
    b_enc,
    b_enc_moment,
    w_dec,
    w_dec_moment,
    raw,
    raw_moment,
    touched,
    fired,
    pulls,
    step,
    num_rows,
    width_in,
    width_out,
    width,
    per_program,
    x_lane,
    x_row,
    factor,
    half_window,
    frequency_weight,
    frequency_scale,
    rate,
    threshold_rate,
    beta2,
    log2_beta2,
    root_correction,
    PRE_BIAS: tl.constexpr,
    AS_LOG: tl.constexpr,
    STEP_TO_Z: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_J: tl.constexpr,
):
    """Take the training step of every latent that has an entry.

    Gradients are summed in registers; decoder rows are projected, moved and renormalised, and
    the second moments of latents without entries are brought up to date when they have one
    again (with beta1 = 0 nothing else happens to them). `pulls` gets what the latents of this
    program pull at the pre-encoder bias.
    """
    program, lane = tl.program_id(0), tl.program_id(1).to(tl.int64)
    d_dims, o_dims = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_O)
    is_d, is_o = d_dims < width_in, o_dims < width_out
    pull_D = tl.zeros([BLOCK_D], tl.float32)
    centre_D = tl.zeros([BLOCK_D], tl.float32)
    if PRE_BIAS:
        centre_D = tl.load(b_dec + lane * width_in + d_dims, mask=is_d, other=0.0)
    stop_latent = tl.minimum((program + 1) * per_program, width)
    for number in range(program * per_program, stop_latent):
        latent = lane * width + number
        start, stop = tl.load(latent_starts + latent), tl.load(latent_starts + latent + 1)
        if stop > start:
            theta_old = tl.load(theta + latent)
            active = tl.zeros([BLOCK_J], tl.int32)
            for first in range(start, stop, BLOCK_J):
                place = first + tl.arange(0, BLOCK_J)
                entry = tl.load(order + place, mask=place < stop, other=0)
                z_J = tl.load(values + entry, mask=place < stop, other=0.0)
                active += ((place < stop) & (z_J > theta_old)).to(tl.int32)
            times = tl.sum(active, 0)
            tl.store(fired + latent, times > 0)
            share = times.to(tl.float32) / num_rows
            latent_price = frequency_weight * (1 + 2 * share / frequency_scale) / num_rows

            g_theta, g_bias = 0.0, 0.0
            g_enc_D = tl.zeros([BLOCK_D], tl.float32)
            g_dec_O = tl.zeros([BLOCK_O], tl.float32)
            for place in range(start, stop):
                entry = tl.load(order + place)
                flat = tl.load(entry_rows + entry).to(tl.int64)
                z = tl.load(values + entry)
                q = tl.load(slopes + entry)
                on, inside = z > theta_old, tl.abs(z - theta_old) < half_window
                rise = q * theta_old + tl.load(row_prices + flat) + latent_price
                rise = tl.where(inside, rise / (2 * half_window), 0.0)
                g_theta -= rise
                g_z = tl.where(on, q, 0.0)
                moves = on
                if STEP_TO_Z:
                    g_z += rise
                    moves = on | inside
                g_bias += g_z
                x_at = x + lane * x_lane + (flat - lane * num_rows) * x_row + d_dims
                x_D = tl.load(x_at, mask=d_dims < tl.where(moves, width_in, 0), other=0.0)
                g_enc_D += g_z * (x_D - centre_D)
                e_O = tl.load(
                    errors + flat * width_out + o_dims,
                    mask=o_dims < tl.where(on, width_out, 0),
                    other=0.0,
                )
                g_dec_O += tl.where(on, z, 0.0) * factor * e_O

            idle = step - 1 - tl.load(touched + latent)
            decay = tl.exp2(idle.to(tl.float32) * log2_beta2)
            tl.store(touched + latent, step)

            at_D = w_enc + latent * width_in + d_dims
            v_at_D = w_enc_moment + latent * width_in + d_dims
            w_D = tl.load(at_D, mask=is_d, other=0.0)
            v_D = tl.load(v_at_D, mask=is_d, other=0.0)
            pull_D -= g_bias * w_D
            w_D, v_D = adam_update(w_D, v_D, g_enc_D, decay, beta2, root_correction, rate)
            tl.store(at_D, w_D, mask=is_d)
            tl.store(v_at_D, v_D, mask=is_d)

            at_O = w_dec + latent * width_out + o_dims
            v_at_O = w_dec_moment + latent * width_out + o_dims
            d_O = tl.load(at_O, mask=is_o, other=0.0)
            v_O = tl.load(v_at_O, mask=is_o, other=0.0)
            g_dec_O -= tl.sum(g_dec_O * d_O, 0) * d_O
            d_O, v_O = adam_update(d_O, v_O, g_dec_O, decay, beta2, root_correction, rate)
            d_O /= tl.maximum(tl.sqrt(tl.sum(d_O * d_O, 0)), 1e-12)
            tl.store(at_O, d_O, mask=is_o)
            tl.store(v_at_O, v_O, mask=is_o)

            bias, v = tl.load(b_enc + latent), tl.load(b_enc_moment + latent)
            bias, v = adam_update(bias, v, g_bias, decay, beta2, root_correction, rate)
            tl.store(b_enc + latent, bias)
            tl.store(b_enc_moment + latent, v)

            if AS_LOG:
                g_theta *= theta_old
            new, v = tl.load(raw + latent), tl.load(raw_moment + latent)
            new, v = adam_update(new, v, g_theta, decay, beta2, root_correction, threshold_rate)
            if not AS_LOG:
                new = tl.maximum(new, 1e-6)
            tl.store(raw + latent, new)
            tl.store(raw_moment + latent, v)
    pull_at = pulls + (lane * tl.num_programs(0) + program) * width_in + d_dims
    tl.store(pull_at, pull_D, mask=is_d)
