from dataclasses import replace

import numpy as np
import pytest
import torch

from tenfold.engine.errors import TenfoldError
from tenfold.engine.run import Options, Run, RunStopped
from tenfold.rooms.vdn import compare, compare_config
from tenfold.rooms.vdn.files import load_teams

pytest.importorskip("numba")
CFG = replace(compare_config.tiny(), archs=("ind", "v.s", "v.c"), seeds=(0, 1))


def stack_of(tmp_path, *, stop_after=0):
    stack = next(stack for _, stack in compare.plan_stacks(CFG) if len(stack.teams) == 4)
    options = Options(quiet=True, stop_after=stop_after)
    return replace(stack, path=str(tmp_path / "own"), out=str(tmp_path / "teams"), options=options)


def test_a_stack_that_was_stopped_goes_on_to_the_same_figures(tmp_path):
    whole = compare.train_stack(stack_of(tmp_path / "whole"))
    with pytest.raises(RunStopped):
        compare.train_stack(stack_of(tmp_path / "parts", stop_after=3))
    assert compare.train_stack(stack_of(tmp_path / "parts")) == whole
    for file in sorted((tmp_path / "whole" / "teams").iterdir()):
        one, other = load_teams(file), load_teams(tmp_path / "parts" / "teams" / file.name)
        assert all(torch.equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


def test_trained_teams_of_a_comparison_are_kept(tmp_path):
    run = Run.create(CFG, room="vdn", verb="compare", options=Options(quiet=True),
                     path=tmp_path / "run")  # fmt: skip
    compare.compare_run(CFG, run=run)
    files = sorted((run.out / "teams").iterdir())
    (task,) = CFG.all_tasks
    assert [file.name for file in files] == [
        f"{task.replace('/', '-')}+{name}.safetensors" for name in ("ind", "v.c", "v.s")
    ]
    for file in files:
        saved = load_teams(file)
        assert saved.seeds == (0, 1)
        assert np.isfinite(saved.learner().weights.numpy()).all()
    with pytest.raises(TenfoldError, match=r"is a comparison with 3 files of teams; name one"):
        load_teams(run.path)
    assert not list((run.path / "stacks").iterdir())
