"""One training step of every dictionary kind in float64 NumPy, gradients by hand.

Written from the papers, without a look at the code it checks: JumpReLU (arXiv:2407.14435),
Gemma Scope (arXiv:2408.05147), Gated (arXiv:2404.16014), TopK (arXiv:2406.04093), BatchTopK
(arXiv:2412.06410), Matryoshka (arXiv:2503.17547).

Each loss function returns its value and the gradients of all parameters. Below, `g_a` is the
gradient of the loss in `a`; every loss is a mean over the B rows of a batch.
"""

# B rows of a batch, D width of an activation, M latents

import math
from dataclasses import dataclass, field

import numpy as np

STEEPNESS = 4.0
PULL = 3e-6


@dataclass(kw_only=True)
class Hyper:
    """Everything a loss needs beside parameters and rows."""

    price: float = 0.0
    target: float = 0.0
    bandwidth: float = 0.0
    penalty: str = "linear"
    step_to_z: bool = False
    frequency_weight: float = 0.0
    frequency_scale: float = 0.1
    norm_weighted: bool = True
    k: int = 0
    aux_weight: float = 0.0
    aux_k: int = 0
    multi_weight: float = 0.0
    prefixes: tuple = ()


@dataclass(kw_only=True)
class Found:
    """A loss with its parts and gradients."""

    loss: float
    error: float
    f: np.ndarray
    gradients: dict = field(default_factory=dict)


def jumprelu(p, x, hyper, dead):
    del dead
    theta, num_rows = p["theta"], len(x)
    z = encode(p, x)
    on = z > theta
    f = z * on
    error, g_f, gradients = reconstruction(p, x, f)
    sparsity, g_step = step_penalty(on, hyper, num_rows)
    g_z, g_theta = np.zeros_like(z), np.zeros_like(theta)
    if hyper.penalty == "tanh":
        sparsity = tanh_terms(p, z, f, hyper, gradients, g_f, g_z, g_theta)
    if hyper.frequency_weight:
        rate = on.mean(axis=0)
        scale = hyper.frequency_scale
        sparsity += hyper.frequency_weight * (rate * (1 + rate / scale)).sum()
        g_step = g_step + hyper.frequency_weight * (1 + 2 * rate / scale) / num_rows
    # Pseudo-gradients: dH/dtheta = -K/eps, df/dtheta = -theta K/eps, on both sides of theta.
    kernel = (np.abs((z - theta) / hyper.bandwidth) < 0.5) / hyper.bandwidth
    g_theta -= (kernel * (theta * g_f + g_step)).sum(axis=0)
    g_z += on * g_f
    if hyper.step_to_z or hyper.penalty == "tanh":
        g_z += kernel * (theta * g_f + g_step)
    encoder(p, x, g_z, gradients)
    return Found(loss=error + sparsity, error=error, f=f, gradients=gradients | {"theta": g_theta})


def step_penalty(on, hyper, num_rows):
    """Return the penalty on L0 and its gradient in each entry of the step function."""
    price, target = hyper.price, hyper.target
    l0 = on.sum(axis=1, keepdims=True).astype(float)
    match hyper.penalty:
        case "linear":
            return price * l0.mean(), np.full_like(l0, price / num_rows)
        case "quad_batch":
            off = l0.mean() / target - 1
            return price * off**2, np.full_like(l0, price * 2 * off / target / num_rows)
        case "quad_example":
            value = price * (2 / target) * ((l0 - target) ** 2).mean()
            return value, price * (4 / target) * (l0 - target) / num_rows
        case "tanh":
            return 0.0, np.zeros_like(l0)


def tanh_terms(p, z, f, hyper, gradients, g_f, g_z, g_theta):
    """Add the January 2025 recipe's gradients and return its value, for inputs of norm 1.

    The recipe is written for x' = r x with r = sqrt(D). There the loss is ||e'||^2 +
    lambda' sum tanh(c f' n) + PULL sum relu(theta' - z') n, n = ||d||; all of it over D is
    ||e||^2 + lambda sum tanh(c r f n) + (PULL / r) sum relu(theta - z) n.
    """
    num_rows, r = len(z), math.sqrt(p["w_dec"].shape[1])
    n = np.linalg.norm(p["w_dec"], axis=1)
    unit = p["w_dec"] / n[:, None]
    bent = np.tanh(STEEPNESS * r * f * n)
    slope = hyper.price * STEEPNESS * r * (1 - bent**2) / num_rows
    g_f += slope * n
    gradients["w_dec"] += (slope * f).sum(axis=0)[:, None] * unit
    gap = np.maximum(p["theta"] - z, 0)
    weight = PULL / r / num_rows
    g_z -= weight * n * (gap > 0)
    g_theta += weight * n * (gap > 0).sum(axis=0)
    gradients["w_dec"] += weight * gap.sum(axis=0)[:, None] * unit
    return hyper.price * bent.sum() / num_rows + weight * (gap * n).sum()


