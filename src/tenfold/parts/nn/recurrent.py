"""LSTM over a short window with a backward pass written by hand, for stacks of lanes.

    [i f o] = sigmoid(a_i, a_f, a_o),  u = tanh(a_u),  a = x W_x + h' W_h + b
    c = f c' + i u,                    h = o tanh(c)

(Hochreiter and Schmidhuber 1997; Gers et al. 2000.) On a CPU compiled loops take one lane after
the other through the whole window, so that all it needs stays in cache. Elsewhere launches cost
more than memory: all lanes take a step together, and the projection of inputs is one product.
(rooms triad, vdn, ctf)

L lanes, T steps, R rows, W inputs, H units.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, unflatten

from tenfold.parts.nn.stack import affine, compiled_loops


class LstmState(NamedTuple):
    """Hidden and cell values, [L, R, H] each."""

    hidden: Tensor
    cell: Tensor


class LstmWeights(NamedTuple):
    """Weights of each lane, gates in the order input, forget, output, candidate."""

    inputs: Tensor
    """W_x, [L, W, 4H]."""
    hidden: Tensor
    """W_h, [L, H, 4H]."""
    bias: Tensor
    """[L, 4H]."""


def lstm_step(x: Tensor, weights: LstmWeights, state: LstmState) -> LstmState:
    """Take one step without keeping anything for a backward pass.

    Args:
        x: inputs, [L, R, W].
        weights: of each lane.
        state: before the step.
    """
    loops = compiled_loops("lstm_loops", x)
    if not loops:
        gates = torch.bmm(x, weights.inputs).add_(weights.bias.unsqueeze(1))
        return _step(gates, weights.hidden, state)
    after, _ = _unroll_in_cache(loops, x.unsqueeze(1), weights, state, None, False)
    return after


def lstm_window(
    x: Tensor,
    weights: LstmWeights,
    state: LstmState,
    keep: Tensor | None = None,
    *,
    bend: bool = False,
) -> Tensor:
    """Return the hidden values of all steps, [L, T, R, H].

    Gradients go to `x` and `weights`; none goes back to the state before the window.

    Args:
        x: inputs, [L, T, R, W].
        weights: of each lane.
        state: before the first step.
        keep: 0 where a step is the first of an episode and begins with an empty state, else 1,
            [L, T, R]; None: no episode begins.
        bend: apply ReLU to what is returned; the recursion goes on with the hidden values.
    """
    loops = compiled_loops("lstm_loops", x)
    learning = torch.is_grad_enabled() and (
        x.requires_grad or any(weight.requires_grad for weight in weights)
    )
    if loops and not learning:
        return _unroll_in_cache(loops, x, weights, state, keep, bend)[1]
    if loops:
        shown: Tensor = _Window.apply(  # type: ignore[no-untyped-call]
            x, *weights, *state, keep, bend
        )
        return shown
    if keep is not None:
        keep = keep.unsqueeze(-1)
    projected = unflatten(affine(x.flatten(1, 2), weights.inputs, weights.bias), 1, x.shape[1:3])
    if learning:
        hidden: Tensor = _PlainWindow.apply(  # type: ignore[no-untyped-call]
            projected, weights.hidden, *state, keep
        )
    else:
        hidden = _unroll(projected, weights.hidden, state, keep)
    return hidden.relu() if bend else hidden


# On a CPU: lane by lane, in cache


def _unroll_in_cache(
    loops: ModuleType, x: Tensor, weights: LstmWeights, state: LstmState, keep: Tensor | None,
    bend: bool,
) -> tuple[LstmState, Tensor]:  # fmt: skip
    """Return the state after the last step and the hidden values of all; keep nothing else."""
    lanes, steps, rows, _ = x.shape
    units = weights.hidden.shape[1]
    shown = x.new_empty(lanes, steps, rows, units)
    # The state is wanted of one step only, and room for all lanes then costs little.
    own = lanes if steps == 1 else 1
    kept = _room(x[:, :2], own, units)
    arrays = _arrays(x, *weights, *state, _given(keep, x))
    loops.forward(*arrays, loops.Kept._make(_arrays(*kept)), *_arrays(shown), bend, False)
    return LstmState(*kept[-2:]), shown


class _Window(torch.autograd.Function):
    """The whole window as one operation."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, inputs: Tensor, weight: Tensor, bias: Tensor, hidden: Tensor,
        cell: Tensor, keep: Tensor | None, bend: bool,
    ) -> Tensor:  # fmt: skip
        loops = compiled_loops("lstm_loops", x)
        assert loops, "chosen by lstm_window"
        lanes, steps, rows, _ = x.shape
        units = weight.shape[1]
        kept, shown = _room(x, lanes, units), x.new_empty(lanes, steps, rows, units)
        begins = _given(keep, x)
        arrays = _arrays(x, inputs, weight, bias, hidden, cell, begins)
        loops.forward(*arrays, loops.Kept._make(_arrays(*kept)), *_arrays(shown), bend, True)
        ctx.bend = bend
        ctx.save_for_backward(x, inputs, weight, begins, *kept, shown)
        return shown

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, inputs, weight, begins, *kept, shown = ctx.saved_tensors
        loops = compiled_loops("lstm_loops", x)
        assert loops, "chosen by lstm_window"
        _, steps, rows, units = shown.shape
        sizes = ((steps, rows, 4 * units), *[(rows, units)] * 2, (units,), (4 * units, units))
        room = loops.Room._make(_arrays(*map(x.new_empty, sizes)))
        for_bias = weight.new_empty(len(weight), 4 * units)
        # Not like them: what is not contiguous would be copied, and the copy written.
        found = (x.new_empty(inputs.shape), x.new_empty(weight.shape), for_bias)
        wanted = ctx.needs_input_grad[0]
        to_x = x.new_empty(x.shape if wanted else (1, 0, 0, 0))
        loops.backward(
            *_arrays(x, inputs, weight, begins), loops.Kept._make(_arrays(*kept)),
            *_arrays(shown, gradients[0]), room, *_arrays(*found, to_x), ctx.bend,
        )  # fmt: skip
        return to_x if wanted else None, *found, None, None, None, None


