import numpy as np
import pytest
import torch

from rooms.jumprelu.examples import KINDS, OUT, D, M, dictionary, rows, transcoder
from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.rows import Batch
from tenfold.rooms.jumprelu.eval import Measures, delta_loss, mean_loss, measure
from tenfold.rooms.jumprelu.model import Dictionary, ReLU


def both_signs(*, shrink=1.0):
    """A dictionary that rebuilds everything, times `shrink`."""
    eye = torch.eye(D, dtype=torch.float64)
    return Dictionary(
        w_enc=torch.cat([eye, -eye], dim=1),
        b_enc=torch.zeros(2 * D, dtype=torch.float64),
        w_dec=shrink * torch.cat([eye, -eye]),
        b_dec=torch.zeros(D, dtype=torch.float64),
        unit=ReLU(),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_measures_are_those_of_a_direct_computation(kind):
    whole, x = dictionary(kind, scale=2.0), 2 * rows(90)
    found = measure(whole, x.split([40, 1, 49]))
    f, y, x = (t.detach().numpy() for t in (whole.encode(x), whole(x), x))
    assert found.rows == 90
    assert found.l0 == pytest.approx((f > 0).sum(axis=1).mean())
    error, spread = ((x - y) ** 2).sum(axis=1).mean(), ((x - x.mean(axis=0)) ** 2).sum(axis=1)
    assert found.fvu == pytest.approx(error / spread.mean(), rel=1e-10)
    bias = (y**2).sum(axis=1).mean() / (x * y).sum(axis=1).mean()
    assert found.reconstruction_bias == pytest.approx(bias, rel=1e-10)
    np.testing.assert_allclose(found.frequencies, (f > 0).mean(axis=0))
    assert found.dead == (~(f > 0).any(axis=0)).sum()


def test_fvu_is_a_ratio_of_means_and_not_a_mean_of_ratios():
    x = torch.zeros(2, D, dtype=torch.float64)
    x[0, 0], x[1, 1] = 1.0, 10.0
    half = both_signs()
    half.w_dec.data[1] = 0.0  # loses the second row altogether
    variance = (x - x.mean(dim=0)).square().sum(dim=1).mean().item()
    assert measure(half, [x]).fvu == pytest.approx((0 + 100) / 2 / variance)


def test_the_mean_row_alone_explains_no_variance():
    whole, x = both_signs(shrink=0.0), rows()
    whole.b_dec.data.copy_(x.mean(dim=0))
    assert measure(whole, [x]).fvu == pytest.approx(1.0)


@pytest.mark.parametrize("shrink", [1.0, 0.7, 1.2])
def test_reconstruction_bias_is_the_factor_by_which_outputs_are_shrunk(shrink):
    found = measure(both_signs(shrink=shrink), [rows()])
    assert found.reconstruction_bias == pytest.approx(shrink)
    if shrink == 1.0:
        assert found.fvu == pytest.approx(0, abs=1e-12)


def test_folding_changes_no_measure():
    whole, x = dictionary("jumprelu", scale=2.0), 2 * rows(60)
    ours, theirs = measure(whole.fold(), [x]), measure(whole, [x])
    assert ours.fvu == pytest.approx(theirs.fvu, rel=1e-10)
    np.testing.assert_array_equal(ours.frequencies, theirs.frequencies)


def test_latents_are_counted_by_how_often_they_fire():
    frequencies = np.array([0.0, 0.0, 0.005, 0.01, 0.05, 0.1, 0.2, 1.0])
    found = Measures(rows=1, l0=0.0, fvu=0.0, reconstruction_bias=1.0, frequencies=frequencies)
    summary = found.summary()
    assert (summary["dead"], summary["above_1_percent"], summary["above_10_percent"]) == (2, 4, 2)
    histogram = found.histogram()
    assert sum(histogram["frequency_counts"]) == 8
    assert histogram["frequency_counts"][0] == 2
    assert histogram["frequency_edges"][0::24] == [-6, 0]


def test_another_width_is_refused_with_both_shapes():
    with pytest.raises(TenfoldError, match=rf"\[5, 3\] have width 3, .* D {D} x M {M}"):
        measure(dictionary("relu"), [torch.zeros(5, 3)])


def test_measuring_needs_rows_that_vary():
    with pytest.raises(TenfoldError, match="0 rows to measure on; give held-out activations"):
        measure(dictionary("relu"), [])
    with pytest.raises(TenfoldError, match="the 6 rows are all alike; FVU is not defined"):
        measure(dictionary("relu"), [torch.ones(6, D)])


# Losses of a model: an embedding, a site, and the square of what comes out of it

MODEL = torch.nn.Sequential(torch.nn.Embedding(5, D), torch.nn.Identity()).double()
MODEL[0].weight.data.copy_(rows(5))
TOKENS = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1]])
SQUARES = MODEL[0].weight.detach().square().sum(dim=1)


