"""The training step of JumpReLU dictionaries on a GPU, without a tensor of rows times latents.

The same step as the dense one of `method` and `trainer` (GS section 3.2), for the penalties
linear, quad_batch and quad_example, for a whole stack of dictionaries in each launch:

    k1  encoder product by tiles, threshold test, entries compacted row by row
    k2  decoding by gathering rows, error, and for each entry its derivative q = 2 e . d / B
    k3  entries sorted by latent
    k4  per latent: gradients, projection, Adam with lazily decayed moments, norm, threshold

With beta1 = 0 a latent without an entry does not move, and its second moments only decay; they
are brought up to date when it next has an entry, so that this equals dense Adam. All sums have
a fixed order. Pre-activations are compared in float32, whatever the products' precision.
"""

# S stack of dictionaries, B rows of a batch, D width, O width of what is rebuilt, M latents,
# N entries

from __future__ import annotations

import math

import torch
import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
from torch import Tensor

from tenfold.engine.dist import Place, sum_over
from tenfold.rooms.jumprelu import config, method
from tenfold.rooms.jumprelu.kernels import triton_loops as loops
from tenfold.rooms.jumprelu.kernels.gpu_entries import (
    LAUNCH,
    PROGRAMS,
    Entries,
    EntryFinder,
    Precision,
    frequencies,
    power,
    sort_by_latent,
)
from tenfold.rooms.jumprelu.kernels.gpu_limits import PENALTIES
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.kernels.prices import row_prices
from tenfold.rooms.jumprelu.model import Dictionary, JumpReLU

EPSILON = 1e-8
"""Of Adam, as in torch."""


