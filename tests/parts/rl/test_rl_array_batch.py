import numpy as np
import pytest

from parts.rl.tiny_worlds import Doors, TeamDoors
from tenfold.engine.errors import TenfoldError
from tenfold.parts.rl.adapters.array_batch import ArrayBatch


def test_a_batch_of_arrays_for_one_agent_needs_no_axis_for_agents():
    batch = ArrayBatch(Doors(), name="doors")
    assert (batch.spec.copies, batch.spec.actions, batch.spec.shape) == (3, (2,), (2,))
    assert batch.reset().tolist() == [[[0, 0]]] * 3
    for _ in range(3):
        step = batch.step(np.array([[1], [0], [1]]))
    assert step.observation.dtype == np.float32
    assert step.observation.tolist() == [[[3, -3]]] * 3
    assert step.reward.tolist() == [[2], [0], [2]]
    assert step.terminated.tolist() == [True, False, True]
    assert step.truncated.tolist() == [False, True, False]
    assert step.alive.all()
    assert batch.reset(step.truncated)[:, 0, 0].tolist() == [3, 0, 3]


def test_a_batch_of_arrays_tells_all_that_its_object_tells():
    batch = ArrayBatch(TeamDoors(), name="doors")
    spec = batch.spec
    assert (spec.agents, spec.actions) == (("left", "right"), (2, 3))
    assert (spec.events, spec.action_names) == (("knock",), ("wait", "knock", "sing"))
    assert (spec.dtype, spec.shape, spec.repeatable) == ("uint8", (1,), False)
    batch.reset()
    assert batch.legal()[0, 1].tolist() == [True, False, False]
    step = batch.step(np.array([[1, 2], [0, 1]]))
    assert step.observation.tolist() == [[[1], [1]]] * 2
    assert step.alive.tolist() == [[True, False], [True, True]]
    assert step.events.tolist() == [[[1], [0]], [[0], [1]]]
    assert step.legal[0, 1].tolist() == [True, True, False]


def test_a_batch_of_arrays_goes_back_to_a_state():
    batch = ArrayBatch(Doors(), name="doors")
    batch.reset()
    batch.step(np.ones((3, 1), dtype=int))
    state = batch.state()
    batch.step(np.ones((3, 1), dtype=int))
    batch.restore(state)
    assert batch.step(np.ones((3, 1), dtype=int)).observation[0, 0].tolist() == [2, -2]


def changed(**given):
    return type("Changed", (Doors,), given)()


def shows(*values):
    return lambda *_: tuple(values)


OBSERVED, PAID, NEVER = np.zeros((3, 2)), np.zeros(3), np.zeros(3, dtype=bool)


@pytest.mark.parametrize(
    ("user", "match"),
    [
        (object(), "has no copies and no actions and no reset and no step; a batch of arrays"),
        (changed(reset=lambda *_: np.zeros((4, 2))), r"observations of doors have .*\(4, 2\)"),
        (changed(agents=4), r"observations .* \(3, 4\): 3 copies of 4 agents"),
        (changed(actions=[2, 2]), "numbers of actions for 2 agents and has 1"),
        (changed(step=shows(OBSERVED, PAID, NEVER)), "step of doors returns 3 values"),
        (changed(step=lambda *_: None), "step of doors returns NoneType"),
        (changed(step=shows(OBSERVED, PAID, NEVER, NEVER, {"lives": 1})), "tells 'lives', .*known"),
        (changed(step=shows(OBSERVED, PAID[:2], NEVER, NEVER)), r"rewards .*\(2,\), expected \(3"),
        (changed(step=shows(OBSERVED, PAID, NEVER[:1], NEVER)), r"terminated .*\(1,\)"),
        (changed(step=shows(OBSERVED[:, :1], PAID, NEVER, NEVER)), r"observations .*\(3, 1, 1\)"),
        (changed(legal=lambda *_: np.ones((3, 5))), r"legal of doors have shape \(3, 1, 5\)"),
    ],
    ids=[
        "bare",
        "reset",
        "agents",
        "actions",
        "short",
        "none",
        "more",
        "paid",
        "over",
        "seen",
        "legal",
    ],
)
def test_a_batch_of_arrays_that_cannot_be_used_says_why(user, match):
    with pytest.raises(TenfoldError, match=match):
        ArrayBatch(user, name="doors").step(np.zeros((3, 1), dtype=int))


def test_a_batch_of_arrays_without_a_state_cannot_be_restored():
    batch = ArrayBatch(TeamDoors(), name="doors")
    assert batch.state() == {}
    with pytest.raises(TenfoldError, match="doors cannot be restored: it has no state"):
        batch.restore({})