def _room(x: Tensor, lanes: int, units: int) -> tuple[Tensor, ...]:
    """Return room for what `lstm_loops.forward` keeps of some lanes: its `Kept`."""
    _, steps, rows, _ = x.shape
    windows = [(lanes, steps, rows, width) for width in (4 * units, units, units, units)]
    return tuple(map(x.new_empty, [*windows, (lanes, rows, units), (lanes, rows, units)]))


def _given(keep: Tensor | None, x: Tensor) -> Tensor:
    """Return `keep` as loops take it, where an empty tensor says that nothing begins."""
    return x.new_empty(0, 0, 0) if keep is None else keep


# Anywhere: one projection of all inputs


def _step(projected: Tensor, weight: Tensor, state: LstmState) -> LstmState:
    units = weight.shape[1]
    gates = torch.baddbmm(projected, state.hidden, weight)
    opened = gates[..., : 3 * units].sigmoid_()
    candidate = gates[..., 3 * units :].tanh_()
    entering, kept, out = opened.chunk(3, dim=-1)
    cell = (kept * state.cell).addcmul_(entering, candidate)
    return LstmState(out * cell.tanh(), cell)


def _unroll(projected: Tensor, weight: Tensor, state: LstmState, keep: Tensor | None) -> Tensor:
    """Return the hidden values of all steps and keep nothing else."""
    lanes, steps, rows, width = projected.shape
    hiddens = projected.new_empty(lanes, steps, rows, width // 4)
    for t in range(steps):
        if keep is not None:
            state = LstmState(state.hidden * keep[:, t], state.cell * keep[:, t])
        state = _step(projected[:, t], weight, state)
        hiddens[:, t] = state.hidden
    return hiddens


class _PlainWindow(torch.autograd.Function):
    """The recursion as one operation; only it goes step by step."""

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor,
        keep: Tensor | None,
    ) -> Tensor:  # fmt: skip
        lanes, steps, rows, width = projected.shape
        units = width // 4
        gates = torch.empty_like(projected)
        # Entry t is what step t begins with; where no episode begins it is what t - 1 left.
        hiddens = projected.new_empty(lanes, steps + 1, rows, units)
        cells = torch.empty_like(hiddens)
        curved = projected.new_empty(lanes, steps, rows, units)
        left = hiddens[:, 1:] if keep is None else torch.empty_like(curved)
        hiddens[:, 0], cells[:, 0] = hidden, cell
        for t in range(steps):
            if keep is not None:
                # Cells after a step are needed bent only, which is done; so they may change.
                hiddens[:, t].mul_(keep[:, t])
                cells[:, t].mul_(keep[:, t])
            gate = torch.baddbmm(projected[:, t], hiddens[:, t], weight, out=gates[:, t])
            gate[..., : 3 * units].sigmoid_()
            gate[..., 3 * units :].tanh_()
            entering, kept, out, candidate = gate.chunk(4, dim=-1)
            after = torch.mul(kept, cells[:, t], out=cells[:, t + 1])
            after.addcmul_(entering, candidate)
            torch.tanh(after, out=curved[:, t])
            torch.mul(out, curved[:, t], out=hiddens[:, t + 1])
            if keep is not None:
                left[:, t] = hiddens[:, t + 1]
        ctx.save_for_backward(weight, gates, hiddens, cells, curved, keep)
        return left

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (above,) = gradients
        weight, gates, hiddens, cells, curved, keep = ctx.saved_tensors
        lanes, steps, rows, units = above.shape
        slopes = torch.empty_like(gates)
        to_hidden = above.new_zeros(lanes, rows, units)
        to_cell = torch.zeros_like(to_hidden)
        turned = weight.mT.contiguous()
        for t in reversed(range(steps)):
            _step_back(t, gates, cells, curved, above, to_hidden, to_cell, slopes)
            torch.bmm(slopes[:, t], turned, out=to_hidden)
            if keep is not None:
                to_hidden.mul_(keep[:, t])
                to_cell.mul_(keep[:, t])
        before = hiddens[:, :-1].reshape(lanes, steps * rows, units)
        for_weight = before.mT @ slopes.reshape(lanes, steps * rows, 4 * units)
        return slopes, for_weight, None, None, None


def _step_back(
    t: int, gates: Tensor, cells: Tensor, curved: Tensor, above: Tensor, to_hidden: Tensor,
    to_cell: Tensor, slopes: Tensor,
) -> None:  # fmt: skip
    """Take step `t` back; see `lstm_loops._back`."""
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
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
