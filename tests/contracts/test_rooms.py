"""What every room keeps to. A new room gets all of it by an entry in `contracts/rooms.py`.

That `--help` of each verb matches its golden file is in `test_help.py`, for every room too.
"""

import dataclasses
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import plotly.graph_objects as plotly
import pytest

import tenfold
from contracts.rooms import ROOMS
from deadly import KILLED, Life, bits_of, live
from tenfold.cli import main
from tenfold.engine.claim import read_claims
from tenfold.engine.config import decode, diff, encode
from tenfold.engine.metrics import read_metrics, unit_of
from tenfold.engine.run import saved_config
from tenfold.engine.verbs import read_config
from tenfold.recipes import recipe_config
from tenfold.registry import find_room, find_verb, room_package, room_verbs

pytestmark = pytest.mark.long
RECIPES = ("tiny", "laptop", "gpu", "paper")
EVERY, KILLED_IN = 5, 8
"""Steps between checkpoints, and the step, counted from 1, in which a run is killed."""
CLAIMS = Path(__file__).parents[2] / "claims"


@pytest.fixture(scope="module", params=tenfold.list_rooms())
def room(request):
    return request.param


@pytest.fixture(scope="module")
def verb(room):
    return find_verb(room, ROOMS[room].verb)


def test_config_and_verbs_need_no_torch(room):
    """A help text must not take seconds."""
    names = [f"{find_room(room).module}.{name}" for name in ("config", "cli")]
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert set(names) <= set(done.stdout.split())
    assert not {"torch", "scipy", "joblib", "numba", "plotly"} & set(done.stdout.split())


def test_the_door_opens_to_what_it_promises(room):
    package = room_package(room)
    assert 5 <= len(package.__all__) <= 15
    assert all(getattr(package, name) is not None for name in package.__all__)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_builds_and_comes_back_from_its_saved_form(verb, name):
    config = verb.recipes[name]()
    assert isinstance(config, verb.config)
    assert decode(verb.config, json.loads(json.dumps(encode(config)))) == config


def test_recipes_differ(verb):
    assert len({json.dumps(encode(recipe_config(verb, name))) for name in RECIPES}) == len(RECIPES)


# The tiny run


@pytest.fixture(scope="module")
def runs(room, tmp_path_factory):
    """Return the folder of a whole tiny run and of two that were killed and gone on with."""
    entry, root = ROOMS[room], tmp_path_factory.mktemp(room)
    (root / "input").mkdir()
    words = (room, entry.verb, "tiny", *entry.options(root / "input"))
    words += ("--quiet", "--checkpoint-steps", str(EVERY))

    def tiny(name, **more):
        return Life(args=(*words, "--path", str(root / name)), **more)

    def resume(name, **more):
        return Life(args=("runs", "resume", str(root / name), "--quiet"), **more)

    codes = live(
        tiny("whole"),
        tiny("step", at_call=entry.in_a_step, number=KILLED_IN),
        resume("step"),
        tiny("saving", at_open="*/saving/ckpt/.tmp-*/state.json", number=2),
        resume("saving"),
    )
    assert codes == [0, KILLED, 0, KILLED, 0]
    return root


@pytest.mark.parametrize("moment", ["step", "saving"])
def test_a_run_killed_in_a_step_or_while_saving_ends_with_the_same_bits(runs, moment):
    bits = bits_of(runs / moment)
    assert len(bits) > 2  # a checkpoint, a result, the metrics
    assert bits == bits_of(runs / "whole")


def test_the_saved_config_is_the_one_that_ran(runs, room, verb):
    from tenfold.arguments import parse

    words = ("tiny", *ROOMS[room].options(runs / "input"))
    asked = parse(verb, words, words=f"{room} {ROOMS[room].verb}").config
    saved = saved_config(runs / "whole")
    assert diff(saved["config"], encode(asked)) == []
    assert read_config(verb, runs / "whole") == asked
    assert saved["schema"] == verb.schema


def test_every_metric_has_a_unit(runs):
    units = saved_config(runs / "whole")["units"]
    metrics = read_metrics(runs / "whole" / "metrics.jsonl")
    assert metrics
    assert all(unit_of(name, units) for name in metrics)
    assert all(units.values())


def figures_in(page):
    islands = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return [json.loads(island) for island in islands]


def test_the_report_builds_and_plotly_accepts_its_figures(runs, room, capsys):
    page = runs / "whole" / "report.html"
    page.unlink(missing_ok=True)
    assert main([room, "report", str(page.parent)]) == 0
    assert str(page) in capsys.readouterr().out
    figures = figures_in(page.read_text(encoding="utf-8"))
    assert figures
    for figure in figures:
        plotly.Figure(data=figure["data"], layout=figure["layout"])


# Workers


def has_workers(room):
    fields = (dataclasses.fields(verb.config) for verb in room_verbs(room).values())
    return any(field.name == "workers" for found in fields for field in found)


def test_one_worker_gives_what_two_give(room, tmp_path, small_text):
    work = ROOMS[room].with_workers
    assert (work is not None) == has_workers(room), "a verb has `workers`, so the entry has too"
    if work is None:
        pytest.skip(f"no verb of {room} has workers")
    one, two = (work(count, tmp_path / str(count), small_text) for count in (1, 2))
    assert one
    assert one == two


# What is written down


def equations_of(room):
    """Yield equation and function of each row of the README's equation tables."""
    readme = Path(room_package(room).__file__).with_name("README.md")
    if not readme.exists():
        pytest.skip(f"{readme.parent.name} has no README.md yet")
    in_table = False
    for line in readme.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            in_table = False
        elif cells[0].startswith("eq"):
            in_table = True
        elif in_table and not set(cells[0]) <= set(":- "):
            yield cells[0], re.findall(r"`([\w.]+)`", cells[-1])


def find_named(room, name):
    """Return what `module.function` or `folder.module.Class.method` stands for."""
    words, home = name.split("."), room_package(room)
    while words and importlib.util.find_spec(f"{home.__name__}.{words[0]}"):
        home = importlib.import_module(f"{home.__name__}.{words.pop(0)}")
        if not hasattr(home, "__path__"):
            break
    return reduce(getattr, words, home)


def test_every_equation_of_the_readme_names_a_function_that_exists(room):
    rows = list(equations_of(room))
    assert rows
    for equation, names in rows:
        assert names, f"{equation} names no `module.function`"
        for name in names:
            assert callable(find_named(room, name)), f"{equation}: {name}"


def test_saved_claims_are_of_todays_schema(room):
    file = CLAIMS / f"{room}.json"
    if not file.exists():
        pytest.skip(f"no claims/{file.name} yet")
    assert {result.statement.room for result in read_claims(file).values()} == {room}
