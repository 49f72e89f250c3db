import copy

import numpy as np
import pytest
import torch

from rooms.jumprelu.examples import KINDS, OUT, B, D, M, dictionary, rows, transcoder
from tenfold.engine.errors import TenfoldError
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


# Transcoders


def test_a_skip_transcoder_is_the_published_sum():
    whole, x = transcoder("jumprelu"), 2 * rows()
    a = {name: value.detach().numpy() for name, value in whole.state_dict().items()}
    z = x.numpy() / 2 @ a["w_enc"] + a["b_enc"]
    f = np.where(z > a["unit.raw"], z, 0)
    y = 2 * (f @ a["w_dec"] + a["b_dec"]) + x.numpy() @ a["w_skip"]
    assert (whole.input_width, whole.width, whole.output_width) == (D, M, OUT)
    np.testing.assert_allclose(whole.encode(x).detach(), f, rtol=1e-12)
    np.testing.assert_allclose(whole(x).detach(), y, rtol=1e-12)
    close(whole.decode(whole.encode(x), x), whole(x))


def test_a_skip_transcoder_cannot_decode_latents_alone():
    whole = transcoder("jumprelu")
    with pytest.raises(TenfoldError, match=r"shape \[8, 5\] cannot decode latents alone; give"):
        whole.decode(whole.encode(rows()))
    plain = transcoder("jumprelu", skip=False)
    close(plain.decode(plain.encode(rows())), plain(rows()))


@pytest.mark.parametrize("kind", KINDS)
def test_folding_a_transcoder_leaves_its_function_alone(kind):
    whole, x = transcoder(kind, scale=3.0), 3 * rows()
    folded = whole.fold()
    assert (folded.scale, folded.transcoder) == (1.0, True)
    assert (whole.encode(x) > 0).any()
    close(folded.encode(x), 3.0 * whole.encode(x))
    close(folded(x), whole(x))
    assert torch.equal(folded.w_skip, whole.w_skip)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_of_transcoders_computes_what_its_lanes_do(kind, skip):
    singles = [transcoder(kind, seed=seed, skip=skip) for seed in range(3)]
    whole, x = stack(singles), rows()
    together = whole(x.expand(3, B, D))
    assert together.shape == (3, B, OUT)
    for index, single in enumerate(singles):
        lane = whole.lane(index)
        assert lane.state_dict().keys() == single.state_dict().keys()
        assert (lane.transcoder, lane.scale, lane.pre_bias) == (True, 2.0, False)
        close(together[index], single(x))
        close(lane(x), single(x))


def test_a_gated_transcoder_equals_its_jumprelu_form():
    whole, x = transcoder("gated"), 2 * rows(100)
    close(jumprelu_of_gated(whole)(x), whole(x))


def test_a_new_transcoder_has_an_encoder_of_its_own_and_a_skip_of_zeros():
    sizes = {"input_width": 64, "width": 512, "generator": torch.Generator().manual_seed(0)}
    new = create("jumprelu", **sizes, transcoder=True, output_width=48, skip=True)
    np.testing.assert_allclose(row_norms(new.w_dec).detach(), 1, rtol=1e-6)
    assert not new.pre_bias
    assert (new.w_skip.shape, bool((new.w_skip == 0).all())) == ((64, 48), True)
    # He-uniform over the 64 inputs: variance 2 / 64, no value beyond sqrt(6 / 64)
    assert new.w_enc.detach().abs().max() <= (6 / 64) ** 0.5
    np.testing.assert_allclose(new.w_enc.detach().var(), 2 / 64, rtol=0.02)
    same = create("jumprelu", **sizes, transcoder=True)
    overlap = (same.w_enc.detach().T * same.w_dec.detach()).sum(dim=1) / same.w_enc.detach().norm(
        dim=0
    )
    assert overlap.abs().mean() < 0.2


def test_only_transcoders_change_the_width():
    with pytest.raises(AssertionError, match="this needs a transcoder"):
        create("relu", input_width=8, width=16, generator=torch.Generator(), output_width=5)
