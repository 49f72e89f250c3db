"""LSTM over a short window with a backward pass written by hand, for stacks of lanes.

    [i f o] = sigmoid(a_i, a_f, a_o),  u = tanh(a_u),  a = x W_x + b + h' W_h
    c = f c' + i u,                    h = o tanh(c)

(Hochreiter and Schmidhuber 1997; Gers et al. 2000.) The projection of inputs and the gradients of
weights are single products over all steps; only the recursion through W_h goes step by step.
(rooms triad, vdn, ctf)

L lanes, T steps, R rows, H units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tenfold.parts.nn.stack import compiled_loops


class LstmState(NamedTuple):
    """Hidden and cell values, [L, R, H] each."""

    hidden: Tensor
    cell: Tensor


def lstm_step(projected: Tensor, weight: Tensor, state: LstmState) -> LstmState:
    """Take one step without keeping anything for a backward pass.

    Args:
        projected: x W_x + b, [L, R, 4H], gates in the order input, forget, output, candidate.
        weight: W_h, [L, H, 4H].
        state: before the step.
    """
    units = weight.shape[1]
    gates = torch.baddbmm(projected, state.hidden, weight)
    opened = gates[..., : 3 * units].sigmoid_()
    candidate = gates[..., 3 * units :].tanh_()
    entering, kept, out = opened.chunk(3, dim=-1)
    cell = (kept * state.cell).addcmul_(entering, candidate)
    return LstmState(out * cell.tanh(), cell)


def lstm_window(
    projected: Tensor,
    weight: Tensor,
    state: LstmState,
    keep: Tensor | None = None,
    *,
    reuse: bool = False,
) -> Tensor:
    """Return the hidden values of all steps, [L, T, R, H].

    Gradients go to `projected` and `weight`; none goes back to the state before the window.

    Args:
        projected: x W_x + b, [L, T, R, 4H], gates in the order input, forget, output, candidate.
        weight: W_h, [L, H, 4H].
        state: before the first step.
        keep: 0 where a step is the first of an episode and begins with an empty state, else 1,
            [L, T, R]; None: no episode begins.
        reuse: `projected` may be written over, because nothing else will read it.
    """
    if keep is not None:
        keep = keep.unsqueeze(-1)
    if not (torch.is_grad_enabled() and (projected.requires_grad or weight.requires_grad)):
        return _unroll(projected, weight, state, keep)
    hidden: Tensor = _Window.apply(  # type: ignore[no-untyped-call]
        projected, weight, state.hidden, state.cell, keep, reuse
    )
    return hidden


def _unroll(projected: Tensor, weight: Tensor, state: LstmState, keep: Tensor | None) -> Tensor:
    """Return the hidden values of all steps and keep nothing else."""
    lanes, steps, rows, width = projected.shape
    hiddens = projected.new_empty(lanes, steps, rows, width // 4)
    loops = compiled_loops("lstm_loops", projected)
    if not loops:
        for t in range(steps):
            if keep is not None:
                state = LstmState(state.hidden * keep[:, t], state.cell * keep[:, t])
            state = lstm_step(projected[:, t], weight, state)
            hiddens[:, t] = state.hidden
        return hiddens
    hidden, cell = state.hidden.contiguous(), state.cell.clone()
    product = projected.new_empty(lanes, rows, width)
    room = projected.new_empty(width // 4)
    projected = projected.contiguous()
    for t in range(steps):
        if keep is not None:
            hidden = hidden * keep[:, t]
            cell.mul_(keep[:, t])
        torch.bmm(hidden, weight, out=product)
        loops.only_forward(t, *_arrays(projected, product, cell, hiddens, room))
        hidden = hiddens[:, t]
    return hiddens


class _Window(torch.autograd.Function):
    """The whole window as one operation."""

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor,
        keep: Tensor | None, reuse: bool,
    ) -> Tensor:  # fmt: skip
        lanes, steps, rows, width = projected.shape
        units = width // 4
        loops = compiled_loops("lstm_loops", projected)
        gates = torch.empty_like(projected)
        if loops:
            gates = projected.detach() if reuse else projected.clone()
        # Entry t is what step t begins with; where no episode begins it is what t - 1 left.
        hiddens = projected.new_empty(lanes, steps + 1, rows, units)
        cells = torch.empty_like(hiddens)
        curved = projected.new_empty(lanes, steps, rows, units)
        left = hiddens[:, 1:] if keep is None else torch.empty_like(curved)
        product = projected.new_empty(lanes, rows, width)
        hiddens[:, 0], cells[:, 0] = hidden, cell
        for t in range(steps):
            if keep is not None:
                # Cells after a step are needed bent only, which is done; so they may change.
                hiddens[:, t].mul_(keep[:, t])
                cells[:, t].mul_(keep[:, t])
            torch.bmm(hiddens[:, t], weight, out=product)
            if loops:
                loops.forward_step(t, *_arrays(gates, product, cells, curved, hiddens))
            else:
                _forward_step(t, projected, gates, product, cells, curved, hiddens)
            if keep is not None:
                left[:, t] = hiddens[:, t + 1]
        ctx.save_for_backward(weight, gates, hiddens, cells, curved, keep)
        return left

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        (above,) = gradients
        weight, gates, hiddens, cells, curved, keep = ctx.saved_tensors
        lanes, steps, rows, units = above.shape
        loops = compiled_loops("lstm_loops", above)
        above = above.contiguous()
        slopes = torch.empty_like(gates)
        to_hidden = above.new_zeros(lanes, rows, units)
        to_cell = torch.zeros_like(to_hidden)
        turned = weight.mT.contiguous()
        room = above.new_empty(units)
        for t in reversed(range(steps)):
            if loops:
                arrays = _arrays(gates, cells, curved, above, to_hidden, to_cell, slopes, room)
                loops.backward_step(t, *arrays)
            else:
                _backward_step(t, gates, cells, curved, above, to_hidden, to_cell, slopes)
            torch.bmm(slopes[:, t], turned, out=to_hidden)
            if keep is not None:
                to_hidden.mul_(keep[:, t])
                to_cell.mul_(keep[:, t])
        before = hiddens[:, :-1].reshape(lanes, steps * rows, units)
        for_weight = before.mT @ slopes.reshape(lanes, steps * rows, 4 * units)
        return slopes, for_weight, None, None, None, None


def _forward_step(
    t: int, projected: Tensor, gates: Tensor, product: Tensor, cells: Tensor, curved: Tensor,
    hiddens: Tensor,
) -> None:  # fmt: skip
    """Take step `t` without compiled loops; see `lstm_loops.forward_step`."""
    units = cells.shape[-1]
    gate = torch.add(projected[:, t], product, out=gates[:, t])
    gate[..., : 3 * units].sigmoid_()
    gate[..., 3 * units :].tanh_()
    entering, kept, out, candidate = gate.chunk(4, dim=-1)
    cell = torch.mul(kept, cells[:, t], out=cells[:, t + 1])
    cell.addcmul_(entering, candidate)
    torch.tanh(cell, out=curved[:, t])
    torch.mul(out, curved[:, t], out=hiddens[:, t + 1])


def _backward_step(
    t: int, gates: Tensor, cells: Tensor, curved: Tensor, above: Tensor, to_hidden: Tensor,
    to_cell: Tensor, slopes: Tensor,
) -> None:  # fmt: skip
    """Take step `t` back without compiled loops; see `lstm_loops.backward_step`."""
    units = cells.shape[-1]
    entering, kept, out, candidate = gates[:, t].chunk(4, dim=-1)
    to_entering, to_kept, to_out, to_candidate = slopes[:, t].chunk(4, dim=-1)
    come, tanh = to_hidden + above[:, t], curved[:, t]
    # Through h = o tanh(c), then c = f c' + i u.
    torch.mul(come, tanh, out=to_out)
    to_cell.addcmul_(come * out, 1 - tanh.square())
    torch.mul(to_cell, candidate, out=to_entering)
    torch.mul(to_cell, cells[:, t], out=to_kept)
    torch.mul(to_cell, entering, out=to_candidate)
    to_cell.mul_(kept)
    # Slopes of sigmoid s (1 - s) and of tanh 1 - u^2.
    opened = gates[:, t, :, : 3 * units]
    slopes[:, t, :, : 3 * units].mul_(torch.addcmul(opened, opened, opened, value=-1))
    to_candidate.mul_(1 - candidate.square())


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]
