import dataclasses

import numpy as np
import pytest

from parts.mip.examples import random_mip
from parts.mip.test_features import Look
from tenfold.parts.mip import scip_library
from tenfold.parts.mip.features import COLUMN_FEATURES, Encoded, encode
from tenfold.parts.mip.generate.assigning import facility_location
from tenfold.parts.mip.generate.graphs import set_cover
from tenfold.parts.mip.lp_state import read_state, read_state_slowly
from tenfold.parts.mip.node_reader import NodeReader

pyscipopt = pytest.importorskip("pyscipopt")

from tenfold.parts.mip import scip  # noqa: E402

NO_CUTS = {"separating/maxroundsroot": 0, "separating/maxrounds": 0}
FEW_CUTS = {"separating/maxroundsroot": 2, "separating/maxrounds": 1}
# Cuts at every node, which go again with the rows that are not tight.
ALWAYS_CUTS = {"separating/gomory/freq": 1, "separating/cutagelimit": 0, "lp/rowagelimit": 1}
INSTANCES = {
    "set cover": (set_cover(rows=150, columns=300, density=0.05, seed=0), NO_CUTS),
    "facility": (facility_location(customers=20, facilities=15, seed=1), FEW_CUTS),
    "two-sided": (random_mip(8, rows=14, whole=20, loose=6, sense="maximize"), ALWAYS_CUTS),
    "minimise": (random_mip(9, rows=14, whole=20, loose=6), NO_CUTS),
}


def look(mip, see, *, most=12, **settings):
    """Solve an instance and call `see(model)` at its first nodes."""
    model = scip.build(mip)
    rule = Look(see, most)
    model.includeBranchrule(rule, "look", "", 1_000_000, -1, 1.0)
    model.setParams({"limits/nodes": 4 * most, "presolving/maxrounds": 0, **settings})
    model.setHeuristics(pyscipopt.SCIP_PARAMSETTING.OFF)
    model.optimize()
    model.freeProb()
    if rule.faults:
        raise rule.faults[0]
    assert rule.left < most


def assert_same(one, two):
    for field in dataclasses.fields(Encoded):
        first, second = getattr(one, field.name), getattr(two, field.name)
        assert first.dtype == second.dtype, field.name
        assert np.array_equal(first, second), field.name


@pytest.mark.parametrize("name", INSTANCES)
def test_a_reader_tells_at_every_node_what_columns_and_rows_say(name):
    mip, settings = INSTANCES[name]
    readers, seen = [], []

    def compare(model):
        readers.extend([] if readers else [NodeReader(model)])
        graph = readers[0].read()
        assert_same(graph, encode(read_state(model)))
        assert_same(graph, encode(read_state_slowly(model)))
        counts = np.bincount(graph.edge_rows, minlength=len(graph.rows))
        assert np.array_equal(np.diff(readers[0].starts), counts)
        assert readers[0].starts[0] == 0
        seen.append((readers[0].version, len(graph.rows), graph.columns.copy()))

    look(mip, compare, **settings)
    versions, rows, columns = zip(*seen, strict=True)
    # What there was to see: rows that come and go, or the same ones throughout.
    assert (len(set(versions)) > 1) == (name != "set cover")
    assert (len(set(rows)) > 1) == (name != "set cover")
    assert len({array.tobytes() for array in columns}) == len(columns)


def test_while_the_version_stays_the_same_so_do_the_edges():
    mip, settings = INSTANCES["two-sided"]
    readers, seen = [], []

    def note(model):
        readers.extend([] if readers else [NodeReader(model)])
        graph = readers[0].read()
        parts = (graph.edge_rows, graph.edge_columns, graph.edges, graph.places)
        seen.append((readers[0].version, b"".join(part.tobytes() for part in parts)))

    look(mip, note, most=40, **settings)
    assert len({whole for _, whole in seen}) > 1
    assert len(set(seen)) == len(dict(seen))


def test_new_points_and_clipped_averages_are_noticed():
    mip = set_cover(rows=300, columns=600, density=0.05, seed=0)
    readers, averages = [], []

    def compare(model):
        readers.extend([] if readers else [NodeReader(model)])
        graph = readers[0].read()
        assert_same(graph, encode(read_state(model)))
        averages.append(graph.columns[:, COLUMN_FEATURES.index("mean value in points")].copy())
        # Another point between any two nodes: all columns but one cover everything.
        point = model.createSol()
        for j, column in enumerate(model.getVars(transformed=True)):
            model.setSolVal(point, column, float(j != len(averages)))
        model.trySol(point)

    look(mip, compare, **NO_CUTS)
    assert len({average.tobytes() for average in averages}) > 2


def test_columns_to_branch_on_are_those_that_scip_lists():
    def compare(model):
        reader = NodeReader(model)
        graph = reader.read()
        variables, _, fractions, priority, *_ = model.getLPBranchCands()
        places = reader.candidates()
        assert places.tolist() == [v.getCol().getLPPos() for v in variables[:priority]]
        told = graph.columns[places, COLUMN_FEATURES.index("fractionality")]
        assert told == pytest.approx(fractions[:priority], abs=1e-5)
        names = {v.name: place for place, v in enumerate(model.getVars(transformed=True))}
        assert graph.places[places].tolist() == [names[v.name] for v in variables[:priority]]

    for mip, settings in INSTANCES.values():
        look(mip, compare, most=3, **settings)


def test_without_pointers_the_same_is_read_through_objects(monkeypatch):
    mip, settings = INSTANCES["two-sided"]

    def compare(model):
        fast = NodeReader(model)
        monkeypatch.setattr(scip_library, "find_obstacle", lambda: "none")
        slow = NodeReader(model)
        assert_same(fast.read(), slow.read())
        assert np.array_equal(fast.starts, slow.starts)
        assert np.array_equal(fast.candidates(), slow.candidates())
        before = slow.version
        slow.read()
        assert slow.version > before
        monkeypatch.undo()

    look(mip, compare, most=3, **settings)


def test_a_second_search_of_a_changed_model_is_read_anew():
    """A persistent model is changed and solved again; SCIP may use its memory again."""
    mip = random_mip(9, rows=14, whole=20, loose=6)
    model = scip.build(mip)
    readers, seen = [], []

    def compare(model):
        readers.extend([] if readers else [NodeReader(model)])
        if model.getNTotalNodes() == 1:
            readers[0].forget()
        graph = readers[0].read()
        assert_same(graph, encode(read_state(model)))
        seen.append(graph.columns[:, COLUMN_FEATURES.index("cost over its norm")].tobytes())

    rule = Look(compare, 30)
    model.includeBranchrule(rule, "look", "", 1_000_000, -1, 1.0)
    model.setParams({"presolving/maxrounds": 0, "limits/nodes": 10, **NO_CUTS})
    model.setHeuristics(pyscipopt.SCIP_PARAMSETTING.OFF)
    for turn in range(3):
        model.freeTransform()
        costs = zip(mip.cost + turn, model.getVars(), strict=True)
        model.setObjective(pyscipopt.quicksum(cost * column for cost, column in costs))
        model.optimize()
    model.freeProb()
    assert not rule.faults, rule.faults[0]
    assert len(set(seen)) == 3
