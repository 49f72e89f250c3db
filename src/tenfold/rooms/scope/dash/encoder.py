"""The encoder of any kind of dictionary, in the one form that the compiled loops read.

With z = x w_enc + bias a latent is active where z - theta > cut, and its value is then
gain z + shift. JumpReLU, ReLU, Gated and BatchTopK need no cut; for TopK it is what the
largest pre-activation left out has on each row.
"""

# R rows, D width of an input, M latents

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tenfold.rooms.jumprelu.model import BatchTopK, Dictionary, Gated, JumpReLU, TopK
from tenfold.rooms.scope.dash.kernels import Floats

SLACK = 1e-6
"""Relative error of a product that the first, coarse comparison allows for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """What turns raw rows into latents; vectors are [M]."""

    w_enc: Tensor
    """[D, M], float32."""
    bias: Floats
    theta: Floats
    gain: Floats
    shift: Floats
    k: int = 0
    """Latents on a row for TopK, else 0."""

    @property
    def width(self) -> int:
        """Latents M."""
        return self.w_enc.shape[1]

    @property
    def low(self) -> Floats:
        """What a bare product has to exceed, less what rounding may hide."""
        slack = SLACK * (np.abs(self.theta) + np.abs(self.bias))
        return np.asarray(self.theta - self.bias - slack, dtype=np.float32)

    @property
    def affine(self) -> Floats:
        """Bias, theta, gain and shift of each latent, [M, 4]."""
        return np.stack([self.bias, self.theta, self.gain, self.shift], axis=1)

    @property
    def threshold(self) -> Floats | None:
        """Thresholds for people to read; None where the kind has none."""
        return self.theta if bool((self.theta > 0).any()) else None


def read_encoder(dictionary: Dictionary) -> Encoder:
    """Return the encoder of a dictionary, folded: for raw activations."""
    folded = dictionary.fold()
    bias = folded.b_enc.detach()
    theta, gain, shift = torch.zeros_like(bias), torch.ones_like(bias), torch.zeros_like(bias)
    k = 0
    match folded.unit:
        case JumpReLU() as unit:
            theta = unit.threshold.detach()
        case BatchTopK() as unit:
            theta = unit.threshold.detach().clamp_min(0).expand_as(bias)
        case Gated() as unit:
            gain = unit.gain_log.detach().exp()
            shift = unit.b_mag.detach() - bias * gain
        case TopK() as unit:
            k = int(unit.k)
        case _:
            pass  # ReLU: active above zero
    return Encoder(
        w_enc=folded.w_enc.detach().float().contiguous(),
        bias=_array(bias),
        theta=_array(theta),
        gain=_array(gain),
        shift=_array(shift),
        k=k,
    )


def _array(values: Tensor) -> Floats:
    return np.array(values.float().cpu().numpy(), dtype=np.float32)


def largest_left_out(product_RM: Tensor, encoder: Encoder) -> tuple[Floats, Floats]:
    """Return what TopK's active latents exceed on each row, [R]: exactly, and by a margin.

    The margin (half-way to the smallest active one) is for products that are computed again in
    another order of summation.
    """
    z_RM = product_RM + torch.from_numpy(encoder.bias)
    if encoder.k >= encoder.width:
        nothing = np.zeros(len(z_RM), np.float32)
        return nothing, nothing
    ranked = z_RM.topk(encoder.k + 1, dim=1).values.clamp_min(0)
    inside, outside = ranked[:, -2], ranked[:, -1]
    return _array(outside), _array((inside + outside) / 2)
