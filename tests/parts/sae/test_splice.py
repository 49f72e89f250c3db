import dataclasses
from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
from torch import nn

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.splice import bridge, splice
from tenfold.parts.sae.taps import capture

X = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))


def linear_chain(depth=3, width=4):
    generator = torch.Generator().manual_seed(1)
    layers = [nn.Linear(width, width) for _ in range(depth)]
    for parameter in (p for layer in layers for p in layer.parameters()):
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return nn.Sequential(*layers)


def half(x):
    return 0.5 * x


def test_the_reconstruction_takes_the_place_of_the_activation():
    module = linear_chain(2)
    with splice(module, {"0": half}):
        spliced = module(X)
    torch.testing.assert_close(spliced, module[1](0.5 * module[0](X)))


def test_the_input_of_a_module_is_replaced():
    module = linear_chain(2)
    with splice(module, {"1:in": torch.zeros_like}):
        torch.testing.assert_close(module(X), module[1].bias.expand(2, 3, 4))


def test_an_argument_given_by_name_is_replaced():
    module = nn.Sequential(nn.Linear(4, 4))
    with splice(module, {"0:in": half}):
        spliced = module[0](input=X)
    torch.testing.assert_close(spliced, module[0](0.5 * X))


def test_several_sites_and_wildcards_are_replaced_in_one_pass():
    module = linear_chain(3)
    with splice(module, {"[01]": half, "2": torch.neg}):
        spliced = module(X)
    torch.testing.assert_close(spliced, -module[2](0.5 * module[1](0.5 * module[0](X))))


def test_the_module_is_as_before_after_the_block_and_after_a_fault():
    module = linear_chain(2)
    clean = module(X)
    with splice(module, {"0": half}):
        module(X)
    with pytest.raises(ZeroDivisionError), splice(module, {"0": half, "1:in": lambda _: 1 / 0}):
        module(X)
    assert torch.equal(module(X), clean)


def test_with_the_error_kept_the_forward_pass_is_exactly_the_clean_one():
    module = linear_chain(3)
    with splice(module, {"0": lambda x: x * 0.1 + 3, "1": torch.tanh}, error="keep"):
        assert torch.equal(module(X), linear_chain(3)(X))


def test_with_the_error_kept_gradients_pass_the_reconstruction_only():
    module = linear_chain(2)
    weight = torch.full((4,), 0.3, requires_grad=True)
    x = X.clone().requires_grad_()
    with splice(module, {"0:in": lambda a: a * weight}, error="keep"):
        module(x).sum().backward()
    # d/dx of x * w + detach(x - x * w) is w times the gradient behind the site.
    behind = (torch.ones(4) @ module[1].weight @ module[0].weight).expand_as(X)
    torch.testing.assert_close(x.grad, 0.3 * behind)
    torch.testing.assert_close(weight.grad, (behind * X).sum((0, 1)))


def test_with_the_error_dropped_gradients_reach_the_dictionary():
    module = linear_chain(1)
    scale = torch.tensor(2.0, requires_grad=True)
    with splice(module, {"0": lambda a: scale * a}):
        module(X).sum().backward()
    torch.testing.assert_close(scale.grad, module[0](X).sum().detach())


def test_masked_positions_pass_the_clean_value_and_its_gradient():
    module = nn.Sequential(nn.Identity())
    mask = torch.tensor([[True, False, True], [False, True, True]])
    x = X.clone().requires_grad_()
    with splice(module, {"0": half}, mask=mask):
        out = module(x)
    expected = torch.where(mask[..., None], 0.5, 1.0).expand_as(X)
    torch.testing.assert_close(out, expected * X)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(gradient, expected)


def test_the_mask_may_change_with_every_forward_pass():
    module = nn.Sequential(nn.Identity())
    masks = iter([torch.tensor([True, False]), None])
    with splice(module, {"0": torch.zeros_like}, mask=lambda: next(masks)):
        first, second = module(X), module(X)
    assert torch.equal(first, torch.stack([torch.zeros_like(X[0]), X[1]]))
    assert not second.any()


def test_a_mask_of_numbers_is_refused():
    module = linear_chain(1)
    with (
        pytest.raises(TenfoldError, match=r"the mask is torch\.float32; make it bool"),
        splice(module, {"0": half}, mask=torch.ones(2, 3)),
    ):
        module(X)


