import numpy as np
import pytest
import torch
from torch import nn

from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import stream, torch_stream
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.scope.baselines import (
    COUNTS,
    baseline_metrics,
    component_counts,
    fit_moments,
    project,
    stand_ins,
)

VARIANCES = (9.0, 4.0, 1.0, 0.25)
MEAN = np.array([5.0, -3.0, 100.0, 0.0])


def rows_of_known_covariance(count=512):
    """Rows whose mean and covariance are exact, along directions drawn at random."""
    rng = stream(0, "baselines")
    normal = rng.normal(size=(count, 4))
    normal -= normal.mean(axis=0)
    q, _ = np.linalg.qr(normal)
    directions, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    rows = np.sqrt(count) * q * np.sqrt(VARIANCES) @ directions.T
    return rows + MEAN, directions


def specimen_of(rows, *, batch_size=100, mask=None):
    module = nn.Sequential(nn.Identity(), nn.Linear(4, 1))
    x = torch.from_numpy(rows).float()

    def read(_split, start=0):
        for part in list(range(0, len(x), batch_size))[start:]:
            kept = None if mask is None else mask[part : part + batch_size]
            yield Batch(inputs=(x[part : part + batch_size],), mask=kept)

    return Specimen(module=module, batches=read, identity={})


@pytest.fixture(scope="module")
def moments():
    rows, _ = rows_of_known_covariance()
    return fit_moments(specimen_of(rows), ("0",), tokens=10**9)["0"]


def test_moments_of_a_known_covariance_are_found(moments):
    _, directions = rows_of_known_covariance()
    np.testing.assert_allclose(moments.mean, MEAN, atol=1e-4)
    np.testing.assert_allclose(moments.variances, VARIANCES, rtol=1e-4)
    overlap = np.abs(directions.T @ moments.directions.double().numpy())
    np.testing.assert_allclose(overlap, np.eye(4), atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_components_leave_the_variance_of_the_others(moments, count):
    rows, _ = rows_of_known_covariance()
    x = torch.from_numpy(rows).float()
    left = float((x - project(moments, count, x)).square().sum(dim=1).mean())
    assert left == pytest.approx(sum(VARIANCES[count:]), rel=1e-3, abs=1e-6)


def test_stand_ins_are_called_by_what_they_keep(moments):
    named = stand_ins(moments, (1, 3))
    assert list(named) == ["mean", "zero", "pca/1", "pca/3"]
    x = torch.randn(5, 4, generator=torch_stream(0, "x"))
    torch.testing.assert_close(named["mean"](x), moments.mean.expand(5, 4))
    assert not named["zero"](x).any()
    torch.testing.assert_close(named["pca/3"](x), project(moments, 3, x))


def test_only_kept_rows_and_only_as_many_as_asked_for_are_fitted():
    rows, _ = rows_of_known_covariance()
    mask = torch.arange(len(rows)) % 2 == 0
    found = fit_moments(specimen_of(rows, mask=mask), ("0",), tokens=60)["0"]
    assert found.rows == 100  # two batches of fifty
    np.testing.assert_allclose(found.mean, rows[:200:2].mean(axis=0), atol=1e-3)


def test_too_few_rows_are_refused():
    rows, _ = rows_of_known_covariance()
    nothing = torch.zeros(len(rows), dtype=torch.bool)
    with pytest.raises(TenfoldError, match="fewer than two rows at '0'"):
        fit_moments(specimen_of(rows, mask=nothing), ("0",), tokens=10)


def test_as_many_components_as_active_latents_and_fewer_than_the_width():
    assert component_counts([8.0, 16.0, 32.0], width=128) == (8, 16, 32)
    assert component_counts([0.4, 2.4, 2.6, 500.0], width=8) == (1, 2, 3)
    assert component_counts([], width=8) == ()
    many = component_counts([float(2**i) for i in range(9)], width=1_000)
    assert len(many) == COUNTS
    assert (many[0], many[-1]) == (1, 256)


def test_metrics_of_stand_ins_are_ratios_of_their_sums():
    sums = {
        "error/pca/8": torch.tensor(2.0),
        "rise/pca/8": torch.tensor(3.0),
        "error/pca/2": torch.tensor(4.0),
        "error/zero": torch.tensor(10.0),
        "rise/zero": torch.tensor(-5.0),
    }
    found = baseline_metrics(sums, variance=8.0, predicted=10.0)
    assert found["pca"] == [
        {"components": 2, "fvu": 0.5},
        {"components": 8, "fvu": 0.25, "delta_loss": pytest.approx(0.3)},
    ]
    assert found["zero"] == {"fvu": 1.25, "delta_loss": -0.5}
    assert "delta_loss" not in baseline_metrics(sums, variance=8.0, predicted=0.0)["zero"]
