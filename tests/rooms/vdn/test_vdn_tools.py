import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from tenfold.cli import main
from tenfold.engine.errors import TenfoldError
from tenfold.engine.run import Options, RunStopped
from tenfold.parts.rl import rollout
from tenfold.rooms.vdn import config, eval, probe, tasks
from tenfold.rooms.vdn.acting import Actor
from tenfold.rooms.vdn.agents import load_agent, save_agent
from tenfold.rooms.vdn.compare import normalise
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.files import load_teams
from tenfold.rooms.vdn.games.batch import GameBatch
from tenfold.rooms.vdn.games.maps import GameMap
from tenfold.rooms.vdn.matrix import MATRIX, TwoStepBatch
from tenfold.rooms.vdn.run import resume, start, train
from tenfold.rooms.vdn.tools import agents_of, open_for
from tenfold.rooms.vdn.trainer import Trainer

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("vdn")
    runs = {}
    for arch in ("v.s.id", "ind", "v.s.id.l"):
        cfg = config.Train(**{**vars(config.tiny()), "arch": arch, "episode": 40})
        runs[arch] = train(cfg, options=Options(quiet=True, runs=str(root)))
    return runs


# Text maps


def test_a_run_keeps_the_map_that_it_began_with(tmp_path):
    file = tmp_path / "yard.txt"
    file.write_text("S...\nD..P\nS...\n")
    cfg = config.Train(**{**vars(config.tiny()), "env": f"fetch:{file}"})
    with pytest.raises(RunStopped):
        train(cfg, options=Options(quiet=True, stop_after=2, runs=str(tmp_path)))
    (path,) = tmp_path.glob("vdn/*")
    file.write_text("S....\nD...P\nS....\n")
    with pytest.raises(TenfoldError, match=r"the map is not the one .* lies in .*map\.txt; put"):
        resume(path, options=Options(quiet=True))
    file.write_text((path / "out" / "map.txt").read_text())
    resume(path, options=Options(quiet=True))
    file.unlink()
    batch = open_for(load_teams(path), "", copies=2, seeds=(0,) * len(cfg.seeds))
    assert batch.game_map.rows == ("S...", "D..P", "S...")


# Files and agents that act alone


@pytest.mark.parametrize("arch", ["v.s.id", "ind"])
def test_an_agent_without_torch_does_what_the_team_does(finished, arch, tmp_path):
    saved = load_teams(finished[arch].path)
    learner = saved.learner()
    batch = tasks.open_task("fetch/open", copies=3, seeds=(7, 8), episode=40)
    actor = Actor(learner, batch.spec, seeds=(7, 8))
    place = rollout.begin(batch, memory=actor.memory())
    alone = []
    for team in range(2):
        agents = agents_of(saved, team)
        for number, agent in enumerate(agents):
            save_agent(agent, tmp_path / f"{team}-{number}.safetensors")
        alone.append([load_agent(tmp_path / f"{team}-{n}.safetensors") for n in range(2)])
    memories = {}
    for _ in range(10):
        values, _ = actor.values(place.seen, place.memory)
        for team in range(2):
            for copy in range(3):
                for number in range(2):
                    agent = alone[team][number]
                    key = (team, copy, number)
                    seen = place.seen.observation[3 * team + copy, number]
                    memory = memories.get(key) or agent.begin()
                    own, memories[key] = agent.values(seen, memory)
                    right = values[team, copy, number].numpy()
                    np.testing.assert_allclose(own, right, rtol=1e-5, atol=2e-6)
        _, place = rollout.collect(batch, actor, place, steps=1)


