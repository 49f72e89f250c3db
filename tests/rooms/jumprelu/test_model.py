import copy

import numpy as np
import pytest
import torch

from rooms.jumprelu.examples import KINDS, B, D, M, dictionary, rows
from tenfold.rooms.jumprelu.model import (
    JumpReLU,
    create,
    jumprelu_of_gated,
    keep_largest,
    row_norms,
    stack,
)


def close(ours, theirs):
    np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-10, atol=1e-12)


def test_jumprelu_keeps_what_exceeds_its_threshold_and_not_what_equals_it():
    theta = torch.tensor([0.5, 0.5, 0.5, 0.5])
    z = torch.tensor([[0.5, 0.5000001, 0.4999999, -3.0]])
    assert JumpReLU(theta)(z, None).tolist() == [[0, z[0, 1].item(), 0, 0]]


def test_a_log_threshold_is_the_same_threshold():
    theta = torch.tensor([1e-3, 0.5, 2.0])
    torch.testing.assert_close(JumpReLU(theta, as_log=True).threshold, theta)


@pytest.mark.parametrize("pre_bias", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_folding_scales_the_latents_and_leaves_reconstructions_alone(kind, pre_bias):
    whole, x = dictionary(kind, scale=3.0, pre_bias=pre_bias), 3 * rows()
    folded = whole.fold()
    assert (folded.scale, folded.pre_bias) == (1.0, False)
    assert (whole.encode(x) > 0).any()
    close(folded.encode(x), 3.0 * whole.encode(x))
    close(folded(x), whole(x))
    close(folded.fold()(x), whole(x))


def test_folded_jumprelu_parameters_are_those_of_the_papers_appendix():
    whole = dictionary("jumprelu", scale=3.0)
    folded = whole.fold()
    close(folded.b_enc, 3 * whole.b_enc - 3 * whole.w_enc.T @ whole.b_dec)
    close(folded.b_dec, 3 * whole.b_dec)
    close(folded.unit.threshold, 3 * whole.unit.threshold)
    close(folded.w_enc, whole.w_enc)
    close(folded.w_dec, whole.w_dec)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_gated_dictionary_equals_its_jumprelu_form(scale):
    whole, x = dictionary("gated", scale=scale), scale * rows(200)
    twin = jumprelu_of_gated(whole)
    assert twin.kind == "jumprelu"
    # Both cases occur: the gate decides (theta > 0), and the relu does.
    raw = whole.unit.b_mag - whole.b_enc * whole.unit.gain_log.exp()
    assert (raw > 0).any()
    assert (raw < 0).any()
    close(twin.encode(x), whole.encode(x))
    close(twin(x), whole(x))


def test_only_a_gated_dictionary_has_a_gate_to_rewrite():
    with pytest.raises(ValueError, match="a topk dictionary has no gate; pass a gated one"):
        jumprelu_of_gated(dictionary("topk"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_gives_back_its_lanes_and_computes_what_they_do(kind):
    singles = [dictionary(kind, seed=seed, scale=2.0) for seed in range(3)]
    whole, x = stack(singles), rows()
    together = whole(x.expand(3, B, D))
    for index, single in enumerate(singles):
        lane = whole.lane(index)
        assert lane.state_dict().keys() == single.state_dict().keys()
        for name, value in single.state_dict().items():
            assert torch.equal(lane.state_dict()[name], value)
        assert (lane.kind, lane.scale, lane.pre_bias) == (kind, 2.0, True)
        close(together[index], single(x))
        close(lane(x), single(x))


def test_lanes_of_a_stack_share_no_memory_with_it():
    whole = stack([dictionary("jumprelu"), dictionary("jumprelu", seed=1)])
    before = copy.deepcopy(whole.state_dict())
    lane = whole.lane(0)
    for parameter in lane.parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())


def test_each_lane_of_a_topk_stack_keeps_its_own_number():
    f = torch.rand(3, B, M, generator=torch.Generator().manual_seed(0)) + 0.1
    kept = keep_largest(f, torch.tensor([1, 5, 3]))
    assert [set((lane > 0).sum(dim=1).tolist()) for lane in kept] == [{1}, {5}, {3}]
    for before, after in zip(f, kept, strict=True):
        lowest = after.where(after > 0, torch.inf).amin(dim=1)
        assert (lowest > before.where(after == 0, -torch.inf).amax(dim=1)).all()


def test_topk_never_keeps_negative_preactivations():
    whole = dictionary("topk")
    whole.b_enc.data.fill_(-100.0)
    assert (whole.encode(rows()) == 0).all()


def test_a_batchtopk_dictionary_treats_a_row_alike_in_any_batch():
    whole, x = dictionary("batchtopk"), rows()
    close(whole.encode(x)[3], whole.encode(x[3:4])[0])


def test_a_new_dictionary_starts_as_in_gemma_scope():
    new = create("jumprelu", input_width=D, width=M, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(row_norms(new.w_dec).detach(), 1, rtol=1e-6)
    assert torch.equal(new.w_enc, new.w_dec.T)
    assert (new.b_enc == 0).all()
    assert (new.b_dec == 0).all()
    np.testing.assert_allclose(new.unit.threshold.detach(), 0.001)
