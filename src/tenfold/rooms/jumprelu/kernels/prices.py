"""What one more active latent on a row costs: slopes of `method.jumprelu_penalty`."""

# S stack of dictionaries, B rows of a batch

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.rooms.jumprelu import method


def row_prices(l0_SB: Tensor, penalty: str, setting: method.Setting) -> Tensor:
    """Return the derivative of `method.jumprelu_penalty` in each row's L0, [S, B].

    Zero for the tanh penalty, which has no part in L0.
    """
    num_rows = l0_SB.shape[-1]
    price, target = setting.price.unsqueeze(-1), setting.target_l0.unsqueeze(-1)
    match penalty:
        case "linear":
            slope_SB = price.expand_as(l0_SB)
        case "quad_batch":
            off = l0_SB.mean(dim=-1, keepdim=True) / target - 1
            slope_SB = (price * 2 * off / target).expand_as(l0_SB)
        case "quad_example":
            slope_SB = price * (4 / target) * (l0_SB - target)
        case _:
            assert penalty == "tanh", f"no slope for the penalty {penalty}"
            slope_SB = torch.zeros_like(l0_SB)
    return (slope_SB / num_rows).contiguous()