def test_a_mask_that_does_not_fit_is_refused_with_both_shapes():
    module = linear_chain(1)
    with (
        pytest.raises(TenfoldError, match=r"mask has shape \(3, 2\).*positions \(2, 3\)"),
        splice(module, {"0": half}, mask=torch.ones(3, 2, dtype=torch.bool)),
    ):
        module(X)


def test_a_mask_of_sequences_fits_flattened_activations():
    flat = nn.Sequential(nn.Flatten(0, 1), nn.Identity())
    mask = torch.tensor([[True, False, True], [False, True, True]])
    with splice(flat, {"1": torch.zeros_like}, mask=mask):
        assert torch.equal(flat(X), torch.where(mask.reshape(6, 1), 0.0, X.reshape(6, 4)))


def test_channels_of_images_are_replaced_in_place():
    module = nn.Sequential(nn.Identity())
    image = torch.randn(2, 3, 4, 5)
    gains = torch.tensor([1.0, 2.0, 3.0])
    with splice(module, {"0:out@1": lambda x: x * gains}):
        torch.testing.assert_close(module(image), image * gains[:, None, None])


def test_heads_read_as_one_row_are_put_back_as_heads():
    module = nn.Sequential(nn.Identity())
    z = torch.randn(2, 3, 4, 5)
    with splice(module, {"0@-2,-1": lambda x: x.flip(-1)}):
        torch.testing.assert_close(module(z), z.flip(-2, -1))


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


@dataclasses.dataclass
class Result:
    left: torch.Tensor
    right: torch.Tensor


class Bundle(nn.Module):
    """Returns x and x + 1, packed."""

    def __init__(self, pack):
        super().__init__()
        self.pack = pack

    def forward(self, x):
        return self.pack(x, x + 1)


def entries(bundle):
    if isinstance(bundle, dict):
        return list(bundle.values())
    return [bundle.left, bundle.right] if isinstance(bundle, Result) else list(bundle)


@pytest.mark.parametrize(
    "pack",
    [
        lambda a, b: (a, b),
        lambda a, b: [a, b],
        lambda a, b: {"left": a, "right": b},
        lambda a, b: OrderedDict(left=a, right=b),
        lambda a, b: torch.return_types.max((a, b)),
        Pair,
        Result,
    ],
)
def test_one_entry_is_replaced_and_the_container_keeps_its_type(pack):
    module = nn.Sequential(Bundle(pack))
    clean = module(X)
    with splice(module, {"0:out[1]": torch.neg}):
        spliced = module(X)
    assert type(spliced) is type(clean)
    left, right = entries(spliced)
    assert torch.equal(left, X)
    assert torch.equal(right, -(X + 1))


def test_a_container_inside_a_container_is_rebuilt_around_the_entry():
    module = nn.Sequential(Bundle(lambda a, b: (a, {"state": [b, "text"]})))
    with splice(module, {"0:out[1][state][0]": torch.neg}):
        first, rest = module(X)
    assert torch.equal(first, X)
    assert rest["state"][1] == "text"
    assert torch.equal(rest["state"][0], -(X + 1))


def test_the_only_entry_of_a_container_is_replaced_within_it():
    module = nn.Sequential(Bundle(lambda a, _: (a,)))
    with splice(module, {"0": torch.neg}):
        (spliced,) = module(X)
    assert torch.equal(spliced, -X)


def test_the_container_that_the_module_holds_itself_is_not_touched():
    kept = {"right": X}
    module = nn.Sequential(Bundle(lambda *_: kept))
    with splice(module, {"0:out[right]": torch.neg}):
        module(X)
    assert torch.equal(kept["right"], X)


def test_a_float32_dictionary_serves_a_bfloat16_module():
    module = linear_chain(2).bfloat16()
    with splice(module, {"0": lambda x: x.float() * 0.5}):
        out = module(X.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, module[1](module[0](X.bfloat16()) * 0.5))


def test_another_shape_is_refused_with_both_shapes():
    module = linear_chain(1)
    with (
        pytest.raises(TenfoldError, match=r"site '0' has shape \(2, 3, 1\), the activation \(2, 3"),
        splice(module, {"0": lambda x: x[..., :1]}),
    ):
        module(X)


def test_nested_splices_apply_from_the_outside_in():
    module = nn.Sequential(nn.Identity())
    with splice(module, {"0": lambda x: x + 1}):
        with splice(module, {"0": lambda x: x * 10}):
            torch.testing.assert_close(module(X), (X + 1) * 10)
        torch.testing.assert_close(module(X), X + 1)


