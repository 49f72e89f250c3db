"""The compiled loop that updates latents: gradients, projection, Adam, norm, in one pass.

With beta1 = 0 a latent without an entry has no gradient and stays where it is; only its second
moments decay, by beta2 a step. So the pass goes over latents that have entries, and lets the
moments of each decay for all the steps since it was last touched. That is exactly dense Adam.

Gradients of entry p in row b of latent i, with a = dL/df (JR section 3, GS 3.2):

    active:            dL/dz += a,  w_dec_i += f dL/dx_hat_b
    inside the window: rise = (price_b + price_i + a theta) / eps;  dL/dtheta -= rise,
                       and dL/dz += rise if the step passes a pseudo-gradient to z
    w_enc_i += dL/dz (x_b - b_dec),  b_enc_i += dL/dz,  b_dec -= dL/dz w_enc_i
"""

# B rows of a batch, D width of an input, O of an output, M latents, E entries; with an auxiliary
# loss rows B..2B are its residuals

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tenfold.engine.kernel import jit
from tenfold.rooms.jumprelu.kernels.cpu import SMALLEST_NORM, Floats, Ints, Longs, add_rows


class Sorted(NamedTuple):
    """Entries sorted by latent, then row."""

    starts: Longs
    """Where each latent begins, [M + 1]."""
    rows: Ints
    values: Floats
    """z."""
    slopes: Floats
    """e . d_i."""


class Batch(NamedTuple):
    """The rows of a step."""

    x: Floats
    """Encoder inputs [B, D], centred where the dictionary has a pre-bias."""
    e: Floats
    """x_hat minus target [B, O]; [2B, O] with an auxiliary loss."""
    weights: Floats
    """What L0 of each row costs, [B], in units of `Rule.weight_price`."""
    window: Floats
    """Of each block and latent, [N, M, 3]: `cpu.Window.sums`."""


class Parameters(NamedTuple):
    """What belongs to a latent: values or their second moments."""

    w_enc: Floats
    """[M, D]: a latent's weights are together."""
    w_dec: Floats
    """[M, O]."""
    b_enc: Floats
    raw: Floats
    """Thresholds as they are trained (log or not); zeros of length M where there are none."""


class Rule(NamedTuple):
    """Numbers of one step of one dictionary."""

    main_scale: float
    """dL/dx_hat is the residual times this: 2 / B."""
    aux_scale: float
    half: float
    """Half of the window's width; 0 without thresholds."""
    bandwidth: float
    step_to_z: bool
    thresholds: bool
    """Whether thresholds are trained."""
    as_log: bool
    frequency_weight: float
    """Weight of the frequency penalty over B."""
    frequency_scale: float
    """omega_0 times B / 2: counts over it are added to 1."""
    weight_price: float
    """dL/dL0 of a row of weight 1 in `cpu.Window`."""
    rate: float
    threshold_rate: float
    beta2: float
    step: int
    """Number of this step, from 1."""
    epsilon: float


class Pace(NamedTuple):
    """Adam's numbers for one latent."""

    rate: float
    beta2: float
    decay: float
    """What its second moments are multiplied by: beta2 for each step since it was touched."""
    root: float
    """Square root of 1 - beta2^t."""
    epsilon: float


class Lists(NamedTuple):
    """Room for the rows of one latent's gradients, with one place more than there may be."""

    decoded: Ints
    """Rows of the residual, and their weights."""
    shares: Floats
    encoded: Ints
    """Rows of the input, and their weights."""
    slopes: Floats


@jit
def _adam(w: Floats, v: Floats, g: Floats, pace: Pace) -> None:
    """Take Adam's step with beta1 = 0 on one row."""
    rate, decay, epsilon = np.float32(pace.rate), np.float32(pace.decay), np.float32(pace.epsilon)
    root, fresh = np.float32(pace.root), np.float32(1 - pace.beta2)
    for d in range(len(w)):
        moment = decay * v[d] + fresh * g[d] * g[d]
        v[d] = moment
        w[d] -= rate * g[d] / (np.sqrt(moment) / root + epsilon)


@jit
def _project(g: Floats, w: Floats) -> None:
    """Take out of a decoder gradient its part along the unit row."""
    along = np.float32(0)
    for o in range(len(w)):
        along += g[o] * w[o]
    for o in range(len(w)):
        g[o] -= along * w[o]


@jit
def _normalise(w: Floats) -> None:
    squares = np.float32(0)
    for o in range(len(w)):
        squares += w[o] * w[o]
    norm = max(np.sqrt(squares), SMALLEST_NORM)
    for o in range(len(w)):
        w[o] /= norm


