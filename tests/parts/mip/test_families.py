import subprocess
import sys

import numpy as np
import pytest

from tenfold.engine.errors import TenfoldError

pytest.importorskip("highspy")
pytest.importorskip("pyscipopt")

from tenfold.parts.mip import highs, scip
from tenfold.parts.mip.check import check_point
from tenfold.parts.mip.families import FAMILIES, find_family, own_family

TINY = {
    "set_cover": {"rows": 30, "columns": 50, "density": 0.1},
    "auction": {"items": 15, "bids": 40},
    "facility_location": {"customers": 8, "facilities": 5},
    "independent_set": {"nodes": 40, "attach": 3},
    "generalized_assignment": {"agents": 3, "jobs": 10},
    "item_placement": {"items": 7, "bins": 2, "resources": 2},
    "corridor": {"side": 4},
    "verification": {"width": 8},
    "unit_commitment": {"units": 4, "hours": 6},
}
SIZES = ["small", "mid", "hard"]


def needs_digits(name):
    if name == "verification":
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")


# Families


@pytest.mark.parametrize("name", TINY)
def test_both_solvers_find_the_same_best_value_of_a_tiny_instance(name):
    needs_digits(name)
    for seed in range(2):
        mip = FAMILIES[name].make(seed, **TINY[name])
        told = [solver.solve(mip) for solver in (scip, highs)]
        for solved in told:
            assert solved.status == "optimal"
            assert check_point(mip, solved.x).feasible
        assert told[0].objective == pytest.approx(told[1].objective, rel=2e-4, abs=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_a_seed_and_numbers_name_one_instance(name):
    needs_digits(name)
    family = FAMILIES[name]
    one, again, other = (family.make(seed, **TINY[name]) for seed in (3, 3, 4))
    assert one.digest() == again.digest() != other.digest()
    assert one.name == again.name != other.name


@pytest.mark.parametrize("name", TINY)
def test_an_instance_comes_back_from_a_file(name, tmp_path):
    needs_digits(name)
    mip = FAMILIES[name].make(0, **TINY[name])
    scip.write(mip, tmp_path / "i.mps")
    back = scip.read(tmp_path / "i.mps")
    if name == "unit_commitment":  # SCIP writes 15 digits
        assert back.columns == mip.columns
        assert np.abs(back.matrix - mip.matrix).max() < 1e-11
        assert back.right == pytest.approx(mip.right, rel=1e-14)
    else:
        assert back.digest() == mip.digest()


def test_there_are_nine_families_with_three_sizes_each():
    assert set(FAMILIES) == set(TINY)
    for name, family in FAMILIES.items():
        assert family.name == name
        assert list(family.sizes)[:3] == SIZES
        assert len({tuple(numbers) for numbers in family.sizes.values()}) == 1
        assert family.sentence


def test_sizes_of_the_claims_are_what_their_names_say():
    sizes = {
        (name, size): numbers
        for name, family in FAMILIES.items()
        for size, numbers in family.sizes.items()
        if size not in SIZES
    }
    assert {key: tuple(numbers.values())[:2] for key, numbers in sizes.items()} == {
        ("set_cover", "300x600"): (300, 600),
        ("set_cover", "500x1000"): (500, 1000),
        ("facility_location", "60x60"): (60, 60),
        ("facility_location", "100x100"): (100, 100),
        ("unit_commitment", "50x24"): (50, 24),
        ("unit_commitment", "100x48"): (100, 48),
        ("unit_commitment", "200x48"): (200, 48),
    }


@pytest.mark.parametrize("name", TINY)
def test_hard_instances_are_larger_than_small_ones_and_fit_a_laptop(name):
    needs_digits(name)
    small, hard = (FAMILIES[name].make(0, size).counts() for size in ("small", "hard"))
    assert small["binary"] < hard["binary"]
    assert hard["entries"] < 1_000_000


def test_a_fleet_is_new_in_every_instance():
    one, other = (FAMILIES["unit_commitment"].make(seed, units=20, hours=4) for seed in (0, 1))
    assert not np.intersect1d(one.cost[one.binary], other.cost[other.binary]).any()


def test_names_tell_size_own_numbers_and_seed():
    family = FAMILIES["unit_commitment"]
    assert family.instance_name(7) == "unit_commitment-small-7"
    assert family.instance_name(7, "50x24") == "unit_commitment-50x24-7"
    assert family.make(7, "mid", units=3, hours=4).name == "unit_commitment-mid-units3-hours4-7"


def test_own_numbers_replace_those_of_a_size():
    told = FAMILIES["set_cover"].numbers("mid", density=1, rows=9)
    assert told == FAMILIES["set_cover"].sizes["mid"] | {"rows": 9, "density": 1.0}
    assert type(told["density"]) is float


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: FAMILIES["corridor"].make(0, "smal"), "unknown size of corridor 'smal'.*small"),
        (lambda: FAMILIES["corridor"].make(0, sides=3), "unknown number of corridor.*side"),
        (lambda: FAMILIES["corridor"].make(0, side=3.5), "side is 3.5; give a whole number"),
        (lambda: FAMILIES["corridor"].make(0, side=True), "side is True; give a whole number"),
        (lambda: FAMILIES["corridor"].make(0, budget="b"), "budget is 'b'; give a number"),
        (lambda: find_family("corridors"), "unknown family 'corridors'; did you mean corridor"),
    ],
)
def test_faults_are_told_with_the_remedy(ask, told):
    with pytest.raises(TenfoldError, match=told):
        ask()


