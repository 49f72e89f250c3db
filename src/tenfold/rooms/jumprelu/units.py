"""Activation units: what turns a dictionary's pre-activations into sparse latents.

f = unit(z), by row or by batch; JumpReLU's is JR eq. 8 (Rajamanoharan et al. 2024,
arXiv:2407.14435), its rivals' sources are named at each. Forward only; every tensor may carry
one leading stack axis S.
"""

# S stack of dictionaries, B rows of a batch, M latents

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["relu", "gated", "topk", "batchtopk", "matryoshka", "jumprelu"]


def over_rows(parameter: Tensor) -> Tensor:
    """Shape a per-dictionary vector, [M] or [S, M], so that it broadcasts over rows."""
    return parameter if parameter.dim() < 2 else parameter.unsqueeze(-2)


class ReLU(nn.Module):
    """f = max(z, 0)."""

    kind: Kind = "relu"

    def forward(self, z_BM: Tensor, b_enc: Tensor) -> Tensor:  # noqa: ARG002 (all units take it)
        """Return max(z, 0)."""
        return z_BM.relu()


class JumpReLU(nn.Module):
    """f = z H(z - theta) with one threshold a latent (JR eq. 8); z = theta is off.

    Args:
        threshold: theta > 0, [M] or [S, M], in units of the scaled input.
        as_log: keep log(theta) as the parameter (Gemma Scope), so that it stays positive.
    """

    kind: Kind = "jumprelu"

    def __init__(self, threshold: Tensor, *, as_log: bool = False) -> None:
        super().__init__()
        self.as_log = as_log
        self.raw = nn.Parameter(threshold.log() if as_log else threshold.clone())

    @property
    def threshold(self) -> Tensor:
        """Theta, [M] or [S, M]."""
        return self.raw.exp() if self.as_log else self.raw

    def forward(self, z_BM: Tensor, b_enc: Tensor) -> Tensor:  # noqa: ARG002
        """Return z where z > theta, else 0."""
        return z_BM * (z_BM > over_rows(self.threshold))


class Gated(nn.Module):
    """f = H(pi) relu(z_mag) with the tied encoder W_mag = W_gate exp(r_mag).

    The gate's pre-activation pi is the dictionary's z; b_enc is the gate's bias
    (Rajamanoharan et al. 2024, arXiv:2404.16014).
    """

    kind: Kind = "gated"

    def __init__(self, gain_log: Tensor, b_mag: Tensor) -> None:
        super().__init__()
        self.gain_log = nn.Parameter(gain_log.clone())
        self.b_mag = nn.Parameter(b_mag.clone())

    def magnitudes(self, pi_BM: Tensor, b_enc: Tensor) -> Tensor:
        """Return z_mag = (pi - b_gate) exp(r_mag) + b_mag."""
        linear_BM = pi_BM - over_rows(b_enc)
        return linear_BM * over_rows(self.gain_log.exp()) + over_rows(self.b_mag)

    def forward(self, z_BM: Tensor, b_enc: Tensor) -> Tensor:
        """Return relu(z_mag) where pi > 0, else 0."""
        return self.magnitudes(z_BM, b_enc).relu() * (z_BM > 0)


class TopK(nn.Module):
    """Keep the k largest of relu(z) in each row (Gao et al. 2024, arXiv:2406.04093)."""

    kind: Kind = "topk"

    def __init__(self, k: Tensor) -> None:
        super().__init__()
        self.register_buffer("k", k.to(torch.int64))

    k: Tensor

    def forward(self, z_BM: Tensor, b_enc: Tensor) -> Tensor:  # noqa: ARG002
        """Return relu(z) of the k largest entries a row."""
        return keep_largest(z_BM.relu(), self.k)


class BatchTopK(nn.Module):
    """Keep entries above one global threshold (Bussmann et al. 2024, arXiv:2412.06410).

    In training the k * B largest of a batch are kept instead (`method.batch_topk_latents`) and
    the threshold follows their smallest; what is used afterwards does not depend on the batch.

    Args:
        k: mean number of latents on a row.
        threshold: [] or [S].
        prefixes: nested dictionary sizes as increasing latent counts ending in M, for
            Matryoshka training (Bussmann et al. 2025, arXiv:2503.17547); empty for plain.
    """

    def __init__(self, k: Tensor, threshold: Tensor, *, prefixes: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.register_buffer("k", k.to(torch.int64))
        self.register_buffer("threshold", threshold.clone())
        self.prefixes = prefixes
        self.kind: Kind = "matryoshka" if prefixes else "batchtopk"

    k: Tensor
    threshold: Tensor

    def forward(self, z_BM: Tensor, b_enc: Tensor) -> Tensor:  # noqa: ARG002
        """Return relu(z) where it exceeds the threshold, else 0."""
        return z_BM.relu() * (z_BM > over_rows(self.threshold.unsqueeze(-1)))


def keep_largest(f_BM: Tensor, k: Tensor) -> Tensor:
    """Keep the `k` ([] or [S]) largest entries of each row and put zero elsewhere."""
    most = int(k.max())
    values, places = f_BM.topk(most, dim=-1, sorted=bool((k != most).any()))
    rank = torch.arange(most, device=f_BM.device)
    kept = values * (rank < over_rows(k.unsqueeze(-1)))
    return torch.zeros_like(f_BM).scatter(-1, places, kept)


def scaled_unit(unit: nn.Module, scale: float, shift: Tensor) -> nn.Module:
    """Return the unit of a folded dictionary, whose latents are `scale` times as large.

    Args:
        unit: of the dictionary before.
        scale: C.
        shift: W_enc^T b_dec [M] that moves into b_enc; zero without a pre-bias.
    """
    match unit:
        case JumpReLU():
            return JumpReLU((scale * unit.threshold).detach())
        case Gated():
            # z_mag' = C z_mag on raw inputs: the tied encoder carries the pre-bias too.
            b_mag = scale * (unit.b_mag - shift * unit.gain_log.exp())
            return Gated(unit.gain_log.detach(), b_mag.detach())
        case TopK():
            return TopK(unit.k)
        case BatchTopK():
            return BatchTopK(unit.k, scale * unit.threshold, prefixes=unit.prefixes)
        case _:
            return ReLU()


def unit_lane(unit: nn.Module, index: int) -> nn.Module:
    """Return the unit of dictionary `index` of a stack."""
    match unit:
        case JumpReLU():
            return JumpReLU(unit.threshold[index].detach())
        case Gated():
            return Gated(unit.gain_log[index].detach(), unit.b_mag[index].detach())
        case TopK():
            return TopK(unit.k[index])
        case BatchTopK():
            return BatchTopK(unit.k[index], unit.threshold[index], prefixes=unit.prefixes)
        case _:
            return ReLU()


def stacked_unit(first: nn.Module, joined: Mapping[str, Tensor]) -> nn.Module:
    """Return the unit of a stack.

    Args:
        first: the unit of any of its dictionaries.
        joined: the dictionaries' state, stacked.
    """
    match first:
        case JumpReLU(as_log=as_log):
            return JumpReLU(torch.ones_like(joined["unit.raw"]), as_log=as_log)
        case Gated():
            return Gated(joined["unit.gain_log"], joined["unit.b_mag"])
        case TopK():
            return TopK(joined["unit.k"])
        case BatchTopK(prefixes=prefixes):
            return BatchTopK(joined["unit.k"], joined["unit.threshold"], prefixes=prefixes)
        case _:
            return ReLU()
