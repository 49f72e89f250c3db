"""Sparse dictionaries: an affine encoder, an activation unit, an affine decoder.

One `Dictionary` class holds the parameters; what differs between the published kinds is the
unit of `units.py` that turns pre-activations into latents. Forward only: losses and
pseudo-gradients are in `method.py`, training in `run.py`, files in `files.py`.

Equations (Rajamanoharan et al. 2024, arXiv:2407.14435; Lieberum et al. 2024, arXiv:2408.05147):

    z     = (x / C - b_dec) W_enc + b_enc     (GS eq. 1)  -> `Dictionary.preactivations`
    f     = unit(z)                           (JR eq. 8)  -> `Dictionary.activate`
    x_hat = C (f W_dec + b_dec)               (GS eq. 3)  -> `Dictionary.decode`

A transcoder rebuilds the activation y of another site (GS appendix B): it has no pre-encoder
bias, b_dec and the rows of W_dec have the width of y, and both sides are divided by the one C of
its input. A skip transcoder adds x W_skip to what it decodes (Gemma Scope 2, 2025).

Every tensor may carry one leading stack axis S: S dictionaries of one shape side by side.
"""

# S stack of dictionaries, B rows of a batch, D width of an activation, M latents (M >> D),
# O width of what is rebuilt: D, unless a transcoder rebuilds another site

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu.units import (
    BatchTopK,
    Gated,
    JumpReLU,
    Kind,
    ReLU,
    TopK,
    keep_largest,
    over_rows,
    scaled_unit,
    stacked_unit,
    unit_lane,
)

__all__ = [
    "BatchTopK",
    "Dictionary",
    "Gated",
    "JumpReLU",
    "Kind",
    "ReLU",
    "TopK",
    "create",
    "jumprelu_of_gated",
    "keep_largest",
    "over_rows",
    "row_norms",
    "stack",
]


def row_norms(w_dec_MD: Tensor) -> Tensor:
    """Return the norm of each dictionary direction, [M] or [S, M]."""
    norms: Tensor = torch.linalg.vector_norm(w_dec_MD, dim=-1)
    return norms


