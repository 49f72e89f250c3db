"""Sparse dictionaries: an affine encoder, an activation unit, an affine decoder.

One `Dictionary` class holds the parameters; what differs between the published kinds is the
unit that turns pre-activations into latents. Forward only: losses and pseudo-gradients are in
`method.py`, training in `run.py`, files in `files.py`.

Equations (Rajamanoharan et al. 2024, arXiv:2407.14435; Lieberum et al. 2024, arXiv:2408.05147):

    z     = (x / C - b_dec) W_enc + b_enc     (GS eq. 1)  -> `Dictionary.preactivations`
    f     = unit(z)                           (JR eq. 8)  -> `JumpReLU.forward` and its rivals
    x_hat = C (f W_dec + b_dec)               (GS eq. 3)  -> `Dictionary.decode`

Every tensor may carry one leading stack axis S: S dictionaries of one shape side by side.
"""

# S stack of dictionaries, B rows of a batch, D width of an activation, M latents (M >> D)

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

Kind = Literal["relu", "gated", "topk", "batchtopk", "matryoshka", "jumprelu"]


def over_rows(parameter: Tensor) -> Tensor:
    """Shape a per-dictionary vector, [M] or [S, M], so that it broadcasts over rows."""
    return parameter if parameter.dim() < 2 else parameter.unsqueeze(-2)


def row_norms(w_dec_MD: Tensor) -> Tensor:
    """Return the norm of each dictionary direction, [M] or [S, M]."""
    norms: Tensor = torch.linalg.vector_norm(w_dec_MD, dim=-1)
    return norms


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