def loss(tokens):
    return MODEL(tokens[:, :-1]).square().sum(dim=-1)


def rise(whole, *, mask=None):
    batches = [Batch(inputs=(TOKENS,), mask=mask)]
    clean = mean_loss(loss, batches)
    return delta_loss(MODEL, "1", whole, loss=loss, batches=batches, clean=clean), clean


def test_a_perfect_dictionary_costs_no_loss_and_a_shrinking_one_what_it_takes():
    clean = SQUARES[TOKENS[:, :-1]].mean().item()
    assert rise(both_signs()) == pytest.approx((0, clean), abs=1e-12)
    assert rise(both_signs(shrink=0.5))[0] == pytest.approx((0.25 - 1) * clean)


def test_losses_count_only_kept_tokens_that_follow_kept_ones():
    mask = torch.tensor([[False, True, True, True], [True, True, False, True]])
    counted = SQUARES[torch.tensor([1, 2, 4])].mean().item()
    found, clean = rise(both_signs(shrink=0.5), mask=mask)
    assert clean == pytest.approx(counted)
    assert found == pytest.approx((0.25 - 1) * counted)


# Transcoders


@pytest.mark.parametrize("kind", KINDS)
def test_a_transcoders_measures_are_those_of_what_it_rebuilds(kind):
    whole, x = transcoder(kind), 2 * rows(90)
    y = x[:, :OUT].tanh() + 1
    found = measure(whole, zip(x.split([40, 1, 49]), y.split([40, 1, 49]), strict=True))
    f, guess, y = (t.detach().numpy() for t in (whole.encode(x), whole(x), y))
    assert (found.rows, found.l0) == (90, pytest.approx((f > 0).sum(axis=1).mean()))
    error, spread = ((y - guess) ** 2).sum(axis=1).mean(), ((y - y.mean(axis=0)) ** 2).sum(axis=1)
    assert found.fvu == pytest.approx(error / spread.mean(), rel=1e-10)
    bias = (guess**2).sum(axis=1).mean() / (y * guess).sum(axis=1).mean()
    assert found.reconstruction_bias == pytest.approx(bias, rel=1e-10)


def test_a_transcoder_is_measured_on_pairs_that_fit():
    whole, x = transcoder("relu"), rows()
    with pytest.raises(TenfoldError, match="rebuilds another site's activations; give pairs"):
        measure(whole, [x])
    with pytest.raises(TenfoldError, match=r"targets \[16, 8\] do not fit inputs .* width 5; give"):
        measure(whole, [(x, x)])
    with pytest.raises(TenfoldError, match=r"\[16, 3\] have width 3, the dictionary is D 8 x M 24"):
        measure(whole, [(x[:, :3], x[:, :OUT])])


def test_a_bridge_to_a_wider_site_is_measured_by_the_loss_behind_it():
    generator = torch.Generator().manual_seed(0)
    map_out = torch.randn(D, OUT, generator=generator, dtype=torch.float64)
    model = torch.nn.Sequential(MODEL[0], torch.nn.Linear(D, OUT).double())
    model[1].weight.data.copy_(map_out.T)
    model[1].bias.data.zero_()
    exact = Dictionary(
        w_enc=torch.zeros(D, 4, dtype=torch.float64),
        b_enc=torch.zeros(4, dtype=torch.float64),
        w_dec=torch.zeros(4, OUT, dtype=torch.float64),
        b_dec=torch.zeros(OUT, dtype=torch.float64),
        unit=ReLU(),
        w_skip=0.5 * map_out,
        transcoder=True,
    )
    batches = [Batch(inputs=(TOKENS,))]

    def loss(tokens):
        return model(tokens[:, :-1]).square().sum(dim=-1)

    clean = mean_loss(loss, batches)
    options = {"loss": loss, "batches": batches, "clean": clean}
    # Half the output is a quarter of its square.
    assert delta_loss(model, ("1:in", "1"), exact, **options) == pytest.approx(-0.75 * clean)
    exact.w_skip.data.copy_(map_out)
    assert delta_loss(model, ("1:in", "1"), exact, **options) == pytest.approx(0, abs=1e-9)
    with pytest.raises(
        TenfoldError, match="'1' does not fit a transcoder; give the sites it reads"
    ):
        delta_loss(model, "1", exact, **options)
    with pytest.raises(TenfoldError, match="does not fit an autoencoder; give one site"):
        delta_loss(model, ("0", "1"), both_signs(), **options)