class GpuStep:
    """The sparse step of a stack of JumpReLU dictionaries, in place; called like `SparseStep`.

    Args:
        dictionary: a stack in training form, float32 on a GPU; `lay_out` has been called.
        chosen: the loss, with its options resolved; its penalty is one of `PENALTIES`.
        moments: Adam's state.
        precision: how encoder products are formed; all but "ieee" may take other entries than
            the dense step at the very edge of a threshold.
        place: of this process, where the latents are split over several (`sharded.take_share`);
            all then call the step at once with equal rows.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        chosen: config.JumpReLU,
        moments: Moments,
        *,
        precision: Precision = "ieee",
        place: Place | None = None,
    ) -> None:
        assert chosen.penalty in PENALTIES, f"no GPU step for the penalty {chosen.penalty}"
        assert chosen.bandwidth > 0, "the pseudo-gradients need a window"
        assert moments.betas[0] == 0, "with a first moment all latents move"
        assert moments.epsilon == EPSILON, "the GPU step knows one epsilon"
        assert dictionary.w_enc.dtype == torch.float32, "entries are chosen in float32"
        self.dictionary, self.chosen, self.moments = dictionary, chosen, moments
        self.place = place or Place()
        self.find_entries = EntryFinder(dictionary, half=self._half, precision=precision)

    @property
    def _unit(self) -> JumpReLU:
        unit = self.dictionary.unit
        assert isinstance(unit, JumpReLU), f"no GPU step for a {self.dictionary.kind} dictionary"
        return unit

    @property
    def _half(self) -> float:
        return 0.5 * self.chosen.bandwidth

    @torch.no_grad()
    def __call__(
        self,
        x_SBD: Tensor,
        y_SBO: Tensor | None,
        setting: method.Setting,
        *,
        rate: float,
        densest: float = 1.0,
    ) -> method.Terms | None:
        """Take one step on raw rows and return what was measured before it.

        Args:
            x_SBD: raw inputs; may be one batch expanded over the stack.
            y_SBO: raw targets of transcoders; None rebuilds the inputs.
            setting: prices and targets.
            rate: Adam's step size.
            densest: share of entries above which nothing is done; not asked where latents are
                split, because all processes must decide alike.

        Returns:
            The terms, or None if more than `densest` of the pre-activations are entries, so
            that the dense step is faster.
        """
        x_SBD = self._scaled(x_SBD)
        y_SBO = x_SBD if y_SBO is None else self._scaled(y_SBO)
        theta_SM = self._unit.threshold.detach().clone()
        limit = densest if self.place.is_alone else 1.0
        entries = self.find_entries(x_SBD, theta_SM, densest=limit)
        if entries is None:
            return None
        errors_SBO, squares_SB, l0_SB = self._decode_all(x_SBD, y_SBO, entries, theta_SM)
        slopes = self.project(errors_SBO, entries)
        price_SB = row_prices(l0_SB, self.chosen.penalty, setting)
        loss = self._loss(squares_SB, l0_SB, entries, setting, theta_SM)
        pull_SD, fired_SM = self.update(
            x_SBD, errors_SBO, entries, slopes, theta_SM, price_SB, rate=rate
        )
        (pull_SD,) = sum_over(self.place, pull_SD)
        self._update_shared(x_SBD, errors_SBO, pull_SD, rate=rate)
        self.moments.sparse_step_taken()
        return method.Terms(
            loss=loss, error=squares_SB.mean(dim=-1), l0=l0_SB.mean(dim=-1), fired=fired_SM
        )

    def _scaled(self, rows_SBD: Tensor) -> Tensor:
        """Divide rows by the scale, once where all dictionaries see the same ones."""
        shared = rows_SBD.stride(0) == 0
        once_SBD = rows_SBD[:1] if shared else rows_SBD
        return (once_SBD.float().contiguous() / self.dictionary.scale).expand(rows_SBD.shape)

    def _decode_all(
        self, x_SBD: Tensor, y_SBO: Tensor, entries: Entries, theta_SM: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `decode` does, of the latents of all processes."""
        errors_SBO, squares_SB, l0_SB = self.decode(x_SBD, y_SBO, entries, theta_SM)
        if self.place.is_alone:
            return errors_SBO, squares_SB, l0_SB
        if not self.place.writes:
            # Offset and target count once.
            errors_SBO -= self.dictionary.offset(x_SBD) - y_SBO
        errors_SBO, l0_SB = sum_over(self.place, errors_SBO, l0_SB)
        return errors_SBO, errors_SBO.square().sum(dim=-1), l0_SB

    def decode(
        self, x_SBD: Tensor, y_SBO: Tensor, entries: Entries, theta_SM: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the errors y_hat - y [S, B, O], their squared norms and L0 [S, B] (k2)."""
        dictionary = self.dictionary
        num_lanes, num_rows, width_out = y_SBO.shape
        offset = dictionary.offset(x_SBD).expand(num_lanes, num_rows, width_out)
        errors = torch.empty(num_lanes, num_rows, width_out, device=x_SBD.device)
        squares = torch.empty(num_lanes, num_rows, device=x_SBD.device)
        active = torch.empty(num_lanes, num_rows, device=x_SBD.device, dtype=torch.int32)
        assert y_SBO.stride(2) == 1, "rows lie whole in memory"
        loops.decode_rows[num_rows, num_lanes](
            entries.latents,
            entries.values,
            entries.row_starts,
            theta_SM,
            dictionary.w_dec,
            offset,
            y_SBO,
            errors,
            squares,
            active,
            num_rows,
            width_out,
            offset.stride(0),
            offset.stride(1),
            y_SBO.stride(0),
            y_SBO.stride(1),
            **_row_blocks(width_out),
            **LAUNCH,
        )
        return errors, squares, active.float()

    def project(self, errors_SBO: Tensor, entries: Entries) -> Tensor:
        """Return for each entry its derivative q = 2 e . d / B, [N] (k2)."""
        num_lanes, num_rows, width_out = errors_SBO.shape
        slopes = torch.empty_like(entries.values)
        loops.project_errors[num_rows, num_lanes](
            entries.latents,
            entries.row_starts,
            self.dictionary.w_dec,
            errors_SBO,
            slopes,
            2 / num_rows,
            num_rows,
            width_out,
            **_row_blocks(width_out),
            **LAUNCH,
        )
        return slopes

    def update(
        self,
        x_SBD: Tensor,
        errors_SBO: Tensor,
        entries: Entries,
        slopes: Tensor,
        theta_SM: Tensor,
        price_SB: Tensor,
        *,
        rate: float,
    ) -> tuple[Tensor, Tensor]:
        """Move every latent that has entries (k3, k4).

        Returns:
            The encoder's part of the gradient of b_dec, [S, D], and which latents fired, [S, M].
        """
        dictionary, moments, chosen, unit = self.dictionary, self.moments, self.chosen, self._unit
        beta2, step = moments.betas[1], moments.steps + 1
        num_lanes, num_rows, width_in = x_SBD.shape
        width_out = errors_SBO.shape[-1]
        order, latent_starts = sort_by_latent(
            entries.latents, num_latents=num_lanes * dictionary.width
        )
        # Few programs a lane, because each leaves a vector of its own to be summed.
        per_program = triton.cdiv(dictionary.width, max(1, PROGRAMS // num_lanes))
        programs = triton.cdiv(dictionary.width, per_program)
        pulls = torch.empty(num_lanes, programs, width_in, device=x_SBD.device)
        fired = torch.zeros_like(moments.touched, dtype=torch.bool)
        loops.update_latents[programs, num_lanes](
            order,
            latent_starts,
            entries.rows,
            entries.values,
            slopes,
            price_SB,
            x_SBD,
            errors_SBO,
            theta_SM,
            dictionary.b_dec,
            dictionary.w_enc.mT,
            moments.second(dictionary.w_enc).mT,
            dictionary.b_enc,
            moments.second(dictionary.b_enc),
            dictionary.w_dec,
            moments.second(dictionary.w_dec),
            unit.raw,
            moments.second(unit.raw),
            moments.touched,
            fired,
            pulls,
            step,
            num_rows,
            width_in,
            width_out,
            dictionary.width,
            per_program,
            x_SBD.stride(0),
            x_SBD.stride(1),
            2 / num_rows,
            self._half,
            chosen.frequency_weight,
            chosen.frequency_scale,
            rate,
            rate * moments.threshold_rate,
            beta2,
            math.log2(beta2),
            math.sqrt(1 - beta2**step),
            PRE_BIAS=dictionary.pre_bias,
            AS_LOG=unit.as_log,
            STEP_TO_Z=chosen.step_to_z,
            BLOCK_D=power(width_in),
            BLOCK_O=power(width_out),
            BLOCK_J=32,
            **LAUNCH,
        )
        return pulls.sum(dim=1), fired

    def _loss(
        self,
        squares_SB: Tensor,
        l0_SB: Tensor,
        entries: Entries,
        setting: method.Setting,
        theta_SM: Tensor,
    ) -> Tensor:
        chosen = self.chosen
        penalty = method.jumprelu_penalty(
            l0_SB, kind=chosen.penalty, price=setting.price, target_l0=setting.target_l0
        )
        if chosen.frequency_weight:
            frequency_SM = frequencies(entries, theta_SM, num_rows=l0_SB.shape[1])
            own = method.frequency_penalty(frequency_SM, scale=chosen.frequency_scale)
            (own,) = sum_over(self.place, own)
            penalty = penalty + chosen.frequency_weight * own
        return squares_SB.mean(dim=-1) + penalty

    def _update_shared(
        self, x_SBD: Tensor, errors_SBO: Tensor, pull_SD: Tensor, *, rate: float
    ) -> None:
        """Move b_dec and the skip connection, whose gradients are dense."""
        dictionary = self.dictionary
        factor = 2 / x_SBD.shape[1]
        grad_SO = factor * errors_SBO.sum(dim=1)
        if dictionary.pre_bias:
            grad_SO += pull_SD
        self._adam(dictionary.b_dec, grad_SO, rate=rate)
        if dictionary.w_skip is not None:
            self._adam(dictionary.w_skip, factor * (x_SBD.mT @ errors_SBO), rate=rate)

    def _adam(self, value: Tensor, gradient: Tensor, *, rate: float) -> None:
        beta2, step = self.moments.betas[1], self.moments.steps + 1
        second = self.moments.second(value)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = second.sqrt() / math.sqrt(1 - beta2**step) + EPSILON
        value.addcdiv_(gradient, root, value=-rate)


def _row_blocks(width_out: int) -> dict[str, int]:
    """Return how many columns and entries of a row are held at once."""
    columns = power(width_out)
    return {"BLOCK_O": columns, "BLOCK_J": max(2, min(16, 8_192 // columns))}
