"""What users do wrong, and what they are told: environments, observations, teams on other tasks."""

import math

import numpy as np
import pytest

from tenfold.cli import main
from tenfold.engine.errors import TenfoldError
from tenfold.engine.run import Options
from tenfold.parts.rl.adapters.copies import Copies
from tenfold.parts.rl.adapters.opening import as_copy
from tenfold.rooms.vdn import config, eval, tasks
from tenfold.rooms.vdn.agents import load_agent, save_agent
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.files import load_teams, save_teams
from tenfold.rooms.vdn.run import train
from tenfold.rooms.vdn.tools import agents_of, open_for, record
from tenfold.rooms.vdn.trainer import Trainer

pytest.importorskip("numba")
spaces = pytest.importorskip("gymnasium.spaces", reason="gymnasium is not installed")

ROOM = Learning(units=4, batch=4, capacity=16, warm_up=4)


class Relay:
    """A scout sees a number for three steps and dies; a worker sees less and goes on for six."""

    possible_agents = ("scout", "worker")

    def observation_space(self, agent):
        return spaces.Box(0, 1, (5 if agent == "scout" else 3,), np.float32)

    def action_space(self, agent):
        return spaces.Discrete(4 if agent == "scout" else 2)

    def reset(self, seed=None, options=None):
        self.begun = seed, options
        self.agents, self.time = list(self.possible_agents), 0
        return self.seen(), {}

    def seen(self):
        sizes = {"scout": 5, "worker": 3}
        return {agent: np.full(sizes[agent], 0.5, np.float32) for agent in self.agents}

    def step(self, actions):
        self.time += 1
        paid = {agent: float(actions[agent] == 1) for agent in self.agents}
        ends = {"scout": self.time >= 3, "worker": self.time >= 6}
        told = self.seen(), paid, ends, dict.fromkeys(ends, False), {}
        self.agents = [agent for agent in self.agents if not ends[agent]]
        return told


def batch_of(env, *, copies=4):
    singles = [as_copy(env(), name="mine") for _ in range(copies)]
    return Copies(singles, name="mine", seeds=list(range(copies)))


def train_on(env, *, steps=6):
    batch = batch_of(env)
    trainer = Trainer(batch, [arch_of("v.id")], ROOM, seeds=(0,), updates=20)
    for _ in range(steps):
        trainer.step()
    return trainer


class Burning(Relay):
    def step(self, actions):
        raise ValueError(f"motor on fire after {sorted(actions)}")


class Silent(Relay):
    def step(self, actions):
        seen, *told = super().step(actions)
        seen.pop("worker")
        return seen, *told


class Forgetful(Relay):
    def step(self, actions):
        seen, paid, *told = super().step(actions)
        return seen, {name: value for name, value in paid.items() if name != "worker"}, *told


class Spaceless:
    possible_agents = ("a", "b")


class Priceless(Relay):
    def step(self, actions):
        seen, paid, *told = super().step(actions)
        return seen, dict.fromkeys(paid, math.nan), *told


class Blind(Relay):
    def seen(self):
        return {agent: np.full_like(value, np.inf) for agent, value in super().seen().items()}


@pytest.mark.parametrize(
    ("env", "told"),
    [
        (
            Burning,
            r"step of the environment mine raised ValueError: motor on fire .* \(line \d+ of ",
        ),
        (Silent, "mine gives no observation of 'worker', which has not ended"),
        (Forgetful, "mine gives no reward of 'worker', which took an action; give one of every"),
        (Spaceless, "Spaceless does not say what observations its agents have"),
        (Priceless, "the reward of scout in mine is nan in window 1 of training"),
        (Blind, "the observation of scout in mine is inf in window 1"),
    ],
)
def test_faults_of_an_environment_are_told_as_its_own(env, told):
    with pytest.raises(TenfoldError, match=told):
        train_on(env)


def test_a_function_that_cannot_make_its_environment_is_told(tmp_path):
    (tmp_path / "mine.py").write_text("def make():\n    import nosuchmodule\n")
    told = r"the function of the environment .*mine.py:make raised ModuleNotFoundError.*line 2"
    with pytest.raises(TenfoldError, match=told):
        tasks.open_task(f"{tmp_path}/mine.py:make", copies=1, seeds=(0,))