def test_an_exported_agent_needs_no_torch(finished, tmp_path):
    agent = agents_of(load_teams(finished["v.s.id"].path))[0]
    save_agent(agent, tmp_path / "agent.safetensors")
    code = (
        "import sys\nfrom tenfold.rooms.vdn.agents import load_agent\nimport numpy as np\n"
        f"agent = load_agent({str(tmp_path / 'agent.safetensors')!r})\n"
        "action, memory = agent.act(np.zeros((3, 5, 5), np.uint8), agent.begin())\n"
        "assert 'torch' not in sys.modules and 'numba' not in sys.modules\nprint(action)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 <= int(done.stdout) < 8


def test_agents_that_need_messages_are_not_exported(finished):
    with pytest.raises(TenfoldError, match="need messages"):
        agents_of(load_teams(finished["v.s.id.l"].path))


def test_training_goes_on_from_a_saved_team(finished):
    told = vars(config.tiny()) | {"arch": "ind", "init": str(finished["ind"].path), "updates": 1}
    trainer = start(config.Train(**told))
    first = load_teams(finished["ind"].path).arrays["first.weight"]
    views = trainer.learner.teams.structure.layout.views(trainer.learner.weights)
    assert torch.equal(views["first.weight"], first)
    other = told | {"arch": "v.s.id.l"}
    with pytest.raises(TenfoldError, match="another structure"):
        start(config.Train(**other))


def test_a_file_that_is_no_team_is_refused(tmp_path):
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(TenfoldError, match="cannot be read as a team"):
        load_teams(tmp_path / "no.safetensors")


# Commands


def test_a_replay_is_one_page_with_every_step(finished, tmp_path, capsys):
    page = tmp_path / "team.html"
    words = ["vdn", "play", str(finished["v.s.id"].path), "--html", str(page), "--steps", "16"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 16
    text = page.read_text(encoding="utf-8")
    told = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert len(told["values"]) == len(told["actions"]) == 16
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "script-src 'sha256-" in text


def test_an_explanation_names_contributions_and_laziness(finished, tmp_path, capsys):
    page = tmp_path / "why.html"
    words = ["vdn", "explain", str(finished["v.s.id"].path), "--html", str(page)]
    assert main([*words, "--steps", "40", "--copies", "4", "--json"]) == 0
    teams = json.loads(capsys.readouterr().out)["teams"]
    assert len(teams) == 2
    assert all(team["lazy"] in ("yes", "no", "undecided", "earns nothing") for team in teams)
    parts = [value for team in teams for key, value in team.items() if key.startswith("part_of_")]
    assert len(parts) == 2 * len(teams)
    assert all(part is None or isinstance(part, float) for part in parts)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_an_agent_that_stands_still_is_replaced_by_the_action_of_that_name():
    batch = tasks.open_task("fetch/open", copies=2, seeds=(0,), episode=40)
    assert eval.still_action(batch.spec) == 7
    trainer = Trainer(batch, [arch_of("v.s.id")], Learning(units=4), seeds=(0,), updates=1)
    played = eval.play(trainer.learner, batch, seeds=(0,), steps=16, epsilon=1.0, replaced=1)
    assert played.actions[0, 1].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert played.actions[0, 0].max() < 0.9


# Is a sum enough?


def test_the_matrix_game_is_judged_by_the_closed_form_of_its_best_sum():
    """Row mean plus column mean less the grand mean (sheet 3.2, 6): -6.22, -4.89, -3.56."""
    fit = probe.additive_fit(MATRIX, np.ones_like(MATRIX))
    rows, columns = MATRIX.mean(axis=1, keepdims=True), MATRIX.mean(axis=0, keepdims=True)
    np.testing.assert_allclose(fit, rows + columns - MATRIX.mean(), atol=1e-9)
    assert fit[0, 0] == pytest.approx(-6.22, abs=0.005)
    assert fit[0, 1] == pytest.approx(-4.89, abs=0.005)
    assert fit[1, 1] == pytest.approx(-3.56, abs=0.005)
    verdict = probe.judge_table(MATRIX)
    assert verdict.explained == pytest.approx(0.015, abs=0.001)
    assert (verdict.greedy, verdict.best, verdict.enough) == (0.0, 8.0, False)


@pytest.mark.parametrize(("name", "additive"), [("matrix", 0.0), ("two-step", 7.0)])
def test_a_probe_says_that_a_sum_is_not_enough_for_the_two_known_games(name, additive):
    found = probe.probe_task(TwoStepBatch(name, copies=32), steps=6_000, gamma=1.0)
    assert found.can_tell
    assert found.additive == pytest.approx(additive, abs=1e-6)
    assert found.joint == pytest.approx(8.0, abs=1e-6)
    assert not found.enough
    assert "not enough" in found.line()


def test_a_sum_is_enough_where_rewards_are_sums():
    batch = TwoStepBatch("matrix", copies=16)
    batch.payoff = np.add.outer([1.0, 5.0, 2.0], [0.0, 3.0, -1.0])[None]
    found = probe.probe_task(batch, steps=2_000, gamma=1.0)
    assert found.enough
    assert found.explained == pytest.approx(1.0)
    assert found.joint == pytest.approx(8.0)


def test_a_probe_of_a_task_with_too_many_states_says_that_it_cannot_tell():
    batch = tasks.open_task("fetch/open", copies=8, seeds=(0,), episode=100)
    found = probe.probe_task(batch, steps=2_000, gamma=0.99)
    assert not found.can_tell
    assert "too many states" in found.line()


# What cannot be trained


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fetch/opne", "fetch/open"),
        ("fetch:missing.txt", "there is no map"),
        ("lbf/8x8", "is no task"),
    ],
)
def test_a_task_that_is_not_there_is_refused(name, words):
    with pytest.raises(TenfoldError, match=words):
        tasks.open_task(name, copies=1, seeds=(0,))


