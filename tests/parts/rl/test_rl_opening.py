import sys
import types

import numpy as np
import pytest

from parts.rl.tiny_worlds import Relay, Walk, batch_of, run
from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.adapters.opening import as_batch, open_environment

# Names


OWN = """
from parts.rl.tiny_worlds import Doors, Relay, Walk

def walk(masks=False):
    return Walk(masks=masks)

def relay(seed):
    env = Relay()
    env.born = seed
    return env

def doors(copies, seeds):
    return Doors(copies=copies, seeds=seeds)

def wrong():
    return Doors()
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN, encoding="utf-8")
    return path


def test_a_function_of_a_file_makes_each_copy(own):
    batch = open_environment(f"{own}:walk", copies=3, seed=1, options={"masks": True})
    assert (batch.spec.copies, batch.spec.agents) == (3, ("agent",))
    batch.reset()
    assert batch.legal().shape == (3, 1, 2)


def test_a_function_that_takes_a_seed_gets_another_one_for_each_copy(own):
    batch = open_environment(f"{own}:relay", copies=3, seed=[1, 2])
    assert batch.spec.copies == 6
    assert len({copy.env.born for copy in batch.copies}) == 6


def test_a_function_that_takes_copies_makes_the_whole_batch(own):
    batch = open_environment(f"{own}:doors", copies=2, seed=[5, 6, 7])
    assert batch.spec.copies == 6
    assert len(set(batch.user.seeds)) == 6


def test_copies_of_a_lane_do_not_depend_on_other_lanes(own):
    together = open_environment(f"{own}:walk", copies=2, seed=[3, 4])
    alone = open_environment(f"{own}:walk", copies=2, seed=4)
    np.testing.assert_array_equal(together.reset()[2:], alone.reset())


def test_a_batch_passes_as_it_is():
    batch = batch_of(Walk)
    assert as_batch(batch, name="tiny") is batch


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("gymn:CartPole-v1", "unknown environment 'gymn:CartPole-v1'; .*gym:NAME"),
        ("CartPole-v1", "unknown environment 'CartPole-v1'.*known:.*gym:NAME"),
        ("gym:", "unknown environment 'gym:'"),
        ("nowhere.py:make", "nowhere.py does not exist"),
        ("nowhere.py", "names no function; write FILE.py:FUNCTION"),
    ],
)
def test_a_name_that_is_none_says_what_would_be(name, match):
    with pytest.raises(TenfoldError, match=match):
        open_environment(name, copies=1, seed=0)


def test_a_function_that_is_not_there_or_makes_something_else_says_so(own):
    with pytest.raises(TenfoldError, match=r"function of own\.py 'walks'; did you mean walk"):
        open_environment(f"{own}:walks", copies=1, seed=0)
    with pytest.raises(TenfoldError, match=r"gives a Doors, .* take an argument copies"):
        open_environment(f"{own}:wrong", copies=1, seed=0)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("gym:CartPole-v1", "gymnasium"),
        ("pettingzoo:anything", "pettingzoo"),
        ("mpe2:simple_spread_v3", "mpe2"),
        ("lbforaging:Foraging-8x8-2p-3f-v3", "lbforaging"),
        ("rware:rware-tiny-2ag-v2", "rware"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TenfoldError, match=rf"{name} needs .*'{package}'.*tenfold\[rl\]"):
        open_environment(name, copies=1, seed=0)


@pytest.fixture
def library(monkeypatch):
    """Return a function that puts a module of these contents in a library's place."""

    def place(name, **contents):
        module = types.ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)

    return place


def test_functions_of_other_modules_make_environments(library):
    library("pettingzoo")
    library("relays", parallel_env=Relay, other=lambda late: Relay(late=late))
    batch = open_environment("pettingzoo:relays", copies=2, seed=1)
    assert batch.spec.agents == ("red", "blue")
    open_environment("pettingzoo:relays:other", copies=1, seed=1, options={"late": 3})
    with pytest.raises(TenfoldError, match="unknown function of relays 'others'; did you mean"):
        open_environment("pettingzoo:relays:others", copies=1, seed=1)
    with pytest.raises(TenfoldError, match="needs the module 'relays_v7', which is not there"):
        open_environment("pettingzoo:relays_v7", copies=1, seed=1)


