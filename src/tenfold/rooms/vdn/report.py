"""Pages and figures of this room: a training run, a comparison, an explanation, a claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tenfold.engine.claim import claim_page, from_json
from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, runs_root
from tenfold.engine.metrics import read_metrics
from tenfold.engine.report.figures import Curve, Figure, Table, axis, bars, curves, heat_map
from tenfold.engine.report.page import Page, Section, write_page
from tenfold.engine.report.traces import Axis
from tenfold.engine.run import find_run, saved_config
from tenfold.engine.stats import mean_interval
from tenfold.rooms.vdn.config import arch_of

Metrics = Mapping[str, Sequence[tuple[int, float]]]
REWARD = axis("reward", unit="per 100 steps")
MEASURES = {
    "auc": "area under the training curve",
    "final": "last tenth of training",
}


def write_report(name: str, *, runs: str = "") -> Path:
    """Write report.html into a run's directory and return its path.

    Raises:
        TenfoldError: if there is no such run, or it has nothing to tell yet.
    """
    path = Path(find_run(name, runs_root(runs)))
    if (path / "out" / "claim.json").is_file():
        page = claim_page(from_json(read_json(path / "out" / "claim.json")))
    elif (path / "out" / "compare.json").is_file():
        page = compare_page(read_json(path / "out" / "compare.json"))
    elif (path / "metrics.jsonl").is_file():
        page = train_page(path)
    else:
        raise TenfoldError(f"{path} has nothing to tell yet; let it run longer")
    target = path / "report.html"
    write_page(target, page)
    return target


def write_compare(path: Path) -> None:
    """Write the page of a comparison into its directory."""
    write_page(path / "report.html", compare_page(read_json(path / "out" / "compare.json")))


# A training run


def train_page(path: Path) -> Page:
    """Return the page of a training run, finished or not."""
    told = saved_config(path)["config"]
    metrics = read_metrics(path / "metrics.jsonl")
    figures = (
        _metric_figure(metrics, "reward", "Reward while training", REWARD),
        _metric_figure(metrics, "loss", "Loss", axis("loss", unit="squared reward", log=True)),
    )
    tables = []
    result = path / "out" / "result.json"
    if result.is_file():
        rows = tuple(
            (row["seed"], row["reward_per_100_steps"], "yes" if row["diverged"] else "no")
            for row in read_json(result)["teams"]
        )
        tables.append(
            Table(
                title="Teams over all of training",
                columns=("seed", "reward per 100 steps", "diverged"),
                rows=rows,
            )
        )
    arch = arch_of(told["arch"])
    return Page(
        title=f"{arch.title} on {told['env']}",
        kicker="vdn, training",
        subtitle=f"{len(told['seeds'])} teams, {told['updates']:,} updates each",
        sections=(Section(title="Learning", figures=figures, tables=tuple(tables)),),
    )


def _metric_figure(metrics: Metrics, word: str, title: str, y: Axis) -> Figure:
    series = {}
    for name, rows in metrics.items():
        if name.startswith(f"{word}/"):
            x, values = [float(step) for step, _ in rows], [value for _, value in rows]
            series[f"seed {name.removeprefix(f'{word}/')}"] = Curve(x=x, y=values)
    return curves(title, series, x=axis("windows of play"), y=y)


# A comparison


def compare_page(told: Json) -> Page:
    """Return the page of a comparison."""
    return Page(
        title="Architectures of teams",
        kicker="vdn, comparison",
        subtitle=f"{len(told['archs'])} architectures, {len(told['tasks'])} tasks, "
        f"{len(told['seeds'])} seeds",
        sections=(
            Section(
                title="Who learns what",
                paragraphs=(
                    "Areas are means over all of training of the reward per 100 steps, exploration "
                    "included. Normalised values are (x - worst) / (best - worst) over the "
                    "architectures shown; raw numbers stand in the tables.",
                ),
                figures=tuple(compare_figures(told)),
                tables=tuple(compare_tables(told)),
            ),
        ),
    )


def compare_figures(told: Json) -> Iterator[Figure]:
    """Yield the heat maps of normalised values, and the curves and shares of each task."""
    titles = [arch_of(name).title for name in told["archs"]]
    for measure, words in MEASURES.items():
        table = told["normalised"][measure]
        yield heat_map(
            f"Normalised {words}",
            [[table[task][name] for task in told["tasks"]] for name in told["archs"]],
            rows=titles,
            columns=told["tasks"],
            value=axis("normalised value"),
            caption=f"{words.capitalize()}, 0 the worst and 1 the best architecture of a task.",
        )
    for task in told["tasks"]:
        yield curves(
            f"Learning on {task}",
            {arch_of(name).title: _curve(told, task, name) for name in told["archs"]},
            x=axis("share of training"),
            y=REWARD,
            caption="Means over seeds with 95 % intervals.",
        )
        shares = {
            arch_of(name).title: [v for v in _values(told, task, name, "busiest") if v is not None]
            for name in told["archs"]
        }
        if any(shares.values()):
            yield bars(
                f"Busiest agent on {task}",
                shares,
                y=axis("share of events"),
                caption="Share of the last tenth's events that the busiest agent caused: 0.5 is "
                "even work of two, 1 is a lazy team.",
            )


def compare_tables(told: Json) -> Iterator[Table]:
    """Yield raw means over seeds of each task."""
    for task in told["tasks"]:
        means = told["means"]
        yield Table(
            title=f"{task}, reward per 100 steps",
            columns=("team", "area", "last tenth", "greedy test", "busiest share", "seeds"),
            rows=tuple(
                (
                    arch_of(name).title,
                    means["auc"][task][name],
                    means["final"][task][name],
                    means["test"][task][name],
                    means["busiest"][task][name],
                    len(told["seeds"]),
                )
                for name in told["archs"]
            ),
        )


def _values(told: Json, task: str, name: str, measure: str) -> list[float | None]:
    return [row[measure] for row in told["rows"] if row["task"] == task and row["arch"] == name]


def _curve(told: Json, task: str, name: str) -> Curve:
    rows: Sequence[Sequence[float | None]] = [
        row["curve"] for row in told["rows"] if row["task"] == task and row["arch"] == name
    ]
    table = np.array(rows, dtype=float)
    x = ((np.arange(table.shape[1]) + 0.5) / table.shape[1]).tolist()
    if len(table) < 2:
        return Curve(x=x, y=table[0].tolist())
    intervals = [mean_interval(column) for column in table.T]
    return Curve(
        x=x,
        y=[interval.estimate for interval in intervals],
        low=[interval.low for interval in intervals],
        high=[interval.high for interval in intervals],
    )
