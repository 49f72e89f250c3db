import pytest
import torch

from tenfold.engine.kernel import find_obstacle
from tenfold.parts.nn.recurrent import LstmState
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.learner import Block, Learner
from tenfold.rooms.vdn.method import Paid, returns_of, team_loss
from tenfold.rooms.vdn.model import Teams, structure_of

INPUTS, ACTIONS, STEPS, ROWS, AGENTS = 5, 3, 4, 6, 2


def learner_of(names, seeds=None, actions=(), dueling=True, agents=AGENTS, **told):
    archs = [arch_of(name) for name in names]
    cfg = Learning(units=4, batch=ROWS, capacity=64, warm_up=8, **told)
    structure = structure_of(
        archs[0], agents=agents, inputs=INPUTS, actions=ACTIONS, units=4, dueling=dueling
    )
    seeds = seeds or list(range(len(names)))
    return Learner(Teams.of(structure, archs), cfg, seeds=seeds, actions=actions)


def block(teams, seed=0, **told):
    generator = torch.Generator().manual_seed(seed)
    count, lanes, agents = teams.count, teams.structure.lanes, teams.structure.agents

    def draw(*size):
        return torch.rand(*size, generator=generator)

    never = torch.zeros(count, STEPS, ROWS, dtype=torch.bool)
    paid = Paid(draw(count, STEPS, ROWS), never, never, torch.ones(count, STEPS, ROWS))
    state = LstmState(draw(count * lanes, ROWS, 4), draw(count * lanes, ROWS, 4))
    actions = torch.randint(0, ACTIONS, (count, STEPS, ROWS, agents), generator=generator)
    whole = Block(draw(count, agents, STEPS + 1, ROWS, INPUTS), actions, paid, None, None, None,
                  state)  # fmt: skip
    return whole._replace(**told)


def part(whole, team, lanes):
    """Return the block of one team of a stack."""
    own = slice(team, team + 1)
    state = LstmState(*(x[team * lanes : (team + 1) * lanes] for x in whole.state))
    return whole._replace(
        observation=whole.observation[own],
        action=whole.action[own],
        paid=Paid(*(x[own] for x in whole.paid)),
        state=state,
    )


@pytest.mark.parametrize("double", [False, True])
def test_a_team_learns_the_same_alone_and_in_a_stack(double):
    names = ["ind", "v", "v.s", "v.s.id"]
    together = learner_of(names, copy_every=5, double=double)
    alone = [learner_of([n], [k], copy_every=5, double=double) for k, n in enumerate(names)]
    for update in range(50):
        whole = block(together.teams, update)
        together.update(whole)
        for team, one in enumerate(alone):
            one.update(part(whole, team, AGENTS))
    views = together.lanes()
    for team, one in enumerate(alone):
        for name, array in one.lanes().items():
            mine = views[name][team * AGENTS : (team + 1) * AGENTS]
            torch.testing.assert_close(mine, array, rtol=1e-5, atol=1e-5)


def rich_block(teams, seed):
    """Windows with ends, cuts, beginnings, dead agents and actions that are not allowed."""
    generator = torch.Generator().manual_seed(seed)
    count, agents = teams.count, teams.structure.agents

    def often(share, *size):
        return torch.rand(*size, generator=generator) < share

    size = (count, STEPS, ROWS)
    legal = often(0.6, count, STEPS + 1, ROWS, agents, ACTIONS)
    legal[:, 2, 0] = False
    paid = Paid(
        torch.randn(size, generator=generator),
        often(0.2, *size),
        often(0.3, *size),
        (~often(0.1, *size)).float(),
    )
    keep = (~often(0.2, count, STEPS + 1, ROWS)).float()
    alive = (~often(0.2, count, STEPS + 1, ROWS, agents)).float()
    return block(teams, seed, paid=paid, keep=keep, legal=legal, alive=alive)


