"""Suites that SIGKILL ends anywhere lose no bit when they are resumed."""

import signal

import pytest

from deadly import bits_of
from rooms.scope.deadly_suites import Life, live
from tenfold.engine.files import sha256
from tenfold.engine.metrics import read_rows

pytestmark = [pytest.mark.timeout(180), pytest.mark.long]
KILLED = -signal.SIGKILL
STEPS = 9
IN_A_STEP = "tenfold.rooms.jumprelu.trainer:learning_rate"
"""Called once a step by each of the two stacks."""
MOMENTS = {
    "harvest": {"at_call": "tenfold.parts.sae.harvest:read_rows", "number": 7},
    "step": {"at_call": IN_A_STEP, "number": 2 * 7 + 2},
    "writing": {"at_call": "tenfold.rooms.scope.training:measure", "number": 2},
}
MORE_MOMENTS = {
    "manifest": {"at_open": "*/suite/.tmp-manifest.json*", "number": 1},
    "corpus": {"at_call": "tenfold.rooms.scope.harvest:_corpus_values", "number": 4},
    "saving": {"at_open": "*/ckpt/.tmp-*/state.json", "number": 2},
}
"""For slow tests: the contract of all rooms kills while saving, too."""


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    """Return the folder of an undisturbed suite and of those that were killed."""
    root = tmp_path_factory.mktemp("suites")
    lives = [Life(path=str(root / "whole"))]
    for name, moment in MOMENTS.items():
        lives += [Life(path=str(root / name), **moment), Life(path=str(root / name))]
    # Finished stages are not done again: these would die in a step, or in a look at the model.
    for call in (IN_A_STEP, "tenfold.rooms.scope.run:look"):
        lives.append(Life(path=str(root / "whole"), at_call=call))
    assert live(*lives) == [0] + [KILLED, 0] * len(MOMENTS) + [0, 0]
    return root


def harvest_of(run):
    return {
        str(file.relative_to(run)): sha256(file)
        for file in run.glob("harvest/**/*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def more_suites(suites):
    lives = []
    for name, moment in MORE_MOMENTS.items():
        lives += [Life(path=str(suites / name), **moment), Life(path=str(suites / name))]
    assert live(*lives) == [KILLED, 0] * len(MORE_MOMENTS)
    return suites


@pytest.mark.slow
@pytest.mark.parametrize("moment", MORE_MOMENTS)
def test_a_suite_killed_at_more_moments_ends_with_the_same_bits(more_suites, moment):
    compare(more_suites, moment)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_suite_killed_at_any_moment_ends_with_the_same_bits(suites, moment):
    compare(suites, moment)


def compare(suites, moment):
    bits = bits_of(suites / moment)
    assert bits == bits_of(suites / "whole")
    assert sum(name.startswith("out/suite/saes") for name in bits) == 4
    assert harvest_of(suites / moment) == harvest_of(suites / "whole")
    manifests = [
        (suites / name / "out/suite/manifest.json").read_bytes() for name in (moment, "whole")
    ]
    assert manifests[0] == manifests[1]


@pytest.mark.slow
def test_a_live_suite_killed_and_stopped_ends_with_the_same_bits(tmp_path):
    changes = {"live": True, "sites": ["blocks.0"], "tokens": 320}
    lives = [
        Life(path=str(tmp_path / "whole"), changes=changes),
        Life(path=str(tmp_path / "killed"), changes=changes, at_call=IN_A_STEP, number=8),
        # Stopped once more after two steps.
        Life(path=str(tmp_path / "killed"), stop_after=2),
        Life(path=str(tmp_path / "killed")),
    ]
    assert live(*lives) == [0, KILLED, 3, 0]
    assert bits_of(tmp_path / "killed") == bits_of(tmp_path / "whole")


@pytest.mark.slow
def test_sites_spread_over_processes_become_the_same_bits_also_after_a_kill(suites, tmp_path):
    whole, path = suites / "whole", tmp_path / "spread"
    changes = {"workers": "2"}
    codes = live(
        # The parent dies when it writes down the first result.
        Life(path=str(path), changes=changes, at_open="*/pieces/.tmp-00*.json*"),
        Life(path=str(path)),
    )
    assert codes == [KILLED, 0]
    ours, theirs = (
        {str(f.relative_to(run)): sha256(f) for f in run.glob("out/suite/saes/**/*.safetensors")}
        for run in (path, whole)
    )
    assert len(ours) == 4
    assert ours == theirs
    assert (path / "out/suite/manifest.json").read_bytes() == (
        whole / "out/suite/manifest.json"
    ).read_bytes()
    ours, theirs = (
        {(row.step, row.name): row.value for row in read_rows(run / "metrics.jsonl")}
        for run in (path, whole)
    )
    assert ours == pytest.approx(theirs)