# A user's own

MIP = """
import numpy as np
from scipy import sparse
from tenfold.parts.mip.instance import Kind, from_rows

def make(seed, items=6, tight=0.5, kind="whole"):
    '''Pack a knapsack.

    More words.
    '''
    draw = np.random.default_rng(seed)
    size = draw.integers(1, 9, items).astype(float)
    return from_rows(name="k", sense="maximize", cost=draw.random(items),
        matrix=sparse.csr_array(size[None]), left=np.array([-np.inf]),
        right=np.array([tight * size.sum()]), upper=1.0, kinds=Kind.INTEGER)
"""
MODEL = """
import numpy as np
import pyscipopt
import weights

def make(seed):
    model = pyscipopt.Model()
    columns = [model.addVar(vtype="B", obj=-w) for w in weights.draw(seed)]
    model.addCons(pyscipopt.quicksum(columns) <= 2)
    return model
"""


def write(tmp_path, text, name="mine.py"):
    (tmp_path / name).write_text(text)
    return f"{tmp_path / name}:make"


def test_a_function_that_returns_an_instance_is_a_family(tmp_path):
    family = find_family(write(tmp_path, MIP))
    assert (family.name, family.sentence) == ("mine.make", "Pack a knapsack.")
    assert family.numbers() == {"items": 6, "tight": 0.5, "kind": "whole"}
    mip = family.make(5, items=8)
    assert mip.name == "mine.make-own-items8-5"
    assert mip.counts()["binary"] == 8
    size = mip.matrix.toarray()[0]
    assert mip.right == pytest.approx(0.5 * size.sum())


def test_a_function_that_returns_a_model_is_a_family_and_may_import_its_neighbours(tmp_path):
    (tmp_path / "weights.py").write_text(
        "import numpy as np\ndef draw(seed): return np.random.default_rng(seed).random(5)\n"
    )
    before = list(sys.path)
    try:
        family = own_family(write(tmp_path, MODEL, "modelled.py"))
    finally:
        sys.modules.pop("weights", None)
    assert sys.path == before
    mip = family.make(1)
    best = np.sort(np.random.default_rng(1).random(5))[-2:].sum()
    assert -highs.solve(mip).objective == pytest.approx(best)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "unknown function of mine.py 'make'"),
        ("1 / 0", "mine.py raised ZeroDivisionError"),
        ("make = 3", "unknown function of mine.py 'make'"),
        ("def made(seed): ...", "did you mean made"),
        ("def make(): ...", "takes no seed; write it as make"),
        ("def make(*, seed): ...", "takes no seed"),
        ("def make(seed, items): ...", "takes 'items' besides the seed; give it a number"),
        ("def make(seed, size=1): ...", "takes 'size', which names a size here; rename it"),
        ("def make(seed, sizes=(1, 2)): ...", "takes 'sizes' besides the seed"),
        ("def make(seed): return 3", "returned int; return a tenfold.parts.mip.instance.Mip or"),
        (MIP.replace("default_rng(seed)", "default_rng()"), "another instance each time for seed"),
        (MIP.replace("default_rng(seed)", "default_rng(0)"), "one instance for seeds 0 and 1"),
    ],
)
def test_faults_of_a_users_file_are_told(tmp_path, text, told):
    with pytest.raises(TenfoldError, match=told):
        own_family(write(tmp_path, text))


def test_a_missing_file_and_a_missing_function_are_told(tmp_path):
    with pytest.raises(TenfoldError, match="does not exist; name a Python file of yours"):
        own_family(str(tmp_path / "none.py:make"))
    with pytest.raises(TenfoldError, match=r"names no function; write FILE\.py:FUNCTION"):
        own_family("mine.py")


def test_families_are_found_without_loading_torch():
    code = (
        "import sys, tenfold.parts.mip.families, tenfold.parts.mip.instances\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
