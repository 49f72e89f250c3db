from itertools import product

import pytest
import torch

from tenfold.parts.nn.recurrent import LstmState
from tenfold.rooms.vdn.config import PAPER, Arch, arch_of
from tenfold.rooms.vdn.model import (
    Teams,
    count_weights,
    join_actions,
    mix,
    own_first,
    split_joint,
    structure_of,
)

INPUTS, ACTIONS, UNITS, STEPS, ROWS = 5, 3, 4, 6, 2


def teams_of(*names, agents=2):
    archs = [arch_of(name) for name in names]
    structure = structure_of(
        archs[0], agents=agents, inputs=INPUTS, actions=ACTIONS, units=UNITS, dueling=True
    )
    return Teams.of(structure, archs)


def seen(teams, seed=0):
    size = (teams.count, teams.structure.agents, STEPS, ROWS, INPUTS)
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


def values(teams, x, seeds=None):
    weights = teams.slots.gather(
        teams.structure.layout.views(teams.draw(seeds or [3] * teams.count))
    )
    return teams.window(teams.ready(weights), x, teams.empty_state(ROWS), steps=STEPS)


# Names


@pytest.mark.parametrize("name", [*PAPER, "ind.s", "q.s.id"])
def test_the_name_of_an_architecture_leads_back_to_it(name):
    assert arch_of(name).name == name


def test_capital_letters_and_plus_signs_are_understood():
    assert arch_of("V.+S.+Id+L") == Arch(low=True)
    assert arch_of("V.+C.").central


@pytest.mark.parametrize("name", ["", "s.id", "v.s.x", "v..9"])
def test_a_word_that_means_nothing_is_refused(name):
    with pytest.raises(ValueError, match="architecture"):
        arch_of(name)


@pytest.mark.parametrize("name", ["c.s", "v.c.id", "c.l", "q.c", "v.c.h"])
def test_flags_that_exclude_each_other_are_refused(name):
    with pytest.raises(ValueError, match=r"leave|needs"):
        arch_of(name)


# Shapes


@pytest.mark.parametrize("name", PAPER)
def test_values_have_one_entry_for_each_action_of_each_agent_or_each_joint_one(name):
    teams = teams_of(name)
    last = (1, ACTIONS**2) if name == "c" else (2, ACTIONS)
    assert values(teams, seen(teams)).shape == (1, STEPS, ROWS, *last)


def test_the_weights_of_the_paper_are_counted():
    told = {"agents": 2, "inputs": 75, "actions": 8, "units": 32, "dueling": True}
    plain = 77 * 32 + 32 + 32 * 128 + 32 * 128 + 128 + 32 * 9 + 9
    shared, own = arch_of("v.s"), arch_of("v")
    assert count_weights(structure_of(shared, **told), shared) == plain
    assert count_weights(structure_of(own, **told), own) == 2 * plain
    wide = arch_of("v.s.id.l")
    assert count_weights(structure_of(wide, **told), wide) == plain + 32 * 128


@pytest.mark.parametrize("name", PAPER)
def test_steps_one_by_one_are_the_window(name):
    teams = teams_of(name)
    x = seen(teams)
    weights = teams.slots.gather(teams.structure.layout.views(teams.draw([3])))
    window = values(teams, x)
    state = teams.empty_state(ROWS)
    for t in range(STEPS):
        step, state = teams.step(teams.ready(weights), x[:, :, t], state)
        torch.testing.assert_close(step, window[:, t], rtol=1e-4, atol=1e-5)


# What the paper says of them


@pytest.mark.parametrize("name", ["v", "v.s", "v.s.id", "v.c"])
def test_the_greedy_joint_action_of_a_sum_is_each_agents_own(name):
    teams = teams_of(name, agents=3)
    q = values(teams, seen(teams))
    best = q.argmax(dim=-1)
    joint = list(product(range(ACTIONS), repeat=3))
    sums = torch.stack([sum(q[..., i, a] for i, a in enumerate(actions)) for actions in joint])
    assert torch.equal(torch.tensor(joint)[sums.argmax(dim=0)], best)