@jit
def _collect(
    begin: int,
    end: int,
    entries: Sorted,
    batch: Batch,
    theta: float,
    price: np.float32,
    rule: Rule,
    lists: Lists,
) -> tuple[int, int, np.float32]:
    """List the rows that a latent's gradients are made of, with their weights.

    Args:
        begin: the latent's first entry.
        end: one past its last.
        entries: of all latents.
        batch: what they point to.
        theta: the latent's threshold.
        price: dL/dcount of its active entries (the frequency penalty).
        rule: prices and step sizes.
        lists: takes the rows of decoder and encoder gradient.

    Returns:
        The lengths of both lists and the gradient of the encoder bias.
    """
    num_rows = len(batch.weights)
    half, bandwidth = np.float32(rule.half), np.float32(rule.bandwidth)
    decoded = encoded = 0
    g_bias = np.float32(0)
    for p in range(begin, end):
        row, z = entries.rows[p], entries.values[p]
        inner = row if row < num_rows else row - num_rows
        scale = np.float32(rule.main_scale if row < num_rows else rule.aux_scale)
        a = scale * entries.slopes[p]
        distance = z - theta
        active = distance > 0
        lists.decoded[decoded] = row
        lists.shares[decoded] = scale * z
        decoded += active
        in_z = a if active else np.float32(0)
        if rule.step_to_z and abs(distance) < half:
            rise = np.float32(rule.weight_price) * batch.weights[inner] + price + a * theta
            in_z += rise / bandwidth
        lists.encoded[encoded] = inner
        lists.slopes[encoded] = in_z
        encoded += in_z != 0
        g_bias += in_z
    return decoded, encoded, g_bias


@jit
def update_latents(
    first: int,
    last: int,
    entries: Sorted,
    batch: Batch,
    theta_M: Floats,
    weights: Parameters,
    moments: Parameters,
    touched_M: Longs,
    rule: Rule,
    active_M: Ints,
    b_dec_part_D: Floats,
) -> None:
    """Update the latents `first` to `last` from all their entries.

    Args:
        first: the first latent.
        last: one past the last.
        entries: of all latents.
        batch: what the entries point to.
        theta_M: thresholds before the step.
        weights: changed in place.
        moments: changed in place.
        touched_M: step after which each latent's moments are up to date; changed in place.
        rule: prices and step sizes.
        active_M: takes the number of rows of the batch on which each latent was active.
        b_dec_part_D: takes this range's part of the gradient of b_dec through the encoder.
    """
    num_rows = len(batch.weights)
    g_enc = np.empty(weights.w_enc.shape[1], np.float32)
    g_dec = np.empty(weights.w_dec.shape[1], np.float32)
    small = np.empty(1, np.float32)
    room = 2 * num_rows + 1
    lists = Lists(
        np.empty(room, np.int32),
        np.empty(room, np.float32),
        np.empty(room, np.int32),
        np.empty(room, np.float32),
    )
    root = np.sqrt(1 - rule.beta2**rule.step)
    b_dec_part_D[:] = 0
    for i in range(first, last):
        begin, end = entries.starts[i], entries.starts[i + 1]
        count = 0
        for p in range(begin, end):
            count += entries.values[p] - theta_M[i] > 0 and entries.rows[p] < num_rows
        active_M[i] = count
        inside, weights_inside, slopes_inside = 0.0, 0.0, 0.0
        for block in range(len(batch.window)):
            inside += batch.window[block, i, 0]
            weights_inside += batch.window[block, i, 1]
            slopes_inside += batch.window[block, i, 2]
        if begin == end and inside == 0:
            continue
        price = np.float32(rule.frequency_weight * (1 + count / rule.frequency_scale))
        decoded, encoded, g_bias = _collect(
            begin, end, entries, batch, theta_M[i], price, rule, lists
        )
        g_enc[:] = 0
        g_dec[:] = 0
        add_rows(lists.decoded, lists.shares, batch.e, decoded, g_dec)
        add_rows(lists.encoded, lists.slopes, batch.x, encoded, g_enc)
        w_enc_D, w_dec_O = weights.w_enc[i], weights.w_dec[i]
        for d in range(len(g_enc)):
            b_dec_part_D[d] -= g_bias * w_enc_D[d]
        pace = Pace(
            rule.rate, rule.beta2, rule.beta2 ** (rule.step - touched_M[i]), root, rule.epsilon
        )
        touched_M[i] = rule.step
        _project(g_dec, w_dec_O)
        _adam(w_enc_D, moments.w_enc[i], g_enc, pace)
        _adam(w_dec_O, moments.w_dec[i], g_dec, pace)
        _normalise(w_dec_O)
        small[0] = g_bias
        _adam(weights.b_enc[i : i + 1], moments.b_enc[i : i + 1], small, pace)
        if rule.thresholds:
            rise = rule.weight_price * weights_inside + price * inside
            rise += theta_M[i] * rule.main_scale * slopes_inside
            small[0] = -rise / rule.bandwidth * (theta_M[i] if rule.as_log else 1.0)
            own = Pace(rule.threshold_rate, rule.beta2, pace.decay, root, rule.epsilon)
            _adam(weights.raw[i : i + 1], moments.raw[i : i + 1], small, own)


@jit
def update_vector(
    w: Floats, v: Floats, g: Floats, rate: float, beta2: float, step: int, epsilon: float
) -> None:
    """Take Adam's step with beta1 = 0 on a dense vector that every step touches."""
    _adam(w, v, g, Pace(rate, beta2, beta2, np.sqrt(1 - beta2**step), epsilon))
