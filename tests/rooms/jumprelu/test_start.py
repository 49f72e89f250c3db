import dataclasses

import numpy as np
import pytest
import torch

from rooms.jumprelu.examples import OUT, B, D, M, activations, dictionary, rows, transcoder
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu import config, files
from tenfold.rooms.jumprelu.config import Train
from tenfold.rooms.jumprelu.data import as_source
from tenfold.rooms.jumprelu.start import (
    KINDS,
    first_dictionary,
    first_rows,
    geometric_median,
    quantile_thresholds,
)
from tenfold.rooms.jumprelu.trainer import start

SMALL = Train(width=M, rows=10 * B, batch=B, target_l0=(3.0,), device="cpu")


def source():
    return as_source(activations(), held_out=0.1)[0]


@pytest.mark.parametrize(
    ("points", "median"),
    [
        # Where the diagonals of a convex quadrilateral cross
        ([(0, 0), (4, 0), (5, 3), (0, 2)], (20 / 11, 12 / 11)),
        # Fermat's point of an equilateral triangle
        ([(0, 0), (2, 0), (1, 3**0.5)], (1, 3**-0.5)),
        # Far from the mean: most rows are at one place
        ([(1, 2)] * 9 + [(1000, -1000)], (1, 2)),
    ],
)
def test_the_geometric_median_has_its_known_place(points, median):
    found = geometric_median(torch.tensor(points, dtype=torch.float64))
    np.testing.assert_allclose(found, median, atol=1e-4)


def test_the_geometric_median_moves_with_its_points():
    x = rows(50)
    found = geometric_median(x)
    np.testing.assert_allclose(geometric_median(3 * x + 7), 3 * found + 7, rtol=1e-4)


def test_quantile_thresholds_start_every_latent_at_its_share_of_the_target():
    whole, sample = dictionary("jumprelu"), rows(4_000)
    whole.unit.raw.data.copy_(quantile_thresholds(whole, sample, 3.0))
    rates = (whole.encode(sample) > 0).double().mean(dim=0)
    np.testing.assert_allclose(rates, 3 / M, atol=1 / 1000)


def test_a_cold_start_has_the_target_l0_the_scale_and_the_centre_of_the_data():
    trainer = start(SMALL, source())
    sample = source().sample()
    scale = trainer.dictionary.scale
    assert scale == pytest.approx(sample.square().sum(dim=1).mean().sqrt().item())
    lane = trainer.dictionary.lane(0)
    assert (lane.encode(sample) > 0).sum(dim=1).float().mean().item() == pytest.approx(3, rel=0.05)
    torch.testing.assert_close(lane.b_dec, geometric_median(sample / scale))


def test_gemma_scopes_start_has_small_thresholds_and_no_centre():
    trainer = start(dataclasses.replace(SMALL, schedule="gemma-scope"), source())
    np.testing.assert_allclose(trainer.dictionary.unit.threshold.detach(), 1e-3, rtol=1e-5)
    assert (trainer.dictionary.b_dec == 0).all()