def test_joint_actions_beyond_the_limit_are_refused_with_their_number(tmp_path):
    rows = "S" * 5 + "\n" + "D" + "." * 3 + "P"
    (tmp_path / "wide.txt").write_text(rows, encoding="utf-8")
    found = GameMap.from_text(rows, "fetch", name="wide", players=5)
    batch = GameBatch(found, copies=1, seed=0)
    with pytest.raises(TenfoldError, match="32,768 joint actions"):
        tasks.check_team(batch, arch_of("c"))
    tasks.check_team(batch, arch_of("v.c"))


def test_code_that_only_a_saved_run_names_is_not_run(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('ran')", encoding="utf-8")
    with pytest.raises(TenfoldError, match="not run unless you say so"):
        tasks.open_task(f"{file}:make", copies=1, seeds=(0,), trusted=False)


def test_normalised_values_go_from_the_worst_to_the_best():
    assert normalise({"a": 2.0, "b": 4.0, "c": 3.0}) == {"a": 0.0, "b": 1.0, "c": 0.5}
    assert normalise({"a": 2.0, "b": 2.0}) == {"a": 0.0, "b": 0.0}


class ZeroSum(TwoStepBatch):
    """The matrix game, but what one agent gets the other one pays."""

    def step(self, actions):
        step = super().step(actions)
        first = step.reward[:, 0]
        return step._replace(reward=np.stack([first, -first], axis=1))


def test_agents_that_compete_are_warned_of_and_a_team_is_not():
    assert "they compete" in tasks.try_rewards(ZeroSum("matrix", copies=2))
    assert tasks.try_rewards(TwoStepBatch("matrix", copies=2)) == ""
    assert tasks.find_competition_of("fetch/open", seed=0) == ""


def test_a_random_agent_of_one_team_does_the_same_in_any_company():
    def usage(seeds):
        batch = TwoStepBatch("matrix", copies=4 * len(seeds))
        trainer = Trainer(
            batch, [arch_of("v.s.id")] * len(seeds), Learning(units=4), seeds=seeds, updates=1
        )
        played = eval.play(trainer.learner, batch, seeds=seeds, steps=40, replaced=1, how="random")
        return played.actions[-1, 1]

    assert usage((3, 8)).tolist() == usage((8,)).tolist()
    assert usage((8,)).max() < 0.9