@pytest.mark.parametrize("name", ["v.s", "v.s.l", "v.s.h", "v.s.l.h"])
def test_permuting_agents_permutes_the_values_of_shared_weights(name):
    teams = teams_of(name)
    x = seen(teams)
    turned = values(teams, x.flip(1))
    torch.testing.assert_close(turned, values(teams, x).flip(3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["v", "v.s.id", "v.c"])
def test_separate_weights_roles_and_a_central_network_break_that(name):
    teams = teams_of(name)
    x = seen(teams)
    assert (values(teams, x.flip(1)) - values(teams, x).flip(3)).abs().max() > 1e-3


def test_permuting_roles_with_agents_restores_it():
    teams = teams_of("v.s.id")
    turned = Teams(structure=teams.structure, archs=teams.archs, slots=teams.slots,
                   roles=teams.roles.flip(1))  # fmt: skip
    x = seen(teams)
    torch.testing.assert_close(values(turned, x.flip(1)), values(teams, x).flip(3))


def test_a_channel_lets_one_agent_see_what_the_other_does_and_nothing_else_does():
    for name, reached in (("v.s.id", False), ("v.s.id.l", True), ("v.s.id.h", True), ("v.c", True)):
        teams = teams_of(name)
        x = seen(teams)
        moved = x.clone()
        moved[:, 1, 0] += 1.0
        change = (values(teams, moved) - values(teams, x))[:, -1, :, 0].abs().max()
        assert (change > 1e-6) == reached


# Stacks


def test_a_team_is_the_same_alone_and_in_a_stack():
    names, seeds = ["ind", "v", "v.s", "v.s.id"], [5, 6, 7, 8]
    stacked = teams_of(*names)
    x = seen(stacked)
    together = values(stacked, x, seeds)
    for place, (name, seed) in enumerate(zip(names, seeds, strict=True)):
        alone = values(teams_of(name), x[place : place + 1], [seed])
        torch.testing.assert_close(together[place : place + 1], alone, rtol=1e-5, atol=1e-6)


def test_equal_seeds_begin_with_equal_weights_whatever_is_shared():
    separate, shared = teams_of("v"), teams_of("v.s")
    first = separate.structure.layout.views(separate.draw([4]))
    only = shared.structure.layout.views(shared.draw([4]))
    for name, array in only.items():
        assert torch.equal(first[name][0], array[0])
        assert not torch.equal(first[name][1], array[0])


def test_an_empty_state_where_an_episode_begins_forgets_what_was_before():
    teams = teams_of("v.s")
    x = seen(teams)
    weights = teams.slots.gather(teams.structure.layout.views(teams.draw([3])))
    keep = torch.ones(2, STEPS, ROWS)
    keep[:, 3] = 0
    whole = teams.window(teams.ready(weights), x, teams.empty_state(ROWS), keep, steps=STEPS)
    behind = teams.window(
        teams.ready(weights), x[:, :, 3:], teams.empty_state(ROWS), steps=STEPS - 3
    )
    torch.testing.assert_close(whole[:, 3:], behind, rtol=1e-5, atol=1e-6)


# Small parts


def test_own_first_puts_each_agent_before_the_others_in_turn():
    x = torch.arange(3.0).reshape(1, 3, 1, 1)
    assert own_first(x)[0, :, 0].tolist() == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]


def test_joint_actions_come_back_from_their_numbers():
    whole = torch.arange(3**3)
    parts = split_joint(whole, agents=3, actions=3)
    assert len({tuple(row) for row in parts.tolist()}) == 27
    assert torch.equal(join_actions(parts, count=3), whole)
    assert parts[5].tolist() == [2, 1, 0]


def test_a_mixed_value_never_falls_as_one_agents_value_rises():
    teams = teams_of("q.s.id")
    weights = teams.structure.mixing.views(teams.structure.mixing.draw([0]))
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(1, 50, 2 * INPUTS, generator=generator)
    q = torch.randn(1, 50, 2, generator=generator)
    more = q + torch.rand(1, 50, 2, generator=generator)
    rise = mix(teams.structure, weights, more, x) - mix(teams.structure, weights, q, x)
    assert (rise >= -1e-6).all()
    assert rise.max() > 1e-3
    assert isinstance(teams.empty_state(1), LstmState)