def relu(p, x, hyper, dead):
    del dead
    z = encode(p, x)
    f = np.maximum(z, 0)
    error, g_f, gradients = reconstruction(p, x, f)
    sparsity = add_l1(p, f, hyper, g_f, gradients)
    encoder(p, x, g_f * (z > 0), gradients)
    return Found(loss=error + sparsity, error=error, f=f, gradients=gradients)


def add_l1(p, f, hyper, g_f, gradients):
    """Add the gradients of lambda sum f, or lambda sum f ||d||, and return its value."""
    num_rows = len(f)
    n = np.linalg.norm(p["w_dec"], axis=1)
    if not hyper.norm_weighted:
        g_f += hyper.price / num_rows
        return hyper.price * f.sum() / num_rows
    g_f += hyper.price * n / num_rows
    gradients["w_dec"] += hyper.price * (f.sum(axis=0) / num_rows / n)[:, None] * p["w_dec"]
    return hyper.price * (f * n).sum() / num_rows


def gated(p, x, hyper, dead):
    del dead
    u = (x - p["b_dec"]) @ p["w_enc"]
    gain = np.exp(p["gain_log"])
    pi, magnitude = u + p["b_enc"], u * gain + p["b_mag"]
    live = (pi > 0) & (magnitude > 0)
    f = np.where(live, magnitude, 0)
    error, g_f, gradients = reconstruction(p, x, f)
    g_magnitude = g_f * live
    gate = np.maximum(pi, 0)
    g_gate = np.zeros_like(gate)
    sparsity = add_l1(p, gate, hyper, g_gate, gradients)
    # The auxiliary reconstruction teaches the gate; its decoder is held still.
    auxiliary, through, _ = reconstruction(p, x, gate)
    g_pi = (g_gate + through) * (pi > 0)
    g_u = g_magnitude * gain + g_pi
    encoder(p, x, g_u, gradients)
    gradients["b_enc"] = g_pi.sum(axis=0)
    gradients["b_mag"] = g_magnitude.sum(axis=0)
    gradients["gain_log"] = (g_magnitude * u * gain).sum(axis=0)
    return Found(loss=error + sparsity + auxiliary, error=error, f=f, gradients=gradients)


def topk(p, x, hyper, dead):
    z = encode(p, x)
    a = np.maximum(z, 0)
    kept = largest_by_row(a, hyper.k)
    f = a * kept
    error, g_f, gradients = reconstruction(p, x, f)
    g_a = g_f * kept
    loss = error + add_aux(p, x - decode(p, f), a, hyper, dead, g_a, gradients)
    if hyper.multi_weight:
        wide = largest_by_row(a, min(4 * hyper.k, a.shape[1]))
        value, g_wide, more = reconstruction(p, x, a * wide)
        loss += hyper.multi_weight * value
        g_a += hyper.multi_weight * g_wide * wide
        for name, gradient in more.items():
            gradients[name] += hyper.multi_weight * gradient
    encoder(p, x, g_a * (z > 0), gradients)
    return Found(loss=loss, error=error, f=f, gradients=gradients)


def batchtopk(p, x, hyper, dead):
    """BatchTopK, and Matryoshka if there are prefixes: one loss, one or several of them."""
    z = encode(p, x)
    a = np.maximum(z, 0)
    kept = largest_by_row(a.reshape(1, -1), hyper.k * len(x)).reshape(a.shape)
    f = a * kept
    loss, g_f = 0.0, np.zeros_like(f)
    gradients = {"w_dec": np.zeros_like(p["w_dec"]), "b_dec": np.zeros_like(p["b_dec"])}
    for size in hyper.prefixes or (f.shape[1],):
        first = f * (np.arange(f.shape[1]) < size)
        error, g_first, more = reconstruction(p, x, first)
        g_f[:, :size] += g_first[:, :size]
        for name, gradient in more.items():
            gradients[name] += gradient
        loss += error
    g_a = g_f * kept
    loss += add_aux(p, x - decode(p, f), a, hyper, dead, g_a, gradients)
    encoder(p, x, g_a * (z > 0), gradients)
    return Found(loss=loss, error=error, f=f, gradients=gradients)


