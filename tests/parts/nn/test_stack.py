import pytest
import torch

from tenfold.parts.nn import stack
from tenfold.parts.nn.stack import Adam, Layout, Shape, Slots, affine, dense, lstm


def layout():
    return Layout((*dense("first", 3, 4), *dense("second", 4, 2)))


def test_views_are_contiguous_arrays_of_all_slots_in_order():
    flat = torch.arange(2.0 * layout().count)
    views = layout().views(flat)
    assert layout().count == 3 * 4 + 4 + 4 * 2 + 2
    assert views["first.weight"].shape == (2, 3, 4)
    assert all(view.is_contiguous() for view in views.values())
    assert views["second.bias"].tolist() == [[48.0, 49.0], [50.0, 51.0]]
    views["first.bias"][1, 0] = -1
    assert flat[24 + 4] == -1


def test_first_values_depend_on_seed_and_name_but_not_on_what_else_there_is():
    longer = Layout((*lstm("other", 2, 2), *layout().shapes))
    parts = [each.views(each.draw([7, 8])) for each in (layout(), longer)]
    for name in ("first.weight", "second.bias"):
        assert torch.equal(parts[0][name], parts[1][name])
        assert not torch.equal(parts[0][name][0], parts[0][name][1])
    assert torch.equal(layout().views(layout().draw([8]))["first.bias"][0],
                       parts[0]["first.bias"][1])  # fmt: skip
    assert parts[0]["first.weight"].abs().max() <= 3**-0.5


def network(parts, x):
    hidden = affine(x, parts["first.weight"], parts["first.bias"]).relu()
    return affine(hidden, parts["second.weight"], parts["second.bias"])


def test_lanes_that_share_a_slot_get_the_gradient_of_a_shared_module():
    slots = Slots(torch.tensor([0, 0, 1]), torch.tensor([0, 1]))
    x = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(0))

    def gradients(seeds, lanes, seen):
        arrays = layout().views(layout().draw(seeds))
        leaves = {name: array.clone().requires_grad_() for name, array in arrays.items()}
        network(lanes(leaves), seen).square().sum().backward()
        return leaves

    stacked = gradients([0, 1], slots.gather, x)
    alone = gradients([0], lambda leaves: leaves, x[:2].flatten(0, 1)[None])
    for name, leaf in alone.items():
        torch.testing.assert_close(stacked[name].grad[:1], leaf.grad)


@pytest.mark.parametrize("bend", [True, False])
@pytest.mark.parametrize("loops", [True, False], ids=["compiled", "plain"])
def test_an_affine_layer_and_its_gradients_are_those_of_torch(bend, loops, monkeypatch):
    if not loops:
        monkeypatch.setattr(stack, "compiled_loops", lambda _name, _like: None)
    generator = torch.Generator().manual_seed(5)
    size = ((3, 7, 4), (3, 4, 5), (3, 5))
    found = []
    for own in (True, False):
        generator.manual_seed(5)
        x, weight, bias = (torch.randn(s, generator=generator).requires_grad_() for s in size)
        out = affine(x, weight, bias, bend=bend) if own else x @ weight + bias[:, None]
        out = out.relu() if bend and not own else out
        upper = torch.randn(3, 7, 5, generator=generator)
        found.append((out, *torch.autograd.grad((out * upper).sum(), [x, weight, bias])))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_slots_used_once_each_in_order_are_not_gathered():
    arrays = layout().views(layout().draw([0, 1, 2]))
    assert Slots(torch.arange(3), torch.arange(3)).gather(arrays) is arrays
    turned = Slots(torch.tensor([0, 2, 1]), torch.arange(3)).gather(arrays)
    assert torch.equal(turned["first.bias"][1], arrays["first.bias"][2])


def one(gradient):
    return {"all": gradient}


def row(size):
    return Layout((Shape("all", (size,), 1.0),))


@pytest.mark.parametrize("loops", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_steps_are_those_of_torch_with_each_group_clipped_alone(clip, loops, monkeypatch):
    if not loops:
        monkeypatch.setattr(stack, "compiled_loops", lambda _name, _like: None)
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(3, 6, generator=generator)
    groups, rates = torch.tensor([0, 0, 1]), [1e-2, 3e-3]
    ours = Adam(first.flatten().clone(), row(6), groups, rates=rates, clip=clip)
    theirs = [first[:2].clone().requires_grad_(), first[2:].clone().requires_grad_()]
    optimisers = [torch.optim.Adam([p], lr=rate) for p, rate in zip(theirs, rates, strict=True)]
    for _ in range(20):
        gradient = torch.randn(3, 6, generator=generator)
        ours.step(one(gradient))
        for parameter, part, optimiser in zip(
            theirs, (gradient[:2], gradient[2:]), optimisers, strict=True
        ):
            parameter.grad = part.clone()
            if clip:
                torch.nn.utils.clip_grad_norm_([parameter], clip)
            optimiser.step()
    right = torch.cat([p.detach() for p in theirs])
    torch.testing.assert_close(ours.flat.view(3, 6), right, rtol=1e-5, atol=1e-6)


def test_a_group_that_diverges_is_frozen_and_no_other_notices():
    adam = Adam(torch.zeros(6), row(2), torch.tensor([0, 1, 1]), rates=[0.1, 0.1])
    alone = Adam(torch.zeros(2), row(2), torch.tensor([0]), rates=[0.1])
    adam.step(one(torch.ones(3, 2)))
    alone.step(one(torch.ones(1, 2)))
    before = adam.flat.clone()
    adam.step(one(torch.tensor([[1.0, 1.0], [float("nan"), 1.0], [1.0, 1.0]])))
    alone.step(one(torch.ones(1, 2)))
    adam.step(one(torch.ones(3, 2)))
    alone.step(one(torch.ones(1, 2)))
    assert adam.frozen.tolist() == [False, True]
    assert torch.equal(adam.flat[2:], before[2:])
    assert torch.equal(adam.flat[:2], alone.flat)
    assert adam.flat.isfinite().all()


def test_what_was_saved_goes_on_as_if_nothing_had_happened():
    generator = torch.Generator().manual_seed(2)
    gradients = torch.randn(6, 2, 3, generator=generator)
    gradients[1, 1, 0] = float("inf")
    told = {"rates": [0.1, 0.2], "clip": 1.0}
    whole = Adam(torch.zeros(6), row(3), torch.arange(2), **told)
    for gradient in gradients[:3]:
        whole.step(one(gradient))
    again = Adam(whole.flat.clone(), row(3), torch.arange(2), **told)
    again.load_state(*whole.state())
    for gradient in gradients[3:]:
        whole.step(one(gradient))
        again.step(one(gradient))
    assert torch.equal(whole.flat, again.flat)