class Dictionary(nn.Module):
    """An overcomplete sparse dictionary of activations.

    Args:
        w_enc: [D, M] or [S, D, M].
        b_enc: [M] or [S, M].
        w_dec: [M, O] or [S, M, O]; its rows are the dictionary's directions.
        b_dec: [O] or [S, O].
        unit: what turns pre-activations into latents.
        scale: C; inputs are divided by it and outputs multiplied (1 once folded).
        pre_bias: whether b_dec is subtracted before the encoder (training form).
        w_skip: [D, O] or [S, D, O]; what is added to the output is x W_skip. None adds nothing.
        transcoder: whether another site's activation is rebuilt; only then may O differ from D.
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
        w_skip: Tensor | None = None,
        transcoder: bool = False,
    ) -> None:
        super().__init__()
        assert transcoder or w_dec.shape[-1] == w_enc.shape[-2], "only transcoders change the width"
        assert not (transcoder and pre_bias), "a transcoder's b_dec lies at another site"
        self.w_enc = nn.Parameter(w_enc.clone())
        self.b_enc = nn.Parameter(b_enc.clone())
        self.w_dec = nn.Parameter(w_dec.clone())
        self.b_dec = nn.Parameter(b_dec.clone())
        self.w_skip = None if w_skip is None else nn.Parameter(w_skip.clone())
        self.unit = unit
        self.scale = float(scale)
        self.pre_bias = pre_bias
        self.transcoder = transcoder

    @property
    def width(self) -> int:
        """Number of latents M."""
        return self.w_enc.shape[-1]

    @property
    def input_width(self) -> int:
        """Width D of an activation."""
        return self.w_enc.shape[-2]

    @property
    def output_width(self) -> int:
        """Width O of what is rebuilt."""
        return self.w_dec.shape[-1]

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

    def offset(self, x_BD: Tensor | None = None) -> Tensor:
        """Return what is rebuilt without any latent, [..., O], in units of the scaled input.

        This is b_dec, and x W_skip with it where there is a skip connection.

        Raises:
            TenfoldError: if there is a skip connection and no input.
        """
        if self.w_skip is None:
            return over_rows(self.b_dec)
        if x_BD is None:
            raise TenfoldError(
                f"a dictionary with a skip connection of shape {list(self.w_skip.shape)} cannot "
                "decode latents alone; give the inputs x as well"
            )
        return x_BD @ self.w_skip + over_rows(self.b_dec)

    def reconstruct(self, f_BM: Tensor, x_BD: Tensor | None = None) -> Tensor:
        """Return x_hat [..., B, O] in units of the scaled input.

        Args:
            f_BM: latents.
            x_BD: scaled inputs; needed where there is a skip connection.

        Raises:
            TenfoldError: if there is a skip connection and no input.
        """
        return f_BM @ self.w_dec + self.offset(x_BD)

    def encode(self, x_BD: Tensor) -> Tensor:
        """Return latents f [..., M] of raw activations x [..., D], in the type of the weights."""
        x_BD = x_BD.to(self.w_enc.dtype)
        return self.activate(self.preactivations(x_BD / self.scale))

    def decode(self, f_BM: Tensor, x_BD: Tensor | None = None) -> Tensor:
        """Return raw reconstructions [..., O] of latents f [..., M].

        Args:
            f_BM: latents.
            x_BD: raw activations [..., D]; needed where there is a skip connection.

        Raises:
            TenfoldError: if there is a skip connection and no input.
        """
        if x_BD is not None:
            x_BD = x_BD.to(self.w_dec.dtype) / self.scale
        return self.reconstruct(f_BM, x_BD) * self.scale

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return the reconstruction [..., O] from raw activations x [..., D]."""
        return self.decode(self.encode(x_BD), x_BD)

    def fold(self) -> Dictionary:
        """Return the same function without scaling and pre-encoder bias.

        b_enc' = C b_enc - C W_enc^T b_dec, b_dec' = C b_dec, theta' = C theta; latents become
        C f (Lieberum et al. 2024, appendix A). The other units scale alike, because every one
        of them is positively homogeneous. C cancels in a skip connection.
        """
        scale, shift = self.scale, torch.zeros_like(self.b_enc)
        if self.pre_bias:
            shift = (over_rows(self.b_dec) @ self.w_enc).reshape(self.b_enc.shape)
        return Dictionary(
            w_enc=self.w_enc.detach(),
            b_enc=(scale * (self.b_enc - shift)).detach(),
            w_dec=self.w_dec.detach(),
            b_dec=(scale * self.b_dec).detach(),
            unit=scaled_unit(self.unit, scale, shift),
            w_skip=None if self.w_skip is None else self.w_skip.detach(),
            transcoder=self.transcoder,
        )

    def lane(self, index: int) -> Dictionary:
        """Return dictionary `index` of a stack."""
        return Dictionary(
            w_enc=self.w_enc[index].detach(),
            b_enc=self.b_enc[index].detach(),
            w_dec=self.w_dec[index].detach(),
            b_dec=self.b_dec[index].detach(),
            unit=unit_lane(self.unit, index),
            scale=self.scale,
            pre_bias=self.pre_bias,
            w_skip=None if self.w_skip is None else self.w_skip[index].detach(),
            transcoder=self.transcoder,
        )


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
        w_skip=None if dictionary.w_skip is None else dictionary.w_skip.detach(),
        transcoder=dictionary.transcoder,
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
    transcoder: bool = False,
    output_width: int = 0,
    skip: bool = False,
) -> Dictionary:
    """Return an untrained dictionary (Gemma Scope's start, GS 3.2).

    He-uniform decoder with rows scaled to norm 1, encoder its transpose, biases zero. A
    transcoder's encoder is a He-uniform draw of its own, and it has no pre-encoder bias (GS
    appendix B); its skip connection starts at zero.

    Args:
        kind: what turns pre-activations into latents.
        input_width: D.
        width: M.
        generator: where the draws come from.
        k: latents a row, for the TopK kinds.
        threshold: theta of every latent of a JumpReLU.
        threshold_as_log: keep it as its logarithm.
        prefixes: nested sizes of a Matryoshka dictionary.
        transcoder: rebuild another site.
        output_width: O, of a transcoder; 0 is D.
        skip: give a transcoder a skip connection.
    """
    output_width = output_width or input_width
    assert transcoder or not (skip or output_width != input_width), "this needs a transcoder"
    w_dec = _he_uniform(width, output_width, fan_in=input_width, generator=generator)
    w_dec = w_dec / row_norms(w_dec)[:, None]
    w_enc = w_dec.T
    if transcoder:
        w_enc = _he_uniform(input_width, width, fan_in=input_width, generator=generator)
    units: dict[Kind, nn.Module] = {
        "relu": ReLU(),
        "gated": Gated(torch.zeros(width), torch.zeros(width)),
        "topk": TopK(torch.tensor(k)),
        "batchtopk": BatchTopK(torch.tensor(k), torch.tensor(0.0)),
        "matryoshka": BatchTopK(torch.tensor(k), torch.tensor(0.0), prefixes=prefixes or (width,)),
        "jumprelu": JumpReLU(torch.full((width,), threshold), as_log=threshold_as_log),
    }
    return Dictionary(
        w_enc=w_enc,
        b_enc=torch.zeros(width),
        w_dec=w_dec,
        b_dec=torch.zeros(output_width),
        unit=units[kind],
        pre_bias=not transcoder,
        w_skip=torch.zeros(input_width, output_width) if skip else None,
        transcoder=transcoder,
    )


def _he_uniform(rows: int, columns: int, *, fan_in: int, generator: torch.Generator) -> Tensor:
    bound = (6 / fan_in) ** 0.5
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)


def stack(dictionaries: list[Dictionary]) -> Dictionary:
    """Put dictionaries of one kind and shape side by side along a new leading axis."""
    first = dictionaries[0]
    states = [dictionary.state_dict() for dictionary in dictionaries]
    joined = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    whole = Dictionary(
        w_enc=joined["w_enc"],
        b_enc=joined["b_enc"],
        w_dec=joined["w_dec"],
        b_dec=joined["b_dec"],
        unit=stacked_unit(first.unit, joined),
        scale=first.scale,
        pre_bias=first.pre_bias,
        w_skip=joined.get("w_skip"),
        transcoder=first.transcoder,
    )
    whole.load_state_dict(joined)
    return whole
