import dataclasses

import numpy as np
import pytest

from parts.mip.examples import knapsack, random_mip
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.features import COLUMN_FEATURES, EPSILON, ROW_FEATURES, encode
from tenfold.parts.mip.generate.assigning import facility_location
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.instance import Kind
from tenfold.parts.mip.lp_state import LpState, from_relaxed, read_state, read_state_slowly

pyscipopt = pytest.importorskip("pyscipopt")

from tenfold.parts.mip import scip  # noqa: E402


class Look(pyscipopt.Branchrule):
    """Calls a function at every node that is to be branched on, and leaves branching to SCIP."""

    def __init__(self, see, most):
        self.see, self.left = see, most
        self.faults = []

    def branchexeclp(self, allowaddcons):  # noqa: ARG002
        if self.left > 0:
            self.left -= 1
            try:
                self.see(self.model)
            except BaseException as fault:
                # SCIP would go on as if nothing had happened.
                self.faults.append(fault)
                self.model.interruptSolve()
        return {"result": pyscipopt.SCIP_RESULT.DIDNOTRUN}


def look(mip, see, *, most=6, **settings):
    """Solve an instance and call `see(model)` at its first nodes."""
    model = scip.build(mip)
    rule = Look(see, most)
    model.includeBranchrule(rule, "look", "", 1_000_000, -1, 1.0)
    model.setParams({"limits/nodes": most + 2, "presolving/maxrounds": 0, **settings})
    model.setHeuristics(pyscipopt.SCIP_PARAMSETTING.FAST)
    model.optimize()
    model.freeProb()
    if rule.faults:
        raise rule.faults[0]
    assert rule.left < most


INSTANCES = {
    "set cover": set_cover(rows=300, columns=600, density=0.05, seed=0),
    "facility": facility_location(customers=25, facilities=20, seed=1),
    "random": random_mip(8, rows=14, whole=20, loose=6, sense="maximize"),
}

SETTINGS = {
    "set cover": {"separating/maxroundsroot": 0, "separating/maxrounds": 0},
    "facility": {},
    "random": {},
}


@pytest.mark.parametrize("name", INSTANCES)
def test_pointers_read_what_columns_and_rows_say(name):
    seen = []

    def compare(model):
        fast, slow = read_state(model), read_state_slowly(model)
        for field in dataclasses.fields(LpState):
            one, two = getattr(fast, field.name), getattr(slow, field.name)
            assert np.array_equal(one, two, equal_nan=True), field.name
        seen.append(fast)

    look(INSTANCES[name], compare, **SETTINGS[name])
    # Columns are at their bounds and basic; there are cuts; a point is known or not.
    assert all(len(np.unique(state.basis)) > 1 for state in seen)
    assert name != "facility" or any(state.shape[0] > INSTANCES[name].shape[0] for state in seen)
    assert name == "random" or any(np.isfinite(state.incumbent).all() for state in seen)


@pytest.mark.parametrize("name", INSTANCES)
def test_a_state_keeps_the_laws_of_an_optimal_basis(name):
    def check(model):
        state = read_state(model)
        table = as_table(state)
        assert state.activity == pytest.approx(table @ state.value, abs=1e-6)
        assert state.reduced == pytest.approx(state.cost - table.T @ state.dual, abs=1e-6)
        assert np.abs(state.reduced[state.basis == 1]).max(initial=0.0) < 1e-6
        free = state.lower < state.upper
        assert (state.reduced[free & (state.basis == 0)] > -1e-6).all()
        assert (state.reduced[free & (state.basis == 2)] < 1e-6).all()
        assert (
            model.getLPObjVal()
            == pytest.approx(state.cost @ state.value + model.getObjoffset(original=False))
            or name == "random"
        )

    look(INSTANCES[name], check, **SETTINGS[name])


def as_table(state):
    table = np.zeros(state.shape)
    for i in range(len(state.left)):
        span = slice(state.starts[i], state.starts[i + 1])
        table[i, state.columns[span]] += state.entries[span]
    return table