def test_a_capture_inside_sees_what_was_put_there():
    module = linear_chain(2)
    with splice(module, {"0": torch.zeros_like}):
        taken = capture(module, ["0", "1"], lambda: module(X))
    assert not taken["0"].any()
    torch.testing.assert_close(taken["1"], module[1].bias.detach().expand(2, 3, 4))


def test_every_call_of_a_shared_module_is_replaced_and_counted():
    shared = nn.Identity()
    module = nn.Sequential(shared, shared, shared)
    with splice(module, {"0": half}) as counts:
        out = module(X)
        assert counts == {"0": 3}
    torch.testing.assert_close(out, X / 8)


def test_a_splice_that_never_happened_is_an_error():
    attention = nn.MultiheadAttention(4, 1, batch_first=True)
    with (
        pytest.raises(TenfoldError, match="never called the module of 'out_proj'"),
        splice(attention, {"out_proj": half}),
    ):
        attention(X, X, X)


def test_a_fault_inside_the_block_is_not_hidden_by_the_one_about_missing_calls():
    with pytest.raises(KeyError), splice(linear_chain(1), {"0": half}):
        raise KeyError("mine")


# Bridges: a site rebuilt from an earlier one


def wide(x):
    return torch.cat([x, x], dim=-1)


def test_a_bridge_puts_a_function_of_the_first_site_in_place_of_the_second():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 8), nn.Tanh())
    with bridge(module, {("1:in", "1"): wide}) as counts:
        bridged = module(X)
        assert counts == {"1": 1}
    torch.testing.assert_close(bridged, wide(module[0](X)).tanh())
    torch.testing.assert_close(module(X), module[2](module[1](module[0](X))))


def test_a_bridge_over_what_lies_between_changes_nothing():
    module = linear_chain(3)
    twin = linear_chain(3)
    with bridge(module, {("1:in", "2"): lambda x: twin[2](twin[1](x))}):
        torch.testing.assert_close(module(X), twin(X))


def test_each_forward_pass_sees_its_own_first_site():
    module = linear_chain(2)
    with bridge(module, {("0:in", "1"): half}) as counts:
        for factor in (1.0, 3.0):
            torch.testing.assert_close(module(factor * X), 0.5 * factor * X)
        assert counts == {"1": 2}


def test_a_second_bridge_sees_what_the_first_one_changed():
    module = nn.Sequential(nn.Identity(), nn.Identity(), nn.Identity())
    with bridge(module, {("0", "1"): lambda x: x + 1, ("1", "2"): lambda x: 10 * x}):
        torch.testing.assert_close(module(X), 10 * (X + 1))


def test_a_bridge_leaves_masked_positions_and_keeps_the_error_if_told():
    module = linear_chain(2)
    clean = module(X)
    mask = torch.tensor([[True, False, True], [False, True, True]])
    with bridge(module, {("0:in", "1"): half}, mask=mask):
        torch.testing.assert_close(module(X), torch.where(mask[..., None], 0.5 * X, clean))
    with bridge(module, {("0:in", "1"): half}, error="keep"):
        assert torch.equal(module(X), clean)


def test_gradients_of_a_bridge_go_through_the_first_site():
    module = nn.Sequential(nn.Identity(), nn.Identity())
    x = X.clone().requires_grad_()
    with bridge(module, {("0", "1"): lambda a: 3 * a}):
        module(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(X, 3.0))


def test_a_bridge_backwards_is_refused_by_both_names():
    module = linear_chain(2)
    with (
        pytest.raises(TenfoldError, match="site '0' was passed before '1', from which it is to be"),
        bridge(module, {("1", "0"): half}),
    ):
        module(X)


def test_a_bridge_of_another_width_is_refused_with_both_shapes():
    module = linear_chain(2)
    with (
        pytest.raises(TenfoldError, match=r"site '1' has shape \(2, 3, 8\), the activation \(2, 3"),
        bridge(module, {("0", "1"): wide}),
    ):
        module(X)


def test_a_bridge_has_one_site_at_each_end():
    with (
        pytest.raises(TenfoldError, match=r"'\*' stands for 2 sites, a bridge has one at each end"),
        bridge(linear_chain(2), {("*", "1"): half}),
    ):
        pass


def test_a_bridge_that_was_never_crossed_is_an_error():
    with (
        pytest.raises(TenfoldError, match="never called the module of '1'"),
        bridge(linear_chain(2), {("0", "1"): half}),
    ):
        pass