@pytest.mark.skipif(bool(find_obstacle()), reason="numba is not installed")
@pytest.mark.parametrize("made", [block, rich_block], ids=["plain windows", "rich windows"])
@pytest.mark.parametrize("double", [False, True], ids=["", "double"])
@pytest.mark.parametrize("dueling", [False, True], ids=["", "dueling"])
@pytest.mark.parametrize("agents", [1, 2, 3])
@pytest.mark.parametrize(
    "names",
    [
        "ind v v.s v.s.id",
        "v.c v.c",
        "c c",
        "v.l ind.l",
        "v.s.id.h v.h",
        "v.s.id.l.h v.l.h",
        "q q.s.id",
        "q.s.id.l.h q.l.h",
    ],
)
def test_the_compiled_update_is_the_one_by_layers(names, agents, dueling, double, made):
    told = {"agents": agents, "dueling": dueling, "double": double, "copy_every": 3}
    fast, plain = (learner_of(names.split(), **told) for _ in range(2))
    assert fast._in_cache is not None
    plain._in_cache = None
    for update in range(5):
        windows = made(fast.teams, update)
        found, wanted = fast.update(windows), plain.update(windows)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        for name, array in plain.adam.gradients.items():
            torch.testing.assert_close(
                fast.adam.gradients[name], array, rtol=1e-4, atol=1e-6, msg=name
            )
        for name, array in plain.mixing_adam.gradients.items():
            found = fast.mixing_adam.gradients[name]
            torch.testing.assert_close(found, array, rtol=1e-4, atol=1e-6, msg=name)
    torch.testing.assert_close(fast.weights, plain.weights, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fast.mixing, plain.mixing, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(bool(find_obstacle()), reason="numba is not installed")
@pytest.mark.parametrize("names", ["ind v.s.id", "v.c", "c"])
def test_the_compiled_update_knows_what_each_agent_can_do(names):
    fast, plain = (learner_of(names.split(), actions=[2, 3]) for _ in range(2))
    plain._in_cache = None
    for update in range(3):
        windows = block(fast.teams, update)
        windows.action[..., 0].clamp_(max=1)
        fast.update(windows), plain.update(windows)
    torch.testing.assert_close(fast.weights, plain.weights, rtol=1e-4, atol=1e-5)


def test_a_learner_says_which_way_it_computes(monkeypatch):
    monkeypatch.setattr("tenfold.rooms.vdn.learning.find_obstacle", lambda: "numba is missing")
    monkeypatch.setattr("tenfold.rooms.vdn.learner.find_obstacle", lambda: "numba is missing")
    learner = learner_of(["v.s"])
    assert learner.way == "layer by layer: numba is missing"
    learner.update(block(learner.teams))
    monkeypatch.undo()
    assert bool(find_obstacle()) or learner_of(["v.s"]).way == "compiled loops"


@pytest.mark.parametrize("name", ["ind", "v.s.id.l.h", "v.c", "c", "q.s.id"])
def test_what_was_saved_goes_on_as_if_nothing_had_happened(name):
    whole, again = learner_of([name, name], copy_every=3), learner_of([name, name], copy_every=3)
    for update in range(4):
        whole.update(block(whole.teams, update))
    again.load_state(*whole.state())
    for update in range(4, 8):
        one, other = (
            whole.update(block(whole.teams, update)),
            again.update(block(whole.teams, update)),
        )
        assert torch.equal(one, other)
    assert torch.equal(whole.weights, again.weights)


def test_the_gradient_of_a_sum_is_one_error_for_all_agents():
    """Sheet 3.2, 4: dL / dQ_i is the same for all i, and its own for independent learners."""
    q = torch.tensor([[[[1.0, 2.0]]]], requires_grad=True)
    valid = torch.ones(1, 1, 1)
    team_loss(q.sum(dim=-1), torch.full((1, 1, 1), 5.0), valid).sum().backward()
    assert q.grad.flatten().tolist() == [-4.0, -4.0]
    q.grad = None
    team_loss(q, torch.full((1, 1, 1, 2), 5.0), valid).sum().backward()
    assert q.grad.flatten().tolist() == [-8.0, -6.0]


def test_steps_that_are_not_valid_teach_nothing():
    learner, other = learner_of(["v.s"]), learner_of(["v.s"])
    one = block(learner.teams)
    valid = one.paid.valid.clone()
    valid[:, -1] = 0
    cut = one.paid.cut.clone()
    cut[:, -2] = True
    first = one._replace(paid=one.paid._replace(valid=valid, cut=cut))
    reward = one.paid.reward.clone()
    reward[:, -1] = 99.0
    second = first._replace(paid=first.paid._replace(reward=reward))
    learner.update(first)
    other.update(second)
    assert torch.equal(learner.weights, other.weights)


def test_agents_that_are_dead_leave_the_sum():
    learner, other = learner_of(["v"]), learner_of(["v"])
    one = block(learner.teams)
    alive = torch.ones(1, STEPS + 1, ROWS, AGENTS)
    alive[..., 1] = 0
    one = one._replace(alive=alive)
    changed = one.observation.clone()
    changed[:, 1] += 1
    learner.update(one)
    other.update(one._replace(observation=changed))
    first, second = (x.lanes()["first.weight"] for x in (learner, other))
    assert torch.equal(first[0], second[0])


def test_illegal_actions_are_never_the_best_next_ones():
    learner = learner_of(["v.s"], copy_every=1)
    one = block(learner.teams)
    only = torch.zeros(1, STEPS + 1, ROWS, AGENTS, ACTIONS, dtype=torch.bool)
    only[..., 1] = True
    with torch.no_grad():
        q = learner.teams.window(
            learner.ready_frozen(), one.observation, one.state, steps=STEPS + 1
        )
        told = learner._returns(one._replace(legal=only), None, q[:, 1:])
    right = returns_of(one.paid, q[:, 1:, ..., 1].sum(dim=-1), gamma=0.99, trace=0.9)
    torch.testing.assert_close(told, right)


def test_a_team_that_diverges_stops_alone():
    learner = learner_of(["v.s", "v.s"])
    bad = block(learner.teams)
    reward = bad.paid.reward.clone()
    reward[0] = float("inf")
    before = learner.weights.clone()
    learner.update(bad._replace(paid=bad.paid._replace(reward=reward)))
    views = [learner._gather(flat)["first.weight"] for flat in (before, learner.weights)]
    assert torch.equal(views[0][0], views[1][0])
    assert not torch.equal(views[0][2], views[1][2])
    assert learner.adam.frozen.tolist() == [True, False]


def test_double_q_learning_takes_frozen_values_of_what_the_trained_network_chooses(monkeypatch):
    learner = learner_of(["v.s"], double=True, copy_every=1_000, rate=0.1)
    learner._in_cache = None
    one = block(learner.teams)
    for _ in range(3):
        learner.update(one)
    with torch.no_grad():
        trained, frozen = (
            learner.teams.window(ready, one.observation, one.state, steps=STEPS + 1)[:, 1:]
            for ready in (learner.ready(), learner.ready_frozen())
        )
    best = trained.argmax(-1, keepdim=True)
    assert not torch.equal(best, frozen.argmax(-1, keepdim=True))
    after = frozen.gather(-1, best).squeeze(-1).sum(-1)
    told = []
    asked = learner._returns
    monkeypatch.setattr(learner, "_returns", lambda *given: told.append(asked(*given)) or told[0])
    learner.update(one)
    torch.testing.assert_close(told[0], returns_of(one.paid, after, gamma=0.99, trace=0.9))
