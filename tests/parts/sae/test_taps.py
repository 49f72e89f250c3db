import dataclasses
import weakref
from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
from torch import nn

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.taps import capture


class Counting(nn.Module):
    """Adds `amount` and remembers how often it ran."""

    def __init__(self, amount=1.0):
        super().__init__()
        self.amount = amount
        self.runs = 0

    def forward(self, x):
        self.runs += 1
        return x + self.amount


class Returning(nn.Module):
    """Returns whatever `make` makes of its input."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


class Named(nn.Module):
    """Takes arguments by place or by name."""

    def forward(self, hidden, *rest, scale=None, **more):  # noqa: ARG002
        return hidden


class Calling(nn.Module):
    """Calls its child as told."""

    def __init__(self, child, how):
        super().__init__()
        self.child = child
        self.how = how

    def forward(self, x):
        return self.how(self.child, x)


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


@dataclasses.dataclass
class Result:
    hidden: torch.Tensor
    score: torch.Tensor


class ModelOutput(OrderedDict):
    """Reached by name, attribute and number, as results of language models often are."""

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else tuple(self.values())[key]

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        super().__setattr__(key, value)


def chain(*amounts):
    return nn.Sequential(*(Counting(amount) for amount in amounts))


def num_hooks(module):
    return sum(
        len(hooks)
        for part in module.modules()
        for name, hooks in vars(part).items()
        if "hooks" in name and isinstance(hooks, dict)
    )


X = torch.arange(24.0).reshape(2, 3, 4)


def take(module, sites, x=X, **options):
    return capture(module, sites, lambda: module(x), **options)


def test_many_sites_come_from_one_forward_pass():
    module = chain(1.0, 10.0, 100.0)
    taken = take(module, ["0:in", "0", "1:out", "2"])
    assert [(taken[name] - X).unique().item() for name in taken] == [0, 1, 11, 111]
    assert [part.runs for part in module] == [1, 1, 1]


def test_stopping_early_runs_nothing_after_the_last_site():
    module = chain(1.0, 2.0, 4.0)
    taken = take(module, ["1:in", "1"], stop_early=True)
    assert [part.runs for part in module] == [1, 1, 0]
    torch.testing.assert_close(taken["1"], X + 3)


def test_stopping_early_waits_for_the_site_that_comes_last_whatever_the_order_asked():
    module = chain(1.0, 2.0, 4.0)
    take(module, ["2:in", "0:in"], stop_early=True)
    assert [part.runs for part in module] == [1, 1, 0]


def test_an_except_clause_of_the_module_does_not_keep_the_early_exit():
    def careful(child, x):
        try:
            return child(x)
        except Exception:
            return x

    module = nn.Sequential(Calling(Counting(), careful), Counting())
    take(module, "0.child", stop_early=True)
    assert module[1].runs == 0


def test_activations_left_behind_by_the_early_exit_are_freed_at_once():
    seen = []

    def remembering(child, x):
        big = x * 2
        seen.append(weakref.ref(big))
        return child(big)

    take(Calling(Counting(), remembering), "child", stop_early=True)
    assert seen[0]() is None


def test_no_hook_stays_behind():
    module = chain(1.0, 2.0)
    take(module, ["0:in", "1"])
    take(module, ["0:in", "0"], stop_early=True)
    assert num_hooks(module) == 0


def test_no_hook_stays_behind_when_the_forward_pass_fails():
    module = nn.Sequential(Counting(), Returning(lambda x: x.no_such_method()))
    with pytest.raises(AttributeError, match="no_such_method"):
        take(module, ["0:in", "0", "1:in"])
    assert num_hooks(module) == 0


def test_no_hook_stays_behind_when_a_later_site_is_unknown():
    module = chain(1.0)
    with pytest.raises(TenfoldError, match="unknown module '7'"):
        take(module, ["0", "7"])
    assert num_hooks(module) == 0


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_module_stays(training):
    module = nn.Sequential(nn.Dropout(0.5), Counting()).train(training)
    taken = take(module, "0")["0"]
    assert module.training is training
    assert bool((taken == X).all()) is not training


def test_results_are_copies_that_operations_in_place_do_not_reach():
    module = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    x = torch.tensor([[-1.0, 2.0]])
    assert take(module, "0", x.clone())["0"].tolist() == [[-1.0, 2.0]]


def test_no_graph_is_built_unless_asked():
    module = nn.Linear(4, 4)
    assert not take(module, ":out")[":out"].requires_grad
    assert take(module, ":out", grad=True)[":out"].requires_grad


def test_with_grad_the_tensors_are_those_of_the_graph():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1, bias=False))
    loss = []
    taken = capture(module, "0", lambda: loss.append(module(X).sum()), grad=True)["0"]
    (gradient,) = torch.autograd.grad(loss[0], taken)
    torch.testing.assert_close(gradient, module[1].weight.expand_as(taken))


def test_bfloat16_activations_stay_bfloat16():
    assert take(nn.Linear(4, 2).bfloat16(), ":out", X.bfloat16())[":out"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("make", "entry"),
    [
        (lambda x: (x, -x), "[1]"),
        (lambda x: [x, -x], "[-1]"),
        (lambda x: {"a": x, "b": -x}, "[b]"),
        (lambda x: {"a": x, "b": -x}, "[1]"),
        (lambda x: Pair(x, -x), "[right]"),
        (lambda x: Pair(x, -x), "[1]"),
        (lambda x: Result(x, -x), "[score]"),
        (lambda x: Result(x, -x), "[1]"),
        (lambda x: ModelOutput(last=x, pooled=-x), "[pooled]"),
        (lambda x: ModelOutput(last=x, pooled=-x), "[1]"),
        (lambda x: (x, ({"c": -x},)), "[1][0][c]"),
        (lambda x: torch.sort(-x, dim=-1, descending=True), "[0]"),
    ],
)
def test_entries_of_every_container_are_reached(make, entry):
    site = f":out{entry}"
    torch.testing.assert_close(take(Returning(make), site)[site], -X)


def test_a_lstm_gives_its_state():
    lstm = nn.LSTM(4, 5, batch_first=True)
    taken = take(lstm, [":out[0]", ":out[1][0]"])
    torch.testing.assert_close(taken[":out[0]"][:, -1], taken[":out[1][0]"][0])


@pytest.mark.parametrize(
    ("call", "site"),
    [
        (lambda child, x: child(x), "child:in"),
        (lambda child, x: child(hidden=x), "child:in"),
        (lambda child, x: child(hidden=x), "child:in[0]"),
        (lambda child, x: child(x), "child:in[hidden]"),
        (lambda child, x: child(hidden=x), "child:in[hidden]"),
        (lambda child, x: child(0, 1, x), "child:in[2]"),
        (lambda child, x: child(0, 1, x), "child:in[-1]"),
        (lambda child, x: child(0, scale=x), "child:in[scale]"),
        (lambda child, x: child(0, extra=x), "child:in[extra]"),
        (lambda child, x: child({"deep": (0, x)}), "child:in[hidden][deep][1]"),
    ],
)
def test_arguments_are_found_by_place_and_by_name(call, site):
    torch.testing.assert_close(take(Calling(Named(), call), site)[site], X)


@pytest.mark.parametrize("key", ["nothing", "scale", "1", "-1"])
def test_an_argument_that_was_not_given_is_an_error_with_those_that_were(key):
    module = Calling(Named(), lambda child, x: child(hidden=x))
    fault = rf"argument '?{key}'?; the call gave 0 by place and \['hidden'\] by name"
    with pytest.raises(TenfoldError, match=fault):
        take(module, f"child:in[{key}]")


def test_a_missing_entry_is_an_error_with_those_there_are():
    with pytest.raises(TenfoldError, match=r"entry 'c' of dict, which has \['a'\]"):
        take(Returning(lambda x: {"a": x}), ":out[c]")
    with pytest.raises(TenfoldError, match=r"entry 0 of Tensor, which has none"):
        take(Returning(lambda x: x), ":out[0]")


def test_a_tuple_is_not_guessed_at():
    with pytest.raises(TenfoldError, match=r"tuple, not one tensor.*instance :out\[0\]"):
        take(Returning(lambda x: (x, x)), ":out")
    with pytest.raises(TenfoldError, match=r"tuple, not one tensor.*instance child:in\[0\]\[0\]"):
        take(Calling(Named(), lambda child, x: child((x, x))), "child:in")


@pytest.mark.parametrize("make", [lambda x: (x,), lambda x: {"deep": [x]}])
def test_the_only_entry_need_not_be_named(make):
    torch.testing.assert_close(take(Returning(make), ":out")[":out"], X)


def test_a_value_that_is_no_container_is_an_error():
    with pytest.raises(TenfoldError, match="holds NoneType, not one tensor; name another"):
        take(Returning(lambda _: None), ":out")


def test_image_features_come_last():
    module = nn.Conv2d(3, 5, 1)
    image = torch.randn(2, 3, 4, 6)
    taken = take(module, ":out@1", image)[":out@1"]
    torch.testing.assert_close(taken, module(image).detach().permute(0, 2, 3, 1))


def test_heads_are_read_as_one_row_of_features():
    heads = torch.arange(24.0).reshape(2, 3, 4)
    taken = take(nn.Identity(), ":out@1,2", heads)[":out@1,2"]
    assert taken.tolist() == heads.reshape(2, 12).tolist()


@pytest.mark.parametrize("axes", ["3", "-4", "0,-3"])
def test_a_feature_axis_that_is_missing_or_named_twice_is_an_error_with_the_shape(axes):
    with pytest.raises(TenfoldError, match=r"its tensor has shape \(2, 3, 4\); name axes that"):
        take(nn.Identity(), f":out@{axes}")


def test_a_module_called_twice_is_an_error_that_names_the_count():
    module = Calling(Counting(), lambda child, x: child(child(child(x))))
    with pytest.raises(TenfoldError, match=r"'child' was passed 3 times.*calls='all'"):
        take(module, "child")


def test_all_calls_come_on_a_new_first_axis():
    module = Calling(Counting(), lambda child, x: child(child(child(x))))
    taken = take(module, "child", calls="all")["child"]
    torch.testing.assert_close(taken, torch.stack([X + 1, X + 2, X + 3]))


def test_calls_of_different_shapes_cannot_be_taken_together():
    module = Calling(Counting(), lambda child, x: (child(x), child(x[0])))
    with pytest.raises(TenfoldError, match=r"shapes \[\(2, 3, 4\), \(3, 4\)\] in its 2 calls"):
        take(module, "child", calls="all")


def test_all_calls_cannot_be_had_with_an_early_exit():
    with pytest.raises(TenfoldError, match="use stop_early=False"):
        take(chain(1.0), "0", calls="all", stop_early=True)


def test_a_module_that_is_never_called_is_an_error():
    attention = nn.MultiheadAttention(4, 1, batch_first=True)
    with pytest.raises(TenfoldError, match=r"never called the module of 'out_proj'"):
        capture(attention, "out_proj", lambda: attention(X, X, X))


@pytest.mark.parametrize("inner_stops", [True, False])
def test_captures_nest(inner_stops):
    inner = chain(1.0, 2.0)
    outer = chain(10.0, 20.0)
    nested = {}

    def both(child, x):
        nested.update(take(inner, "0", x, stop_early=inner_stops))
        return child(x)

    module = nn.Sequential(Calling(outer, both), Counting())
    taken = take(module, "0.child.0", stop_early=True)
    torch.testing.assert_close(nested["0"], X + 1)
    torch.testing.assert_close(taken["0.child.0"], X + 10)
    assert [inner[1].runs, outer[1].runs, module[1].runs] == [0 if inner_stops else 1, 0, 0]


def test_the_exit_of_an_outer_capture_passes_through_an_inner_one():
    module = chain(1.0, 2.0, 4.0)
    inner = []
    taken = capture(
        module, "0", lambda: inner.append(take(module, "2", stop_early=True)), stop_early=True
    )
    torch.testing.assert_close(taken["0"], X + 1)
    assert inner == []
    assert module[1].runs == 0
    assert num_hooks(module) == 0