class Dictionary(nn.Module):
    """An overcomplete sparse dictionary of activations.

    Args:
        w_enc: [D, M] or [S, D, M].
        b_enc: [M] or [S, M].
        w_dec: [M, D] or [S, M, D]; its rows are the dictionary's directions.
        b_dec: [D] or [S, D].
        unit: what turns pre-activations into latents.
        scale: C; inputs are divided by it and outputs multiplied (1 once folded).
        pre_bias: whether b_dec is subtracted before the encoder (training form).
    """

    def __init__(
        self,
        *,
        w_enc: Tensor,
        b_enc: Tensor,
        w_dec: Tensor,
        b_dec: Tensor,
        unit: nn.Module,
        scale: float = 1.0,
        pre_bias: bool = False,
    ) -> None:
        super().__init__()
        self.w_enc = nn.Parameter(w_enc.clone())
        self.b_enc = nn.Parameter(b_enc.clone())
        self.w_dec = nn.Parameter(w_dec.clone())
        self.b_dec = nn.Parameter(b_dec.clone())
        self.unit = unit
        self.scale = float(scale)
        self.pre_bias = pre_bias

    @property
    def width(self) -> int:
        """Number of latents M."""
        return self.w_enc.shape[-1]

    @property
    def input_width(self) -> int:
        """Width D of an activation."""
        return self.w_enc.shape[-2]

    @property
    def kind(self) -> Kind:
        """The published kind, by its unit."""
        return cast(Kind, self.unit.kind)

    def preactivations(self, x_BD: Tensor) -> Tensor:
        """Return z [..., B, M] of inputs that are already divided by the scale."""
        if self.pre_bias:
            x_BD = x_BD - over_rows(self.b_dec)
        return x_BD @ self.w_enc + over_rows(self.b_enc)

    def activate(self, z_BM: Tensor) -> Tensor:
        """Return the unit's latents f [..., B, M] of pre-activations."""
        return cast(Tensor, self.unit(z_BM, self.b_enc))

    def reconstruct(self, f_BM: Tensor) -> Tensor:
        """Return x_hat [..., B, D] in units of the scaled input."""
        return f_BM @ self.w_dec + over_rows(self.b_dec)

    def encode(self, x_BD: Tensor) -> Tensor:
        """Return latents f [..., M] of raw activations x [..., D], in the type of the weights."""
        x_BD = x_BD.to(self.w_enc.dtype)
        return self.activate(self.preactivations(x_BD / self.scale))

    def decode(self, f_BM: Tensor) -> Tensor:
        """Return raw reconstructions [..., D] of latents f [..., M]."""
        return self.reconstruct(f_BM) * self.scale

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return the reconstruction of raw activations x [..., D]."""
        return self.decode(self.encode(x_BD))

    def fold(self) -> Dictionary:
        """Return the same function without scaling and pre-encoder bias.

        b_enc' = C b_enc - C W_enc^T b_dec, b_dec' = C b_dec, theta' = C theta; latents become
        C f (Lieberum et al. 2024, appendix A). The other units scale alike, because every one
        of them is positively homogeneous.
        """
        scale = self.scale
        shift = (over_rows(self.b_dec) @ self.w_enc).reshape(self.b_enc.shape) * self.pre_bias
        return Dictionary(
            w_enc=self.w_enc.detach(),
            b_enc=(scale * (self.b_enc - shift)).detach(),
            w_dec=self.w_dec.detach(),
            b_dec=(scale * self.b_dec).detach(),
            unit=_scaled_unit(self.unit, scale, shift),
        )

    def lane(self, index: int) -> Dictionary:
        """Return dictionary `index` of a stack."""
        return Dictionary(
            w_enc=self.w_enc[index].detach(),
            b_enc=self.b_enc[index].detach(),
            w_dec=self.w_dec[index].detach(),
            b_dec=self.b_dec[index].detach(),
            unit=_unit_lane(self.unit, index),
            scale=self.scale,
            pre_bias=self.pre_bias,
        )


def _scaled_unit(unit: nn.Module, scale: float, shift: Tensor) -> nn.Module:
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


def _unit_lane(unit: nn.Module, index: int) -> nn.Module:
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


def jumprelu_of_gated(dictionary: Dictionary) -> Dictionary:
    """Return the JumpReLU dictionary that equals a Gated one with tied encoders.

    With W_mag = W_gate exp(r) both pre-activations share one linear part, so that
    f = H(pi) relu(z_mag) = JumpReLU_theta(z_mag) with theta = b_mag - b_gate exp(r)
    (arXiv:2407.14435, section 2). Exact where theta > 0; elsewhere the relu decides and
    theta is the smallest positive number.
    """
    unit = dictionary.unit
    if not isinstance(unit, Gated):
        raise ValueError(f"a {dictionary.kind} dictionary has no gate; pass a gated one")
    gain = unit.gain_log.exp().detach()
    b_mag, b_gate = unit.b_mag.detach(), dictionary.b_enc.detach()
    threshold = (b_mag - b_gate * gain).clamp_min(torch.finfo(gain.dtype).tiny)
    return Dictionary(
        w_enc=dictionary.w_enc.detach() * over_rows(gain),
        b_enc=b_mag,
        w_dec=dictionary.w_dec.detach(),
        b_dec=dictionary.b_dec.detach(),
        unit=JumpReLU(threshold),
        scale=dictionary.scale,
        pre_bias=dictionary.pre_bias,
    )


def create(
    kind: Kind,
    *,
    input_width: int,
    width: int,
    generator: torch.Generator,
    k: int = 32,
    threshold: float = 1e-3,
    threshold_as_log: bool = False,
    prefixes: tuple[int, ...] = (),
) -> Dictionary:
    """Return an untrained dictionary (Gemma Scope's start, GS 3.2).

    He-uniform decoder with rows scaled to norm 1, encoder its transpose, biases zero.
    """
    bound = (6 / input_width) ** 0.5
    w_dec = torch.empty(width, input_width).uniform_(-bound, bound, generator=generator)
    w_dec = w_dec / row_norms(w_dec)[:, None]
    units: dict[Kind, nn.Module] = {
        "relu": ReLU(),
        "gated": Gated(torch.zeros(width), torch.zeros(width)),
        "topk": TopK(torch.tensor(k)),
        "batchtopk": BatchTopK(torch.tensor(k), torch.tensor(0.0)),
        "matryoshka": BatchTopK(torch.tensor(k), torch.tensor(0.0), prefixes=prefixes or (width,)),
        "jumprelu": JumpReLU(torch.full((width,), threshold), as_log=threshold_as_log),
    }
    return Dictionary(
        w_enc=w_dec.T,
        b_enc=torch.zeros(width),
        w_dec=w_dec,
        b_dec=torch.zeros(input_width),
        unit=units[kind],
        pre_bias=True,
    )


def stack(dictionaries: list[Dictionary]) -> Dictionary:
    """Put dictionaries of one kind and shape side by side along a new leading axis."""
    first = dictionaries[0]
    states = [dictionary.state_dict() for dictionary in dictionaries]
    joined = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    unit: nn.Module
    match first.unit:
        case JumpReLU(as_log=as_log):
            unit = JumpReLU(torch.ones_like(joined["unit.raw"]), as_log=as_log)
        case Gated():
            unit = Gated(joined["unit.gain_log"], joined["unit.b_mag"])
        case TopK():
            unit = TopK(joined["unit.k"])
        case BatchTopK(prefixes=prefixes):
            unit = BatchTopK(joined["unit.k"], joined["unit.threshold"], prefixes=prefixes)
        case _:
            unit = ReLU()
    whole = Dictionary(
        w_enc=joined["w_enc"],
        b_enc=joined["b_enc"],
        w_dec=joined["w_dec"],
        b_dec=joined["b_dec"],
        unit=unit,
        scale=first.scale,
        pre_bias=first.pre_bias,
    )
    whole.load_state_dict(joined)
    return whole