def add_aux(p, e, a, hyper, dead, g_a, gradients):
    """Add the gradients of alpha ||e - e_hat||^2 / Var(e) and return its value (AuxK)."""
    variance = ((e - e.mean(axis=0)) ** 2).sum(axis=1).mean()
    if not dead.any() or variance == 0 or not hyper.aux_weight:
        return 0.0
    k = min(hyper.aux_k or max(1, e.shape[1] // 2), a.shape[1])
    helping = largest_by_row(a * dead, k) & dead
    help_f = a * helping
    missed = help_f @ p["w_dec"] - e
    weight = hyper.aux_weight / variance / len(e)
    gradients["w_dec"] += 2 * weight * help_f.T @ missed
    g_a += 2 * weight * (missed @ p["w_dec"].T) * helping
    return weight * (missed**2).sum()


def encode(p, x):
    return (x - p["b_dec"]) @ p["w_enc"] + p["b_enc"]


def decode(p, f):
    return f @ p["w_dec"] + p["b_dec"]


def reconstruction(p, x, f):
    """Return mean ||x - x_hat||^2, its gradient in f, and those in the decoder."""
    e = decode(p, f) - x
    g_x_hat = 2 * e / len(x)
    gradients = {"w_dec": f.T @ g_x_hat, "b_dec": g_x_hat.sum(axis=0)}
    return (e**2).sum(axis=1).mean(), g_x_hat @ p["w_dec"].T, gradients


def encoder(p, x, g_z, gradients):
    """Add what reaches the encoder through z = (x - b_dec) w_enc + b_enc."""
    gradients["w_enc"] = (x - p["b_dec"]).T @ g_z
    gradients["b_enc"] = g_z.sum(axis=0)
    gradients["b_dec"] = gradients["b_dec"] - g_z.sum(axis=0) @ p["w_enc"].T


def largest_by_row(a, k):
    """Return where the k largest entries of each row are."""
    mask = np.zeros(a.shape, dtype=bool)
    np.put_along_axis(mask, np.argsort(-a, axis=1, kind="stable")[:, :k], True, axis=1)
    return mask


LOSSES = {
    "jumprelu": jumprelu,
    "relu": relu,
    "gated": gated,
    "topk": topk,
    "batchtopk": batchtopk,
    "matryoshka": batchtopk,
}


@dataclass(kw_only=True)
class Optimiser:
    """Constants of the update."""

    rate: float
    steps: int
    warmup: int
    decay_share: float
    beta2: float = 0.999
    epsilon: float = 1e-8
    unit_rows: bool = True
    log_threshold: bool = False
    threshold_rate: float = 1.0
    threshold_floor: float = 1e-6
    price_warmup: int = 1
    dead_after: int = 0
    memory: float = 0.0


class Training:
    """Parameters, second moments, counters and BatchTopK's running threshold."""

    def __init__(self, kind, parameters, hyper, optimiser):
        self.kind = kind
        self.p = {name: value.astype(np.float64) for name, value in parameters.items()}
        self.hyper = hyper
        self.optimiser = optimiser
        self.second = {name: np.zeros_like(value) for name, value in self.p.items()}
        self.silent = np.zeros(self.p["b_enc"].shape, dtype=int)
        self.running = 0.0
        self.done = 0

    def step(self, x):
        """Take one step on scaled rows and return what was found before it."""
        opt = self.optimiser
        hyper = Hyper(**vars(self.hyper))
        hyper.price *= min(1, (self.done + 1) / opt.price_warmup)
        found = LOSSES[self.kind](self.p, x, hyper, self.silent > opt.dead_after)
        self.update(found.gradients)
        self.follow(found.f, len(x))
        self.done += 1
        return found

    def update(self, gradients):
        opt, p = self.optimiser, self.p
        if opt.unit_rows:
            along = (gradients["w_dec"] * p["w_dec"]).sum(axis=1, keepdims=True)
            gradients["w_dec"] = gradients["w_dec"] - along * p["w_dec"]
        for name, gradient in gradients.items():
            log = name == "theta" and opt.log_threshold
            gradient = gradient * p[name] if log else gradient
            moved = self.adam(name, gradient)
            p[name] = p[name] * np.exp(-moved) if log else p[name] - moved
        if opt.unit_rows:
            p["w_dec"] = p["w_dec"] / np.linalg.norm(p["w_dec"], axis=1, keepdims=True)
        if "theta" in p and not opt.log_threshold:
            p["theta"] = np.maximum(p["theta"], opt.threshold_floor)

    def adam(self, name, gradient):
        """Return Adam's step with beta1 = 0: no first moment, so no correction of it."""
        opt, t = self.optimiser, self.done + 1
        self.second[name] = opt.beta2 * self.second[name] + (1 - opt.beta2) * gradient**2
        corrected = self.second[name] / (1 - opt.beta2**t)
        times = opt.threshold_rate if name == "theta" else 1.0
        rate = times * step_size(self.done, opt)
        return rate * gradient / (np.sqrt(corrected) + opt.epsilon)

    def follow(self, f, num_rows):
        if self.kind in ("batchtopk", "matryoshka") and (f > 0).any():
            smallest, memory = f[f > 0].min(), self.optimiser.memory
            if self.running > 0:
                smallest = memory * self.running + (1 - memory) * smallest
            self.running = smallest
        self.silent = np.where((f > 0).any(axis=0), 0, self.silent + num_rows)


def step_size(step, opt):
    """Return the step size: cosine from a tenth to all, constant, linear to zero."""
    rise = 1.0
    if step < opt.warmup:
        rise = 1 - 0.9 * (1 + math.cos(math.pi * step / opt.warmup)) / 2
    fall_from = opt.steps * (1 - opt.decay_share)
    fall = 1.0
    if step > fall_from:
        fall = (opt.steps - step) / (opt.steps - fall_from)
    return opt.rate * rise * fall
