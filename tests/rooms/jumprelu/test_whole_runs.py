import dataclasses
import itertools

import pytest
import torch

from rooms.jumprelu.examples import B, M, activations
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json
from tenfold.engine.run import Options, RunStopped
from tenfold.rooms.jumprelu import files
from tenfold.rooms.jumprelu.config import Train
from tenfold.rooms.jumprelu.data import as_source
from tenfold.rooms.jumprelu.eval import measure
from tenfold.rooms.jumprelu.run import resume, train

SMALL = Train(width=M, rows=10 * B, batch=B, target_l0=(3.0,), log_every=3, device="cpu", threads=1)


def options(root, **more):
    return Options(runs=str(root), quiet=True, **more)


def weights(run):
    (folder,) = (run.path / "out").glob("l0_*")
    return files.load(folder).state_dict()


def factory(cursor):
    return (torch.tensor(activations(B, seed=number)) for number in itertools.count(cursor))


@pytest.mark.parametrize("data", [activations(), factory], ids=["array", "factory"])
def test_a_run_stopped_and_resumed_equals_an_undisturbed_one(data, tmp_path):
    whole = train(SMALL, data, options=options(tmp_path / "whole"))
    with pytest.raises(RunStopped) as stopped:
        train(SMALL, data, options=options(tmp_path / "parts", stop_after=4))
    again = resume(stopped.value.path, data, options=options(tmp_path / "parts"))
    theirs = weights(whole)
    assert all(torch.equal(value, theirs[name]) for name, value in weights(again).items())


def test_a_run_on_a_plain_iterator_trains_but_refuses_to_resume(tmp_path):
    train(SMALL, factory(0), options=options(tmp_path))
    with pytest.raises(RunStopped) as stopped:
        train(SMALL, factory(0), options=options(tmp_path, stop_after=4))
    with pytest.raises(
        TenfoldError, match="batch 4 was asked for but a plain iterator stands at 0"
    ):
        resume(stopped.value.path, factory(0), options=options(tmp_path))


def test_changed_data_are_refused_on_resume(tmp_path):
    with pytest.raises(RunStopped) as stopped:
        train(SMALL, activations(), options=options(tmp_path, stop_after=4))
    other = activations()
    other[0] += 1
    with pytest.raises(
        TenfoldError, match=r"are not those that .* began with; put the old file back"
    ):
        resume(stopped.value.path, other, options=options(tmp_path))


def test_a_run_whose_folded_result_is_measured_on_held_out_rows(tmp_path):
    cfg = dataclasses.replace(SMALL, target_l0=(2.0, 4.0))
    run = train(cfg, activations(), options=options(tmp_path))
    reported = read_json(run.out / "metrics.json")
    source, _ = as_source(activations(), held_out=cfg.held_out)
    assert set(reported) == {"l0_2_s0", "l0_4_s0"}
    for name, values in reported.items():
        found = measure(files.load(run.out / name), source.held_out())
        assert values["fvu"] == pytest.approx(found.fvu)
        assert values["l0"] == pytest.approx(found.l0)


def test_what_cannot_be_opened_leaves_no_run_directory(tmp_path):
    with pytest.raises(TenfoldError, match="is no source of activations"):
        train(SMALL, 3.5, options=options(tmp_path))
    assert not list(tmp_path.iterdir())
