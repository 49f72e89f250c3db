"""The equations: pseudo-gradients, penalties and training losses of seven dictionary kinds.

Rajamanoharan et al. 2024, "Jumping Ahead" (JR, arXiv:2407.14435); Lieberum et al. 2024,
"Gemma Scope" (GS, arXiv:2408.05147). In every loss the error is a sum over dimensions and a
mean over the batch, L(x) = ||x - x_hat||^2 + lambda * sparsity (GS eq. 4), and inputs are
scaled to a mean squared norm of 1, so that lambda is the price of one active latent in units
of squared error.

Pseudo-gradients, with K(u) = [|u| < 1/2] and u = (z - theta) / eps (JR section 3):

    d JumpReLU / d z     = H(z - theta)          (no pseudo-gradient, unless asked for)
    d JumpReLU / d theta = -(theta / eps) K(u)
    d H / d z            = 0                     (likewise)
    d H / d theta        = -(1 / eps) K(u)

Differs from the paper: the window is applied to z itself, never to gated or rectified values,
which would lose half of it. What a loss rebuilds is its input, or a transcoder's target. The
exact form of the secondary frequency penalty of Gemma Scope 2
is not published; `frequency_penalty` says what is used.
"""

# S stack of dictionaries, B rows of a batch, D width of an activation, M latents, K prefixes

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tenfold.rooms.jumprelu import config
from tenfold.rooms.jumprelu.model import (
    BatchTopK,
    Dictionary,
    Gated,
    JumpReLU,
    TopK,
    keep_largest,
    over_rows,
    row_norms,
)

TANH_STEEPNESS = 4.0
"""c of the tanh penalty, for inputs scaled to a mean norm of sqrt(D)."""
DEAD_PULL = 3e-6
"""Weight of the tanh recipe's term on latents below their threshold."""


def rectangle(u: Tensor) -> Tensor:
    """Return K(u): 1 where |u| < 1/2, else 0."""
    return (u.abs() < 0.5).to(u.dtype)


