"""What is done with trained teams: replays, explanations, agents that act alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import runs_root
from tenfold.engine.report.figures import Curve, Figure, Table, axis, curves
from tenfold.engine.report.page import Page, Section, write_page
from tenfold.engine.run import find_run
from tenfold.parts.rl import rollout
from tenfold.parts.rl.batch import EnvBatch
from tenfold.rooms.vdn import eval, matrix, probe, tasks
from tenfold.rooms.vdn import tools_config as told
from tenfold.rooms.vdn.acting import BYTE, Actor
from tenfold.rooms.vdn.agents import Agent, save_agent
from tenfold.rooms.vdn.config import arch_of
from tenfold.rooms.vdn.files import Saved, load_teams, team_arrays
from tenfold.rooms.vdn.games.batch import GameBatch
from tenfold.rooms.vdn.learner import Learner
from tenfold.rooms.vdn.model import join_actions
from tenfold.rooms.vdn.replay_page import Replay, write_replay


def find_teams(name: str, *, runs: str = "") -> Saved:
    """Return the teams of a file, a run directory or a run's name."""
    path = Path(name)
    return load_teams(path if path.exists() else find_run(name, runs_root(runs)))


def open_for(saved: Saved, env: str, *, copies: int, seeds: Sequence[int]) -> EnvBatch:
    """Open the task that teams learnt, or another one, for each of them.

    Args:
        saved: the teams.
        env: another task; empty: their own, but for code, which only a name given here runs.
        copies: of each team.
        seeds: of each team.

    Raises:
        TenfoldError: if it cannot be opened, or the teams do not fit it.
    """
    batch = tasks.open_task(
        env or saved.env, copies=copies, seeds=seeds, episode=saved.episode, trusted=bool(env),
        rows="" if env else saved.rows,
    )  # fmt: skip
    spec = batch.spec
    for what, own, theirs in (
        ("agents", len(saved.agents), len(spec.agents)),
        ("actions", list(saved.actions), list(spec.actions)),
        ("observations", list(saved.shape), list(spec.shape)),
    ):
        if own != theirs:
            raise TenfoldError(
                f"{spec.name} has {what} {theirs}, the teams learnt with {own}; name a task like "
                f"{saved.env}, or train on this one"
            )
    return batch


def single(saved: Saved, which: int) -> Saved:
    """Return one team of several as teams of its own.

    Raises:
        TenfoldError: if there are not so many.
    """
    if which >= len(saved.seeds):
        raise TenfoldError(f"there are {len(saved.seeds)} teams, numbered from 0; {which} is none")
    slots = torch.tensor(
        [s for s, team in enumerate(saved.teams.slots.groups.tolist()) if team == which]
    )
    return replace(
        saved,
        seeds=(saved.seeds[which],),
        arrays={name: array[slots] for name, array in saved.arrays.items()},
        mixing={name: array[which : which + 1] for name, array in saved.mixing.items()},
        shift=saved.shift[which : which + 1],
        factor=saved.factor[which : which + 1],
    )


# Replays


def play_team(cfg: told.Play, *, runs: str = "") -> Json:
    """Write the replay of one episode and return what it came to."""
    saved = single(find_teams(cfg.team, runs=runs), cfg.which)
    learner = saved.learner()
    batch = open_for(saved, cfg.env, copies=1, seeds=(cfg.seed + eval.TEST_SEEDS,))
    replay = record(learner, batch, steps=cfg.steps, seed=cfg.seed, epsilon=cfg.epsilon)
    title = f"{arch_of(saved.arch).title} on {batch.spec.name}, seed {saved.seeds[0]}"
    write_replay(Replay(title=title, **replay), Path(cfg.html))
    return {
        "html": cfg.html,
        "steps": len(replay["rewards"]),
        "reward": float(replay["rewards"].sum()),
    }


