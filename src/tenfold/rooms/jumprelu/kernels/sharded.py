"""A dictionary too wide for one device: its latents are split over processes (GS 3.3).

Every process has the same rows and its own share of the latents, with their part of encoder,
decoder, thresholds and second moments; b_dec and a skip connection are kept by all alike. What
travels is the sum of the partial reconstructions [B, O] and of the L0 of each row, then the
pull of all latents at b_dec [D] and the loss of each dictionary. No gradient of a weight does.

    y_hat = b_dec + sum over processes of f W_dec       one sum forward, one back

The gradient of a latent needs nothing but its own weights and the whole error, so that steps
are those of one process, up to the order of sums.
"""

# S stack of dictionaries, B rows of a batch, D width, O width of what is rebuilt, M latents of
# this process

from __future__ import annotations

import torch
from torch import Tensor

from tenfold.engine.dist import Place, gather_from, sum_over
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu import config, method
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.kernels.prices import row_prices
from tenfold.rooms.jumprelu.model import Dictionary, JumpReLU, row_norms

_LATENT_AXIS = {"w_enc": -1, "b_enc": -1, "w_dec": -2, "unit.raw": -1}
"""Where the latents are in each parameter that is split."""


def take_share(dictionary: Dictionary, place: Place) -> Dictionary:
    """Return the latents of a JumpReLU dictionary, or of a stack, that `place` trains.

    Raises:
        TenfoldError: if the dictionary is of another kind, or its latents do not divide evenly.
    """
    unit, width = dictionary.unit, dictionary.width
    if not isinstance(unit, JumpReLU):
        raise TenfoldError(
            f"a {dictionary.kind} dictionary cannot be split over processes; only jumprelu can, "
            "whose latents do not compete"
        )
    if width % place.count:
        raise TenfoldError(
            f"{width} latents cannot be split evenly over {place.count} processes; use a multiple"
        )
    share = width // place.count

    def own(name: str, value: Tensor) -> Tensor:
        return value.detach().narrow(_LATENT_AXIS[name], place.rank * share, share)

    skip = dictionary.w_skip
    return Dictionary(
        w_enc=own("w_enc", dictionary.w_enc),
        b_enc=own("b_enc", dictionary.b_enc),
        w_dec=own("w_dec", dictionary.w_dec),
        b_dec=dictionary.b_dec.detach(),
        unit=JumpReLU(own("unit.raw", unit.threshold), as_log=unit.as_log),
        scale=dictionary.scale,
        pre_bias=dictionary.pre_bias,
        w_skip=None if skip is None else skip.detach(),
        transcoder=dictionary.transcoder,
    )


def put_together(share: Dictionary, place: Place) -> Dictionary | None:
    """Return the whole dictionary in the process that writes, None in the others.

    All processes must call it.
    """
    unit = share.unit
    assert isinstance(unit, JumpReLU), f"a {share.kind} dictionary is never split"
    whole = {
        name: gather_from(place, value)
        for name, value in share.named_parameters()
        if name in _LATENT_AXIS
    }
    if not place.writes:
        return None
    joined = {name: torch.cat(parts, dim=_LATENT_AXIS[name]) for name, parts in whole.items()}
    raw = joined.pop("unit.raw")
    found = Dictionary(
        **joined,
        b_dec=share.b_dec.detach(),
        unit=JumpReLU(torch.ones_like(raw), as_log=unit.as_log),
        scale=share.scale,
        pre_bias=share.pre_bias,
        w_skip=None if share.w_skip is None else share.w_skip.detach(),
        transcoder=share.transcoder,
    )
    assert isinstance(found.unit, JumpReLU), "just made"
    # Not through the threshold: a logarithm and back would change bits.
    found.unit.raw.data.copy_(raw)
    return found