def encode_slowly(state):
    """Write the definitions down once more, for one column and one row at a time."""
    norm = np.linalg.norm(state.cost)
    columns = []
    for j in range(len(state.cost)):
        value, low, high = state.value[j], state.lower[j], state.upper[j]
        part = value - np.floor(value)
        told = [state.kinds[j] == kind for kind in Kind]
        told += [state.cost[j] / norm, np.isfinite(low), np.isfinite(high)]
        told += [abs(value - low) <= EPSILON, abs(high - value) <= EPSILON]
        whole = state.kinds[j] != Kind.CONTINUOUS
        told += [part if whole and part <= 1 - EPSILON else 0.0]
        told += [state.basis[j] == place for place in range(4)]
        told += [state.reduced[j] / norm, state.column_age[j] / (state.lps + 5), value]
        told += [np.nan_to_num(state.incumbent[j]), np.nan_to_num(state.average[j])]
        columns.append(told)
    table, rows, edges = as_table(state), [], {}
    for i in range(len(state.left)):
        size = np.linalg.norm(table[i])
        for sign, side in ((1, state.right[i]), (-1, state.left[i])):
            if not np.isfinite(side):
                continue
            for j in np.flatnonzero(table[i]):
                edges[len(rows), j] = sign * table[i, j] / size
            rows.append([
                sign * table[i] @ state.cost / size / norm,
                sign * side / size,
                abs(side - state.activity[i]) <= EPSILON * max(1, abs(side)),
                state.row_age[i] / (state.lps + 5),
                sign * state.dual[i] / size / norm,
            ])  # fmt: skip
    return np.array(columns, dtype=float), np.array(rows, dtype=float), edges


@pytest.mark.parametrize("name", INSTANCES)
def test_features_are_what_their_names_say(name):
    def check(model):
        compare(read_state(model))

    look(INSTANCES[name], check, most=3, **SETTINGS[name])


def compare(state):
    found = encode(state)
    columns, rows, edges = encode_slowly(state)
    assert found.columns.shape == (len(columns), len(COLUMN_FEATURES))
    assert found.rows.shape == (len(rows), len(ROW_FEATURES))
    assert found.columns == pytest.approx(columns, rel=1e-5, abs=1e-6)
    assert found.rows == pytest.approx(rows, rel=1e-5, abs=1e-6)
    pairs = zip(found.edge_rows.tolist(), found.edge_columns.tolist(), strict=True)
    told = dict(zip(pairs, found.edges.tolist(), strict=True))
    assert told == pytest.approx(edges, rel=1e-5)
    assert found.columns.dtype == found.rows.dtype == found.edges.dtype == np.float32
    assert np.isfinite(found.columns).all()
    assert np.isfinite(found.rows).all()


@pytest.mark.parametrize("sense", ["minimize", "maximize"])
def test_a_relaxation_solved_outside_gives_the_same_kind_of_graph(sense):
    mip = random_mip(2, rows=6, whole=5, loose=3, sense=sense)
    relaxed = scip.relax(mip)
    state = from_relaxed(mip, relaxed)
    compare(state)
    table = as_table(state)
    assert state.reduced == pytest.approx(state.cost - table.T @ state.dual, abs=1e-9)
    assert (state.reduced[state.basis == 0] > -1e-9).all()
    points = (np.zeros(8), np.ones(8))
    with_points = encode(from_relaxed(mip, relaxed, points))
    assert (with_points.columns[:, COLUMN_FEATURES.index("value in best point")] == 1).all()
    assert (with_points.columns[:, COLUMN_FEATURES.index("mean value in points")] == 0.5).all()


def test_turning_the_sense_turns_nothing_that_is_seen():
    one, two = knapsack("maximize"), knapsack("minimize")
    graphs = [encode(from_relaxed(mip, scip.relax(mip))) for mip in (one, two)]
    assert np.array_equal(graphs[0].columns, graphs[1].columns)
    assert np.array_equal(graphs[0].rows, graphs[1].rows)


def test_an_lp_without_a_best_point_teaches_nothing():
    mip = dataclasses.replace(knapsack(), right=np.full(3, -1.0))
    with pytest.raises(TenfoldError, match="relaxation of knapsack is infeasible"):
        from_relaxed(mip, scip.relax(mip))