def record(
    learner: Learner, batch: EnvBatch, *, steps: int, seed: int, epsilon: float = 0.0
) -> dict[str, Any]:
    """Play one episode of one team in one copy and return what a `Replay` holds."""
    spec = batch.spec
    actor = Actor(learner, spec, seeds=(seed,), stream="replay")
    actor.epsilon = epsilon
    place = rollout.begin(batch, memory=actor.memory())
    names = spec.action_names or tuple(str(number) for number in range(max(spec.actions)))
    frames, headings, positions = [], [], []
    actions, values, rewards, events = [], [], [], []
    for _ in range(steps):
        if isinstance(batch, GameBatch):
            picture = batch.render(0)
            frames.append(picture.image)
            headings.append(picture.headings)
            positions.append(picture.positions)
        worth, _after = actor.values(place.seen, place.memory)
        alive = place.seen.alive[0]
        block, place = rollout.collect(batch, actor, place, steps=1)
        chosen = torch.from_numpy(block.action[0, 0])
        actions.append(
            [names[a] if here else "" for a, here in zip(chosen.tolist(), alive, strict=True)]
        )
        # An agent that is dead has no value and leaves the sum.
        values.append(np.where(alive, _taken(learner, worth[0, 0], chosen), np.nan))
        rewards.append(block.reward[0, 0].astype(np.float64))
        events.append(_events(spec.events, block.events, len(spec.agents)))
        if block.terminated[0, 0] or block.truncated[0, 0]:
            break
    return {
        "agents": spec.agents,
        "frames": np.stack(frames) if frames else None,
        "headings": np.stack(headings) if headings else None,
        "positions": np.stack(positions) if positions else None,
        "actions": actions,
        "values": np.array(values),
        "rewards": np.array(rewards),
        "events": events,
    }


def _taken(learner: Learner, values: torch.Tensor, actions: torch.Tensor) -> list[float]:
    """Return the value of each agent's action; of a combinatorial team equal shares of one."""
    structure = learner.teams.structure
    if structure.joint:
        number = join_actions(actions, count=structure.actions)
        return [float(values[0, number]) / structure.agents] * structure.agents
    return values.gather(-1, actions.unsqueeze(-1)).squeeze(-1).tolist()


def _events(names: tuple[str, ...], told: NDArray[np.int32] | None, agents: int) -> list[str]:
    if told is None:
        return [""] * agents
    return [
        ", ".join(name for name, count in zip(names, told[0, 0, agent], strict=True) if count)
        for agent in range(agents)
    ]


# Explanations


def explain_teams(cfg: told.Explain, *, runs: str = "") -> Json:
    """Measure who does the work in every team of a file, and write a page about it."""
    saved = find_teams(cfg.team, runs=runs)
    learner = saved.learner()
    seeds = [seed + cfg.seed + eval.TEST_SEEDS for seed in saved.seeds]
    name = cfg.env or saved.env
    batch = open_for(saved, cfg.env, copies=cfg.copies, seeds=seeds)
    found = eval.explain(learner, batch, seeds=seeds, steps=cfg.steps, epsilon=cfg.epsilon)
    one = single(saved, 0)
    episode = open_for(saved, cfg.env, copies=1, seeds=seeds[:1])
    replay = record(one.learner(), episode, steps=min(cfg.steps, 400), seed=cfg.seed)
    page = Page(
        title=f"Who does the work: {arch_of(saved.arch).title} on {name}",
        kicker="vdn, explanation",
        subtitle=f"{len(saved.seeds)} teams, {cfg.copies} test episodes of {cfg.steps:,} steps",
        sections=(
            Section(
                title="Work",
                paragraphs=(
                    "An agent's contribution is the share of the team's reward that is lost when "
                    f"it is replaced by one that plays {found[0]['replaced_by']}. A team is lazy "
                    "if its least agent contributes less than 10 %, by an interval over episodes.",
                ),
                tables=(_work_table(saved, found),),
            ),
            Section(title="Credit", figures=(credit_figure(replay),)),
        ),
    )
    write_page(Path(cfg.html), page)
    return {
        "html": cfg.html,
        "teams": [
            _in_short(seed, row, saved.agents) for seed, row in zip(saved.seeds, found, strict=True)
        ],
    }


def _in_short(seed: int, row: Json, agents: Sequence[str]) -> Json:
    """Return one team's row as it is printed, each agent's part as a share of the reward."""
    reward = row["reward_per_100_steps"]
    parts = zip(agents, row["contribution"], strict=True)
    return {
        "seed": seed,
        "reward_per_100_steps": reward["estimate"],
        "low": reward["low"],
        "high": reward["high"],
        "episodes": len(row["returns"]),
        "return": float(np.mean(row["returns"])) if row["returns"] else None,
        "busiest_share": row["busiest_share"],
        **{f"part_of_{name}": one and one["estimate"] for name, one in parts},
        "lazy": row["lazy"],
    }


def _percent(shares: list[float | None]) -> str:
    return " ".join("-" if share is None else f"{100 * share:.0f} %" for share in shares)