def test_words_of_others_name_architectures_too():
    assert [arch_of(name).name for name in ("vdn", "VDN.s.id", "qmix.s", "iql")] == [
        "v", "v.s.id", "q.s", "ind"
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"'di' in the architecture 'v.di' has no meaning"):
        arch_of("v.di")


def test_rewards_that_are_no_numbers_are_refused_before_they_seem_to_compete():
    with pytest.raises(TenfoldError, match="a reward of scout in mine is not finite"):
        tasks.try_rewards(batch_of(Priceless))


def test_a_dead_agent_has_no_value_and_leaves_the_sum():
    trainer = train_on(Relay)
    replay = record(trainer.learner, batch_of(Relay, copies=1), steps=20, seed=0)
    gone = np.isnan(replay["values"])
    assert gone.tolist() == [[False, False]] * 3 + [[True, False]] * 3
    assert [row[0] for row in replay["actions"][3:]] == [""] * 3
    played = eval.play(trainer.learner, batch_of(Relay), seeds=(0,), steps=48)
    np.testing.assert_allclose(played.actions.sum(axis=-1), 1)


def test_a_team_that_earns_nothing_has_no_shares():
    class Unpaid(Relay):
        def step(self, actions):
            seen, paid, *told = super().step(actions)
            return seen, dict.fromkeys(paid, 0.0), *told

    trainer = train_on(Unpaid)
    (told,) = eval.explain(trainer.learner, batch_of(Unpaid), seeds=(0,), steps=24)
    assert told["lazy"] == "earns nothing"
    assert told["contribution"] == [None, None]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cfg = config.Train(**{**vars(config.tiny()), "arch": "v.s.id", "episode": 40})
    return train(cfg, options=Options(quiet=True, runs=str(tmp_path_factory.mktemp("vdn"))))


def test_a_team_on_another_task_is_told_what_differs(run):
    saved = load_teams(run.path)
    with pytest.raises(TenfoldError, match=r"spread/3 has agents 3, the teams learnt with 2"):
        open_for(saved, "spread/3", copies=1, seeds=(0, 1))
    with pytest.raises(TenfoldError, match=r"spread/2 has actions \[5, 5\], the teams learnt with"):
        open_for(saved, "spread/2", copies=1, seeds=(0, 1))
    assert open_for(saved, "fetch/corridor", copies=1, seeds=(0, 1)).spec.copies == 2


def test_code_of_a_saved_run_is_not_run_by_its_tools(run, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('ran')", encoding="utf-8")
    saved = load_teams(run.path)
    object.__setattr__(saved, "env", f"{file}:make")
    with pytest.raises(TenfoldError, match="not run unless you say so"):
        open_for(saved, "", copies=1, seeds=(0, 1))


def test_an_agent_takes_observations_of_its_own_size_and_numbers_only(tmp_path):
    trainer = train_on(Relay)
    cfg = config.Train(arch="v.id", env="mine", learning=ROOM)
    save_teams(tmp_path / "teams.safetensors", cfg, trainer)
    agents = agents_of(load_teams(tmp_path / "teams.safetensors"))
    assert [agent.shape for agent in agents] == [(5,), (3,)]
    save_agent(agents[1], tmp_path / "worker.safetensors")
    worker = load_agent(tmp_path / "worker.safetensors")
    action, _ = worker.act(np.full(3, 0.5, np.float32), worker.begin())
    assert action in (0, 1)
    with pytest.raises(TenfoldError, match="an observation of 5 numbers, but worker takes 3"):
        worker.act(np.zeros(5), worker.begin())
    with pytest.raises(TenfoldError, match="an observation of worker with nan in it"):
        worker.act(np.array([0.0, np.nan, 0.0]), worker.begin())


def test_a_run_that_is_not_finished_is_to_be_resumed(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TenfoldError, match=r"is a run without trained teams: .* runs resume"):
        load_teams(tmp_path)


@pytest.mark.parametrize("name", ["fetsh/open", "swich:trio.txt", "nonsense"])
def test_a_task_of_no_known_kind_gets_all_forms(name):
    with pytest.raises(TenfoldError, match=r"FILE\.py:FUNCTION.*lbf/8x8-2p-3f"):
        tasks.open_task(name, copies=1, seeds=(0,))


def test_a_number_of_a_team_below_nought_is_refused(run, capsys):
    assert main(["vdn", "export", str(run.path), "--which", "-1"]) != 0
    assert "which (-1) must be 0 or more" in capsys.readouterr().err
