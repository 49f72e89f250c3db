import numpy as np
import pytest
from scipy.optimize import linprog

from parts.mip.examples import random_mip
from rooms.diving.branch.nodes import small_cover
from tenfold.parts.mip import scip
from tenfold.parts.mip.lp_state import read_state
from tenfold.rooms.diving.branch import expert
from tenfold.rooms.diving.branch.rule import candidates_of

pyscipopt = pytest.importorskip("pyscipopt")


def visit(mip, see, *, most=3, **settings):
    """Call `see(model)` at the first nodes of a search that SCIP branches in."""
    model, faults, left = scip.build(mip), [], [most]

    class Visitor(pyscipopt.Branchrule):
        def branchexeclp(self, allowaddcons):  # noqa: ARG002
            if left[0] > 0 and not faults:
                left[0] -= 1
                try:
                    see(self.model)
                except BaseException as fault:
                    faults.append(fault)
            return {"result": pyscipopt.SCIP_RESULT.DIDNOTRUN}

    model.includeBranchrule(Visitor(), "visit", "", 10_000_000, -1, 1.0)
    off = {"presolving/maxrounds": 0, "separating/maxroundsroot": 0, "separating/maxrounds": 0}
    model.setParams(off | {"limits/nodes": most + 2} | settings)
    model.optimize()
    model.freeProb()
    if faults:
        raise faults[0]
    assert left[0] < most, "no node was met"


def child_value(state, place, *, up):
    """Return the value of a child's LP by another solver."""
    table = np.zeros(state.shape)
    for i in range(len(state.left)):
        span = slice(state.starts[i], state.starts[i + 1])
        table[i, state.columns[span]] = state.entries[span]
    low, high = state.lower.copy(), state.upper.copy()
    if up:
        low[place] = np.ceil(state.value[place])
    else:
        high[place] = np.floor(state.value[place])
    has_left, has_right = np.isfinite(state.left), np.isfinite(state.right)
    found = linprog(
        state.cost,
        np.concatenate([-table[has_left], table[has_right]]),
        np.concatenate([-state.left[has_left], state.right[has_right]]),
        bounds=np.stack([low, high], axis=1),
    )
    return np.inf if found.status == 2 else found.fun


@pytest.mark.parametrize("seed", [8, 15])
def test_the_exact_expert_finds_the_values_of_both_children(seed):
    mip, seen = random_mip(seed, rows=8, whole=8, loose=3), []

    def compare(model):
        state = read_state(model)
        variables = candidates_of(model)
        places = [variable.getCol().getLPPos() for variable in variables]
        before = model.getNLPIterations(), model.getLPObjVal()
        found = expert.ask_exactly(model, variables)
        assert (model.getNLPIterations(), model.getLPObjVal()) == before
        offset = found.value - float(state.cost @ state.value)
        for k, place in enumerate(places):
            for told, up in ((found.down[k], False), (found.up[k], True)):
                right = child_value(state, place, up=up) + offset
                # SCIP may end a child's LP at the cutoff.
                limit = found.value + found.room
                assert min(told, limit) == pytest.approx(min(right, limit), abs=1e-5)
        seen.append(len(places))

    visit(mip, compare)
    assert sum(seen) >= 2


def test_the_room_is_what_is_left_to_the_best_point_and_endless_without_one():
    mip, rooms = small_cover(), []

    def look(model):
        rooms.append((expert.room_of(model), model.getNSols(), model.getUpperbound()))
        if model.getNSols():
            assert rooms[-1][0] <= model.getUpperbound() - model.getLPObjVal() + 1e-6

    visit(mip, look)
    assert all(np.isfinite(room) and room >= 0 for room, count, _ in rooms if count)
    assert any(count for _, count, _ in rooms)


def test_the_batched_expert_ranks_as_the_exact_one():
    mip, quality = small_cover(), []

    def compare(model):
        variables = candidates_of(model)
        state = read_state(model)
        places = np.array([variable.getCol().getLPPos() for variable in variables])
        right = expert.ask_exactly(model, variables).scores()
        told = expert.ask_in_batch(
            state, places, room=expert.room_of(model), iterations=400
        ).scores()
        quality.append(right[np.argmax(told)] / right.max())

    visit(mip, compare)
    assert np.median(quality) > 0.9


def test_a_child_that_the_safe_bound_shuts_is_infeasible():
    mip = small_cover()

    def look(model):
        variables = candidates_of(model)
        state = read_state(model)
        places = np.array([variable.getCol().getLPPos() for variable in variables])
        found = expert.ask_in_batch(state, places, room=1e-9, iterations=200)
        # With no room at all every child that gains anything is beyond the cutoff.
        exact = expert.ask_exactly(model, variables)
        gains = np.stack([exact.down, exact.up]) - exact.value
        clear = gains > 0.5
        assert np.isinf(np.stack([found.down, found.up])[clear]).mean() > 0.5
        assert not np.isinf(np.stack([found.down, found.up])[gains < 1e-9]).any()

    visit(mip, look, most=1)