def credit_figure(replay: dict[str, Any]) -> Figure:
    """Draw each agent's value over an episode, their sum, and where the team was paid."""
    steps = list(range(len(replay["rewards"])))
    series = {
        f"agent {name}": _until_death(replay["values"][:, agent])
        for agent, name in enumerate(replay["agents"])
    }
    series["sum"] = Curve(x=steps, y=np.nansum(replay["values"], axis=1).tolist())
    series["reward of the team"] = Curve(x=steps, y=replay["rewards"].sum(axis=1).tolist())
    return curves(
        "Value of each agent over an episode",
        series,
        x=axis("step"),
        y=axis("value", unit="discounted reward"),
        caption="Each agent's value of its own action, as the team's value was divided by "
        "learning alone; it should rise before that agent's own events and fall behind them.",
    )


def _until_death(values: NDArray[np.float64]) -> Curve:
    living = np.flatnonzero(~np.isnan(values))
    return Curve(x=living.tolist(), y=values[living].tolist())


def _work_table(saved: Saved, found: list[Json]) -> Table:
    rows = []
    for seed, row in zip(saved.seeds, found, strict=True):
        shares = _percent([one and one["estimate"] for one in row["contribution"]])
        entropy = ", ".join(f"{bits:.2f}" for bits in row["action_entropy_bits"])
        rows.append(
            (
                seed,
                row["reward_per_100_steps"]["estimate"],
                float(np.mean(row["returns"])) if row["returns"] else None,
                row["busiest_share"],
                shares,
                entropy,
                row["lazy"],
            )
        )
    return Table(
        title="Teams",
        columns=(
            "seed", "reward per 100 steps", "return of an episode",
            "busiest agent's share of events",
            "contributions", "entropy of actions, bits", "lazy",
        ),
        rows=tuple(rows),
    )  # fmt: skip


# Agents alone


def export_team(cfg: told.Export, *, runs: str = "") -> Json:
    """Write each agent of one team as a file of its own.

    Raises:
        TenfoldError: if agents of this architecture cannot act alone.
    """
    saved = find_teams(cfg.team, runs=runs)
    agents = agents_of(saved, cfg.which)
    folder = Path(cfg.out)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, agent in enumerate(agents):
        path = folder / f"agent-{number}.safetensors"
        save_agent(agent, path)
        written.append({"file": str(path), "kB": round(path.stat().st_size / 1e3, 1)})
    return {"agents": written}


def agents_of(saved: Saved, which: int = 0) -> list[Agent]:
    """Return the agents of one team, each with its own weights.

    Raises:
        TenfoldError: if agents of this architecture cannot act alone, or there is no such team.
    """
    arch = arch_of(saved.arch)
    if not arch.alone:
        raise TenfoldError(
            f"agents of {arch.title} need messages or all observations at every step, so none can "
            "act alone; export teams without l, h and c"
        )
    one = single(saved, which)
    roles = one.teams.roles[0].numpy()
    return [
        Agent(
            name=saved.agents[number],
            role=roles[number].astype(np.float32),
            actions=saved.actions[number],
            shape=own_shape(saved, number),
            shift=one.shift[0].numpy(),
            factor=one.factor[0].numpy() * np.float32(BYTE if saved.dtype == "uint8" else 1.0),
            arrays={name: array.numpy() for name, array in arrays.items()},
        )
        for number, arrays in enumerate(team_arrays(one, 0))
    ]


def own_shape(saved: Saved, agent: int) -> tuple[int, ...]:
    """Return the shape of one agent's observations: flat where others have larger ones."""
    size = saved.sizes[agent]
    return saved.shape if size == math.prod(saved.shape) else (size,)


# Before training


def probe_env(cfg: told.Probe) -> Json:
    """Test whether a sum of values is enough for a task."""
    batch = tasks.open_task(cfg.env, copies=cfg.copies, seeds=(cfg.seed,))
    competition = tasks.try_rewards(batch, seed=cfg.seed)
    found = probe.probe_task(batch, steps=cfg.steps, gamma=cfg.gamma, seed=cfg.seed)
    said: Json = {
        "task": cfg.env,
        "verdict": found.line(),
        "can_tell": found.can_tell,
        "enough": found.enough if found.can_tell else None,
        "additive": found.additive,
        "joint": found.joint,
        "explained": found.explained,
        "states": found.states,
    }
    if cfg.env == "matrix":
        said["table"] = probe.judge_table(matrix.MATRIX).line()
    if competition:
        said["warning"] = competition
    return said