def test_equal_seeds_start_alike_and_others_do_not():
    cfg = dataclasses.replace(SMALL, seeds=(0, 1), target_l0=(3.0, 6.0))
    first, second, other, _ = start(cfg, source()).dictionary.w_enc
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("given", ["batchtopk", "matryoshka", "jumprelu", "gated", "relu"])
@pytest.mark.parametrize("folded", [False, True])
def test_a_jumprelu_run_starts_with_the_function_of_the_file_it_is_given(given, folded, tmp_path):
    old = dictionary(given, scale=2.0)
    old.w_dec.data *= torch.rand(M, 1, generator=torch.Generator().manual_seed(0)).double() + 0.5
    files.save(old.fold() if folded else old, tmp_path / "old")
    trainer = start(dataclasses.replace(SMALL, warm_start=str(tmp_path / "old")), source())
    lane, x = trainer.dictionary.lane(0), 2 * rows(100).float()
    np.testing.assert_allclose(lane.w_dec.norm(dim=1).detach(), 1, rtol=1e-5)
    assert ((lane.encode(x) > 0) == (old.float().encode(x) > 0)).all()
    torch.testing.assert_close(lane(x), old(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["relu", "gated", "topk", "batchtopk", "matryoshka"])
def test_a_run_goes_on_from_a_file_of_its_own_kind(kind, tmp_path):
    files.save(dictionary(kind, scale=2.0), tmp_path / "old")
    (method,) = [method for method, name in KINDS.items() if name == kind]
    cfg = dataclasses.replace(
        SMALL, method=method(), target_l0=(4.0,), warm_start=str(tmp_path / "old")
    )
    lane, x = start(cfg, source()).dictionary.lane(0), 2 * rows(100).float()
    old = dictionary(kind, scale=2.0).float()
    assert (old.encode(x) > 0).any()
    torch.testing.assert_close(lane(x), old(x), rtol=1e-4, atol=1e-4)


def test_a_warm_start_of_another_shape_is_refused_with_both_shapes(tmp_path):
    files.save(dictionary("jumprelu"), tmp_path / "old")
    cfg = dataclasses.replace(SMALL, width=2 * M, warm_start=str(tmp_path / "old"))
    with pytest.raises(TenfoldError, match=f"D {D} x M {M}, the run D {D} x M {2 * M}"):
        start(cfg, source())


def test_first_rows_are_the_first_held_out_rows():
    whole = torch.cat(list(source().held_out()))
    assert torch.equal(first_rows(source(), 15), whole[:15])
    assert torch.equal(first_rows(source(), 10_000), whole)


def test_a_warm_start_from_a_kind_that_does_not_fit_is_refused_by_name(tmp_path):
    files.save(dictionary("jumprelu"), tmp_path / "old")
    cfg = dataclasses.replace(SMALL, method=config.TopK(), warm_start=str(tmp_path / "old"))
    with pytest.raises(TenfoldError, match="a topk dictionary cannot start from a jumprelu one"):
        start(cfg, source())


# Transcoders


def pairs(count=4_000):
    """Scaled rows of two sites and their scale."""
    x = rows(count).float()
    y = (x[:, :OUT] * 2).tanh() + 0.7
    scale = float(x.square().sum(dim=1).mean().sqrt())
    return x / scale, y / scale, scale


def first(cfg, **more):
    x, y, scale = pairs()
    schedule = config.resolve_schedule(cfg, input_width=D)
    return first_dictionary(cfg, schedule, sample=x, scale=scale, target=y, **more)


def test_a_transcoder_starts_at_the_centre_of_its_target_with_its_target_l0():
    x, y, scale = pairs()
    whole = first(SMALL, skip=True)
    lane = whole.lane(0)
    assert (lane.transcoder, lane.pre_bias, lane.output_width) == (True, False, OUT)
    assert lane.scale == scale
    torch.testing.assert_close(lane.b_dec, geometric_median(y))
    l0 = (lane.encode(x * scale) > 0).sum(dim=1).float().mean().item()
    assert l0 == pytest.approx(3, rel=0.05)
    assert (lane.w_skip == 0).all()
    assert first(SMALL).w_skip is None


@pytest.mark.parametrize("skip", [False, True])
def test_a_transcoder_run_starts_with_the_function_of_the_file_it_is_given(skip, tmp_path):
    old = transcoder("jumprelu", skip=skip, dtype=torch.float32)
    files.save(old, tmp_path / "old")
    cfg = dataclasses.replace(SMALL, warm_start=str(tmp_path / "old"))
    lane, x = first(cfg, skip=True).lane(0), 2 * rows(100).float()
    torch.testing.assert_close(lane(x), old(x), rtol=1e-4, atol=1e-4)


def test_transcoders_and_autoencoders_do_not_start_from_each_other(tmp_path):
    files.save(transcoder("jumprelu", out=D, skip=False), tmp_path / "old")
    cfg = dataclasses.replace(SMALL, warm_start=str(tmp_path / "old"))
    with pytest.raises(TenfoldError, match="is a transcoder, the run trains an autoencoder; use"):
        start(cfg, source())
    files.save(dictionary("jumprelu"), tmp_path / "other")
    cfg = dataclasses.replace(SMALL, warm_start=str(tmp_path / "other"))
    with pytest.raises(TenfoldError, match=f"shape D {D} x M {M}, the run D {D} x M {M} x O {OUT}"):
        first(cfg)
    files.save(transcoder("jumprelu"), tmp_path / "skipping")
    cfg = dataclasses.replace(SMALL, warm_start=str(tmp_path / "skipping"))
    with pytest.raises(TenfoldError, match="has a skip connection, the run has none"):
        first(cfg)


def test_a_skip_connection_needs_a_target():
    x, _, scale = pairs(100)
    schedule = config.resolve_schedule(SMALL, input_width=D)
    with pytest.raises(TenfoldError, match="a skip connection needs pairs of sites"):
        first_dictionary(SMALL, schedule, sample=x, scale=scale, skip=True)