class _Threshold(torch.autograd.Function):
    """JumpReLU with its counts of active latents, and their pseudo-gradients.

    The counts by row and by latent are the step function H summed over the other axis, so
    one pass backward serves the activation, the L0 penalty and the frequency penalty.
    """

    @staticmethod
    def forward(
        ctx: Any, z_BM: Tensor, theta_M: Tensor, bandwidth: float, step_to_z: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        active_BM = z_BM > over_rows(theta_M)
        ctx.save_for_backward(z_BM, theta_M)
        ctx.bandwidth, ctx.step_to_z = bandwidth, step_to_z
        return (
            z_BM * active_BM,
            active_BM.sum(dim=-1).to(z_BM.dtype),
            active_BM.sum(dim=-2).to(z_BM.dtype),
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_f_BM, grad_row_B, grad_latent_M = gradients
        z_BM, theta_M = ctx.saved_tensors
        theta_1M = over_rows(theta_M)
        distance_BM = z_BM - theta_1M
        # What raising H by one at this entry would add to the loss, inside the window only.
        rise_BM = torch.addcmul(grad_row_B.unsqueeze(-1), grad_f_BM, theta_1M)
        rise_BM += over_rows(grad_latent_M)
        rise_BM *= distance_BM.abs() < 0.5 * ctx.bandwidth
        rise_BM /= ctx.bandwidth
        grad_z_BM = grad_f_BM * (distance_BM > 0)
        if ctx.step_to_z:
            grad_z_BM += rise_BM
        return grad_z_BM, -rise_BM.sum(dim=-2), None, None


def threshold_latents(
    z_BM: Tensor, theta_M: Tensor, *, bandwidth: float, step_to_z: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return JumpReLU latents [.., B, M], L0 of each row [.., B], and counts [.., M].

    All three carry the pseudo-gradients of the table above.

    Args:
        z_BM: pre-activations.
        theta_M: thresholds, [M] or [S, M].
        bandwidth: eps, the width of the window in units of the scaled input.
        step_to_z: also send the step's pseudo-gradient to z (an option of the tanh recipe).
    """
    latents: tuple[Tensor, Tensor, Tensor] = _Threshold.apply(  # type: ignore[no-untyped-call]
        z_BM, theta_M, bandwidth, step_to_z
    )
    return latents


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What one step says of a stack: per-dictionary values [S] unless noted."""

    loss: Tensor
    """What is minimised."""
    error: Tensor
    """Mean squared error ||x - x_hat||^2, in [0, about 1] for scaled inputs."""
    l0: Tensor
    """Mean number of active latents on a row."""
    fired: Tensor
    """Which latents were active on some row, bool [S, M]."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """Diagnostics of one kind, each [S]."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a loss needs beside dictionary and batch; values [S] unless noted."""

    price: Tensor
    """Lambda."""
    target_l0: Tensor
    """L0*, where a penalty or unit has one."""
    bandwidth: float
    """Eps of the pseudo-gradients."""
    dead: Tensor
    """Latents that have not fired for long, bool [S, M]."""


def squared_error(x_BD: Tensor, x_hat_BD: Tensor) -> Tensor:
    """Return ||x - x_hat||^2, summed over dimensions, mean over rows."""
    return (x_BD - x_hat_BD).square().sum(dim=-1).mean(dim=-1)


def loss(
    dictionary: Dictionary,
    x_BD: Tensor,
    setting: Setting,
    method: config.Method,
    target_BD: Tensor | None = None,
) -> Terms:
    """Return the training loss of `method` and its terms.

    Args:
        dictionary: in training form (pre-bias, inputs scaled outside).
        x_BD: scaled inputs, [B, D] or [S, B, D].
        setting: prices, targets and what is dead.
        method: which loss, with its options.
        target_BD: what is to be rebuilt, [B, O] or [S, B, O], divided by the same C as the
            inputs (a transcoder's other site); None is the inputs themselves.
    """
    y_BD = x_BD if target_BD is None else target_BD
    assert y_BD.shape[-1] == dictionary.output_width, "the target is of another width"
    match method:
        case config.ReLU():
            return relu_l1(dictionary, x_BD, y_BD, setting, method)
        case config.Gated():
            return gated(dictionary, x_BD, y_BD, setting, method)
        case config.TopK():
            return topk(dictionary, x_BD, y_BD, setting, method)
        case config.BatchTopK():
            return batch_topk(dictionary, x_BD, y_BD, setting, method)
        case config.Matryoshka():
            return matryoshka(dictionary, x_BD, y_BD, setting, method)
        case config.JumpReLU():
            return jumprelu(dictionary, x_BD, y_BD, setting, method)


def jumprelu(
    dictionary: Dictionary, x_BD: Tensor, y_BD: Tensor, setting: Setting, method: config.JumpReLU
) -> Terms:
    """JumpReLU loss (GS eq. 4) with one of the penalties of `jumprelu_penalty`."""
    unit = dictionary.unit
    assert isinstance(unit, JumpReLU), f"a {dictionary.kind} dictionary under a JumpReLU loss"
    z_BM = dictionary.preactivations(x_BD)
    theta_M = unit.threshold
    f_BM, l0_B, count_M = threshold_latents(
        z_BM,
        theta_M,
        bandwidth=setting.bandwidth,
        step_to_z=method.step_to_z or method.penalty == "tanh",
    )
    error = squared_error(y_BD, dictionary.reconstruct(f_BM, x_BD))
    if method.penalty == "tanh":
        penalty = tanh_penalty(dictionary, z_BM, f_BM, theta_M, setting.price)
    else:
        penalty = jumprelu_penalty(
            l0_B, kind=method.penalty, price=setting.price, target_l0=setting.target_l0
        )
    if method.frequency_weight:
        frequency_M = count_M / x_BD.shape[-2]
        penalty = penalty + method.frequency_weight * frequency_penalty(
            frequency_M, scale=method.frequency_scale
        )
    return Terms(
        loss=error + penalty,
        error=error.detach(),
        l0=l0_B.detach().mean(dim=-1),
        fired=count_M.detach() > 0,
    )


def jumprelu_penalty(l0_B: Tensor, *, kind: str, price: Tensor, target_l0: Tensor) -> Tensor:
    """Return one of the penalties on L0, mean over the batch.

    - `linear`: lambda L0 (GS eq. 4);
    - `quad_batch`: lambda (mean L0 / L0* - 1)^2 (JR appendix);
    - `quad_example`: lambda (2 / L0*) (L0(x) - L0*)^2 (Gemma Scope 2, eq. 5).

    Args:
        l0_B: L0 of each row, carrying the step's pseudo-gradient.
        kind: which of the three.
        price: lambda, [] or [S].
        target_l0: L0*, [] or [S].
    """
    if kind == "linear":
        return price * l0_B.mean(dim=-1)
    if kind == "quad_batch":
        return price * (l0_B.mean(dim=-1) / target_l0 - 1).square()
    if kind == "quad_example":
        excess_B = l0_B - target_l0.unsqueeze(-1)
        return price * (2 / target_l0) * excess_B.square().mean(dim=-1)
    raise ValueError(f"penalty {kind!r} is none of linear, quad_batch, quad_example")


def tanh_penalty(
    dictionary: Dictionary, z_BM: Tensor, f_BM: Tensor, theta_M: Tensor, price: Tensor
) -> Tensor:
    """Return lambda sum_i tanh(c f_i ||d_i||) and the pull on dead latents.

    Anthropic's recipe of January 2025, whose constants are for inputs of mean norm sqrt(D);
    ours have norm 1, so c grows by sqrt(D) and the terms of squared error shrink by D.
    """
    root = math.sqrt(dictionary.input_width)
    norm_M = over_rows(row_norms(dictionary.w_dec))
    active = (TANH_STEEPNESS * root * f_BM * norm_M).tanh().sum(dim=-1).mean(dim=-1)
    below = ((over_rows(theta_M) - z_BM).relu() * norm_M).sum(dim=-1).mean(dim=-1)
    return price * active + DEAD_PULL / root * below


def frequency_penalty(frequency_M: Tensor, *, scale: float) -> Tensor:
    """Return sum_i p_i (1 + p_i / omega_0), which falls hardest on ever-active latents.

    Stands in for Gemma Scope 2's secondary penalty, whose exact form is not published.
    """
    return (frequency_M * (1 + frequency_M / scale)).sum(dim=-1)


def relu_l1(
    dictionary: Dictionary, x_BD: Tensor, y_BD: Tensor, setting: Setting, method: config.ReLU
) -> Terms:
    """ReLU loss ||x - x_hat||^2 + lambda sum_i f_i, or f_i ||d_i|| when norm-weighted."""
    f_BM = dictionary.preactivations(x_BD).relu()
    error = squared_error(y_BD, dictionary.reconstruct(f_BM, x_BD))
    sparsity = l1(f_BM, dictionary.w_dec, norm_weighted=method.norm_weighted)
    return _terms(error + setting.price * sparsity, error, f_BM)


def l1(f_BM: Tensor, w_dec_MD: Tensor, *, norm_weighted: bool) -> Tensor:
    """Return the mean over rows of sum_i f_i, or of sum_i f_i ||d_i|| when weighted."""
    if not norm_weighted:
        return f_BM.sum(dim=-1).mean(dim=-1)
    mean_M = f_BM.mean(dim=-2)
    return (mean_M * row_norms(w_dec_MD)).sum(dim=-1)


def gated(
    dictionary: Dictionary, x_BD: Tensor, y_BD: Tensor, setting: Setting, method: config.Gated
) -> Terms:
    """Gated loss (arXiv:2404.16014, eq. 8; RI-L1 weighting as in JR).

    ||x - x_hat||^2 + lambda |relu(pi)|_1 + ||x - x_hat_frozen(relu(pi))||^2, where the
    frozen decoder receives no gradient: it only teaches the gate.
    """
    assert isinstance(dictionary.unit, Gated), f"a {dictionary.kind} dictionary under Gated"
    pi_BM = dictionary.preactivations(x_BD)
    f_BM = dictionary.activate(pi_BM)
    gate_BM = pi_BM.relu()
    error = squared_error(y_BD, dictionary.reconstruct(f_BM, x_BD))
    sparsity = l1(gate_BM, dictionary.w_dec, norm_weighted=method.norm_weighted)
    frozen_BD = gate_BM @ dictionary.w_dec.detach() + dictionary.offset(x_BD).detach()
    total = error + setting.price * sparsity + squared_error(y_BD, frozen_BD)
    return _terms(total, error, f_BM)


def topk(
    dictionary: Dictionary, x_BD: Tensor, y_BD: Tensor, setting: Setting, method: config.TopK
) -> Terms:
    """TopK loss ||e||^2 + alpha AuxK (arXiv:2406.04093), optionally with Multi-TopK at 4 k."""
    unit = dictionary.unit
    assert isinstance(unit, TopK), f"a {dictionary.kind} dictionary under a TopK loss"
    a_BM = dictionary.preactivations(x_BD).relu()
    f_BM = keep_largest(a_BM, unit.k)
    y_hat_BD = dictionary.reconstruct(f_BM, x_BD)
    error = squared_error(y_BD, y_hat_BD)
    total = error + method.aux_weight * aux_k(
        dictionary, a_BM, y_BD - y_hat_BD, dead_M=setting.dead, k=method.aux_k
    )
    if method.multi_weight:
        wide_BM = keep_largest(a_BM, (4 * unit.k).clamp_max(dictionary.width))
        wide = squared_error(y_BD, dictionary.reconstruct(wide_BM, x_BD))
        total = total + method.multi_weight * wide
    return _terms(total, error, f_BM)


def batch_topk(
    dictionary: Dictionary, x_BD: Tensor, y_BD: Tensor, setting: Setting, method: config.BatchTopK
) -> Terms:
    """BatchTopK loss ||e||^2 + alpha AuxK (arXiv:2412.06410)."""
    unit = dictionary.unit
    assert isinstance(unit, BatchTopK), f"a {dictionary.kind} dictionary under BatchTopK"
    a_BM = dictionary.preactivations(x_BD).relu()
    f_BM = batch_topk_latents(a_BM, unit.k)
    y_hat_BD = dictionary.reconstruct(f_BM, x_BD)
    error = squared_error(y_BD, y_hat_BD)
    aux = aux_k(dictionary, a_BM, y_BD - y_hat_BD, dead_M=setting.dead, k=method.aux_k)
    return _terms(error + method.aux_weight * aux, error, f_BM, smallest=_smallest(f_BM))


def matryoshka(
    dictionary: Dictionary,
    x_BD: Tensor,
    y_BD: Tensor,
    setting: Setting,
    method: config.Matryoshka,
) -> Terms:
    """Matryoshka BatchTopK: the sum of errors of nested prefixes (arXiv:2503.17547)."""
    unit = dictionary.unit
    assert isinstance(unit, BatchTopK), f"a {dictionary.kind} dictionary under Matryoshka"
    a_BM = dictionary.preactivations(x_BD).relu()
    f_BM = batch_topk_latents(a_BM, unit.k)
    y_hat_BD = dictionary.offset(x_BD).expand(y_BD.shape)
    total = torch.zeros_like(setting.price)
    for start, stop in zip((0, *unit.prefixes), unit.prefixes, strict=False):
        group_BD = f_BM[..., start:stop] @ dictionary.w_dec[..., start:stop, :]
        y_hat_BD = y_hat_BD + group_BD
        error = squared_error(y_BD, y_hat_BD)
        total = total + error
    aux = aux_k(dictionary, a_BM, y_BD - y_hat_BD, dead_M=setting.dead, k=method.aux_k)
    return _terms(total + method.aux_weight * aux, error, f_BM, smallest=_smallest(f_BM))


def batch_topk_latents(a_BM: Tensor, k: Tensor) -> Tensor:
    """Keep the k B largest entries of each [B, M] batch of non-negative `a_BM`.

    Args:
        a_BM: rectified pre-activations, [B, M] or [S, B, M].
        k: mean number kept on a row, [] or [S].
    """
    flat = a_BM.flatten(start_dim=-2)
    kept = keep_largest(flat.unsqueeze(-2), k * a_BM.shape[-2])
    return kept.view_as(a_BM)


def _smallest(f_BM: Tensor) -> Tensor:
    """Return the smallest positive latent of each batch, [S]; infinite if there is none."""
    positive = torch.where(f_BM > 0, f_BM.detach(), torch.inf)
    return positive.flatten(start_dim=-2).amin(dim=-1)


def aux_k(dictionary: Dictionary, a_BM: Tensor, e_BD: Tensor, *, dead_M: Tensor, k: int) -> Tensor:
    """Return ||e - e_hat||^2 / Var(e), e_hat from the `k` most active dead latents.

    Zero where nothing is dead or the error does not vary; e itself takes no gradient.

    Args:
        dictionary: whose decoder rows rebuild the error.
        a_BM: rectified pre-activations.
        e_BD: the error of what was to be rebuilt.
        dead_M: which latents are dead, [M] or [S, M].
        k: how many dead latents may help; 0 means half the width of the error.
    """
    if not bool(dead_M.any()):
        return e_BD.new_zeros(dead_M.shape[:-1])
    k = min(k or max(1, dictionary.output_width // 2), dictionary.width)
    e_BD = e_BD.detach()
    help_BM = keep_largest(a_BM * over_rows(dead_M), torch.tensor(k, device=a_BM.device))
    missed = squared_error(e_BD, help_BM @ dictionary.w_dec)
    variance = squared_error(e_BD, e_BD.mean(dim=-2, keepdim=True))
    usable = (variance > 0) & dead_M.any(dim=-1)
    return torch.where(usable, missed / variance.clamp_min(torch.finfo(e_BD.dtype).tiny), 0.0)


def _terms(total: Tensor, error: Tensor, f_BM: Tensor, **extra: Tensor) -> Terms:
    active_BM = f_BM.detach() > 0
    return Terms(
        loss=total,
        error=error.detach(),
        l0=active_BM.sum(dim=-1).to(error.dtype).mean(dim=-1),
        fired=active_BM.any(dim=-2),
        extra=extra,
    )


def remove_parallel(gradient_MD: Tensor, w_dec_MD: Tensor) -> Tensor:
    """Return decoder gradients without the part along each unit row (GS 3.2, before Adam)."""
    along_M1 = (gradient_MD * w_dec_MD).sum(dim=-1, keepdim=True)
    return gradient_MD - along_M1 * w_dec_MD


def benefit_at_threshold(
    dictionary: Dictionary, x_BD: Tensor, *, bandwidth: float, target_BD: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return what staying on is worth at the threshold, and the share of entries in the window.

    The first is the mean of 2 theta (x - x_hat).d_i over entries inside the window, [S]: the
    error that one latent saves, to be compared with lambda. At equilibrium the two are equal
    (JR section 4); far apart, raising lambda no longer lowers L0. `target_BD` is as for `loss`.
    """
    unit = dictionary.unit
    assert isinstance(unit, JumpReLU), f"a {dictionary.kind} dictionary has no thresholds"
    z_BM = dictionary.preactivations(x_BD)
    theta_1M = over_rows(unit.threshold)
    y_BD = x_BD if target_BD is None else target_BD
    e_BD = y_BD - dictionary.reconstruct(z_BM * (z_BM > theta_1M), x_BD)
    window_BM = rectangle((z_BM - theta_1M) / bandwidth)
    saved_BM = 2 * theta_1M * (e_BD @ dictionary.w_dec.mT) * window_BM
    inside = window_BM.sum(dim=(-2, -1))
    entries = z_BM.shape[-2] * z_BM.shape[-1]
    return saved_BM.sum(dim=(-2, -1)) / inside.clamp_min(1), inside / entries