def test_environments_of_mpe2_are_found_by_their_names(library, tmp_path):
    (tmp_path / "relay_v3.py").touch()
    library("mpe2", __path__=[str(tmp_path)])
    library("mpe2.relay_v3", parallel_env=Relay)
    assert open_environment("mpe2:relay_v3", copies=1, seed=1).spec.agents == ("red", "blue")
    with pytest.raises(TenfoldError, match="unknown environment of mpe2 'relay_v4'; did you mean"):
        open_environment("mpe2:relay_v4", copies=1, seed=1)


def test_what_gymnasium_cannot_make_is_told(library):
    class Unknown(Exception):
        pass

    def make(identity, *, disable_env_checker, masks=False):
        assert disable_env_checker
        if identity != "Walk-v0":
            raise Unknown(f"no {identity}")
        return Walk(masks=masks)

    library("gymnasium", make=make, error=types.SimpleNamespace(Error=Unknown))
    batch = open_environment("gym:Walk-v0", copies=1, seed=1, options={"masks": True})
    batch.reset()
    assert batch.legal() is not None
    with pytest.raises(TenfoldError, match=r"cannot make 'Run-v0': no Run-v0; .*gym:PACKAGE:ID"):
        open_environment("gym:Run-v0", copies=1, seed=1)


# The libraries themselves


def exercise(batch, steps=60):
    """Run a batch, restore it and run on; return what it looks like."""
    shown = run(batch, steps)
    assert np.isfinite(shown).all()
    return batch.spec


@pytest.mark.filterwarnings("ignore")
def test_an_environment_of_gymnasium_works():
    gymnasium = pytest.importorskip("gymnasium")
    batch = open_environment("gym:CartPole-v1", copies=2, seed=3)
    spec = exercise(batch)
    assert (spec.actions, spec.shape, spec.dtype) == ((2,), (4,), "float32")
    other = open_environment("gym:CartPole-v1", copies=2, seed=3)
    other.restore(batch.state())
    with pytest.raises(TenfoldError, match=r"gymnasium\.make cannot make 'NoSuch-v0'"):
        open_environment("gym:NoSuch-v0", copies=1, seed=0)
    with pytest.raises(TenfoldError, match="continuous"):
        open_environment("gym:Pendulum-v1", copies=1, seed=0)
    assert gymnasium.make("CartPole-v1").action_space.n == 2


@pytest.mark.filterwarnings("ignore")
def test_an_environment_of_mpe2_works():
    pytest.importorskip("mpe2")
    batch = open_environment("mpe2:simple_spread_v3", copies=2, seed=3, options={"max_cycles": 8})
    spec = exercise(batch)
    assert (len(spec.agents), spec.actions[0]) == (3, 5)
    other = open_environment("mpe2:simple_spread_v3", copies=2, seed=3, options={"max_cycles": 8})
    other.restore(batch.state())
    with pytest.raises(TenfoldError, match="unknown environment of mpe2 'simple_spred_v3'; did"):
        open_environment("mpe2:simple_spred_v3", copies=1, seed=0)


@pytest.mark.filterwarnings("ignore")
def test_an_environment_of_pettingzoo_works():
    pytest.importorskip("pettingzoo.butterfly.cooperative_pong_v6")
    name = "pettingzoo:pettingzoo.butterfly.cooperative_pong_v6:parallel_env"
    spec = exercise(open_environment(name, copies=1, seed=3), steps=5)
    assert (len(spec.agents), spec.dtype, spec.shape[0]) == (2, "uint8", 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("package", "identity"),
    [("lbforaging", "Foraging-8x8-2p-3f-v3"), ("rware", "rware-tiny-2ag-v2")],
)
def test_environments_with_tuples_of_their_own_packages_work(package, identity):
    pytest.importorskip(package)
    batch = open_environment(f"{package}:{identity}", copies=2, seed=3)
    spec = exercise(batch)
    assert len(spec.agents) == 2
    other = open_environment(f"{package}:{identity}", copies=2, seed=3)
    other.restore(batch.state())