class ShardedStep:
    """The dense step of a stack of JumpReLU dictionaries whose latents are split.

    Called like the other steps, by all processes at once and with equal rows. Its terms are
    those of the whole dictionary, only `fired` is of the latents of this process.

    Args:
        share: what `take_share` returned, in training form.
        chosen: the loss, with its options resolved.
        moments: Adam's state of the share.
        place: of this process.
    """

    def __init__(
        self, share: Dictionary, chosen: config.JumpReLU, moments: Moments, *, place: Place
    ) -> None:
        self.dictionary, self.chosen, self.moments, self.place = share, chosen, moments, place

    def __call__(
        self,
        x_SBD: Tensor,
        y_SBO: Tensor | None,
        setting: method.Setting,
        *,
        rate: float,
        densest: float = 1.0,  # noqa: ARG002 (other steps leave dense batches to this one)
    ) -> method.Terms:
        """Take one step on raw rows and return what was measured before it.

        Args:
            x_SBD: raw inputs.
            y_SBO: raw targets of transcoders; None rebuilds the inputs.
            setting: prices and targets.
            rate: Adam's step size.
            densest: not used.
        """
        dictionary, chosen = self.dictionary, self.chosen
        dtype = dictionary.w_enc.dtype
        x_SBD = x_SBD.to(dtype) / dictionary.scale
        y_SBO = x_SBD if y_SBO is None else y_SBO.to(dtype) / dictionary.scale
        f_SBM, l0_SB, count_SM, own = self._latents(x_SBD, setting)
        part_SBO = f_SBM @ dictionary.w_dec
        total_SBO, whole_l0_SB = sum_over(self.place, part_SBO, l0_SB)
        with torch.no_grad():
            error_SBO = total_SBO + dictionary.offset(x_SBD) - y_SBO
        slope_SBO = 2 / x_SBD.shape[-2] * error_SBO
        price_SB = row_prices(whole_l0_SB, chosen.penalty, setting)
        dictionary.zero_grad()
        # The derivative of the whole loss in what is computed here, as weights of it.
        local = (part_SBO * slope_SBO).sum() + (l0_SB * price_SB).sum() + own.sum()
        local.backward()  # type: ignore[no-untyped-call]
        own_loss = self._share_gradients(x_SBD, slope_SBO, own)
        self._move(rate)
        error = error_SBO.square().sum(dim=-1).mean(dim=-1)
        return method.Terms(
            loss=error + self._price(whole_l0_SB, setting) + own_loss,
            error=error,
            l0=whole_l0_SB.mean(dim=-1),
            fired=count_SM.detach() > 0,
        )

    def _latents(
        self, x_SBD: Tensor, setting: method.Setting
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return latents, their number by row and by latent, and what each latent costs itself."""
        dictionary, chosen = self.dictionary, self.chosen
        unit = dictionary.unit
        assert isinstance(unit, JumpReLU), f"a {dictionary.kind} dictionary is never split"
        z_SBM, theta_SM = dictionary.preactivations(x_SBD), unit.threshold
        f_SBM, l0_SB, count_SM = method.threshold_latents(
            z_SBM,
            theta_SM,
            bandwidth=setting.bandwidth,
            step_to_z=chosen.step_to_z or chosen.penalty == "tanh",
        )
        own = torch.zeros_like(setting.price)
        if chosen.penalty == "tanh":
            own = method.tanh_penalty(dictionary, z_SBM, f_SBM, theta_SM, setting.price)
        if chosen.frequency_weight:
            frequency_SM = count_SM / x_SBD.shape[-2]
            own = own + chosen.frequency_weight * method.frequency_penalty(
                frequency_SM, scale=chosen.frequency_scale
            )
        return f_SBM, l0_SB, count_SM, own

    def _share_gradients(self, x_SBD: Tensor, slope_SBO: Tensor, own: Tensor) -> Tensor:
        """Complete the gradients of what all processes keep; return the latents' own loss."""
        dictionary = self.dictionary
        pull = dictionary.b_dec.grad
        if pull is None:
            pull = torch.zeros_like(dictionary.b_dec)
        whole_pull, own_loss = sum_over(self.place, pull, own)
        dictionary.b_dec.grad = whole_pull + slope_SBO.sum(dim=-2)
        if dictionary.w_skip is not None:
            dictionary.w_skip.grad = x_SBD.mT @ slope_SBO
        return own_loss

    @torch.no_grad()
    def _move(self, rate: float) -> None:
        dictionary, unit = self.dictionary, self.dictionary.unit
        grad = dictionary.w_dec.grad
        assert grad is not None, "the loss does not reach the decoder"
        grad.copy_(method.remove_parallel(grad, dictionary.w_dec))
        self.moments.dense_step(rate)
        dictionary.w_dec.div_(row_norms(dictionary.w_dec).clamp_min(1e-12).unsqueeze(-1))
        if isinstance(unit, JumpReLU) and not unit.as_log:
            unit.raw.clamp_(min=1e-6)

    def _price(self, l0_SB: Tensor, setting: method.Setting) -> Tensor:
        if self.chosen.penalty == "tanh":
            return torch.zeros_like(setting.price)
        return method.jumprelu_penalty(
            l0_SB, kind=self.chosen.penalty, price=setting.price, target_l0=setting.target_l0
        )
