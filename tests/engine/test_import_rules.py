import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "import_rules.py"

REGISTRY = """
ROOMS = {
    "lns": Room(name="lns", sentence="s", edges=("diving",)),
    "diving": Room(name="diving", sentence="s"),
}
"""


@pytest.fixture(scope="module")
def rules():
    spec = importlib.util.spec_from_file_location("import_rules", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["import_rules"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["import_rules"]


@pytest.fixture
def faults(rules, tmp_path):
    """Return a function that tells the faults of a package with one more file."""

    def find(place, text):
        package = tmp_path / "tenfold"
        for name, content in {"registry.py": REGISTRY, place: text}.items():
            path = package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return rules.find_faults(package)

    return find


@pytest.mark.slow  # `make check` does the same
def test_the_source_of_this_project_has_no_faults(rules):
    assert rules.find_faults(rules.PACKAGE) == []


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("engine/run.py", "from tenfold.engine import files"),
        ("parts/__init__.py", "from tenfold.engine.run import Run\nimport tenfold.parts.nn"),
        ("rooms/lns/run.py", "from tenfold.parts.mip import scip\nfrom tenfold.rooms import lns"),
        ("rooms/lns/method.py", "from tenfold.rooms.diving.model import assign"),
        ("cli.py", "from tenfold.engine import run\nfrom tenfold.registry import ROOMS"),
        ("cli.py", "def main():\n    from tenfold.rooms.lns import cli"),
        ("cli.py", "if TYPE_CHECKING:\n    from tenfold.rooms.lns import cli"),
        ("engine/run.py", "import numpy as np\nimport tenfoldness"),
    ],
)
def test_imports_along_the_layers_are_right(faults, place, text):
    assert faults(place, text) == []


@pytest.mark.parametrize(
    ("place", "text", "fault"),
    [
        ("engine/run.py", "import tenfold.parts.nn", "engine imports tenfold.parts.nn"),
        ("engine/run.py", "from tenfold import registry", "engine imports tenfold.registry"),
        ("engine/run.py", "def f():\n    import tenfold.cli", "engine imports tenfold.cli"),
        ("engine/run.py", 'import_module("tenfold.cli")', "engine imports tenfold.cli"),
        ("parts/__init__.py", "from tenfold.rooms.lns import x", "parts imports tenfold.rooms.lns"),
        ("rooms/diving/run.py", "import tenfold.rooms.lns", "rooms.diving imports tenfold.rooms."),
        ("rooms/lns/run.py", "from tenfold import cli", "rooms.lns imports tenfold.cli"),
        ("cli.py", "from tenfold.rooms.lns import cli", "rest imports tenfold.rooms.lns.cli"),
        ("cli.py", "from tenfold.parts import nn", "rest imports tenfold.parts.nn"),
        ("rooms/lns/run.py", "from . import x", "relative import '..x' hides its layer"),
    ],
)
def test_an_import_across_the_layers_is_named_with_its_line(faults, place, text, fault):
    (found,) = faults(place, text)
    line = text.count("\n") + 1
    assert found.startswith(f"tenfold/{place}:{line}: ")
    assert fault in found


@pytest.mark.parametrize("word", ["policy", "REWARDS", "agent", "logits", "num_latents"])
def test_words_of_science_are_found_in_the_engine_only(faults, word):
    assert len(faults("engine/run.py", f"# {word}")) == 1
    assert faults("engine/run.py", "") == []
    assert faults("rooms/lns/run.py", f"# {word}") == []


def test_words_that_only_contain_a_word_of_science_are_left_alone(faults):
    assert faults("engine/run.py", "# policyholder, Content-Security-Policy, rewarding") == []


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("engine/utils.py", ""),
        ("rooms/lns/base/x.py", ""),
        ("engine/run.py", "class RunManager: ..."),
        ("engine/run.py", "def f():\n    class EventHandlers: ..."),
    ],
)
def test_names_that_say_nothing_are_found(faults, place, text):
    (found,) = faults(place, text)
    assert "does not say" in found


def test_a_part_names_its_rooms_in_the_first_line_of_itself_or_of_a_package_above(faults):
    (found,) = faults("parts/nn/norms.py", '"""Norms."""')
    assert "does not end with" in found
    assert faults("parts/nn/norms.py", '"""Norms (rooms lns, omni)."""\n') == []
    assert len(faults("parts/nn/norms.py", '"""Norms.\n\n(rooms lns)."""\n')) == 1
    assert faults("parts/nn/__init__.py", '"""Networks (arXiv:1; rooms lns).\n\nMore."""') == []


def test_a_part_may_not_name_a_room_that_does_not_exist(faults):
    (found,) = faults("parts/nn/norms.py", '"""Norms (rooms lns, lounge)."""')
    assert "'lounge'" in found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "exec('1')",
        "torch.save({}, path)",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trust)",
        "yaml.load(text)",
        "joblib.load(path)",
    ],
)
def test_calls_that_run_code_found_in_files_are_found(faults, text):
    (found,) = faults("rooms/lns/data.py", text)
    assert "code found in files" in found


@pytest.mark.parametrize(
    "text", ["module.eval()", "np.load(path, allow_pickle=False)", "# torch.load(path)"]
)
def test_harmless_calls_are_left_alone(faults, text):
    assert faults("rooms/lns/data.py", text) == []


def test_only_dictionary_files_may_be_unpickled_and_only_as_plain_tensors(faults):
    place, head = "parts/sae/formats/foreign.py", '"""Files (rooms scope)."""\nimport pickle\n'
    assert faults(place, f"{head}torch.load(path, weights_only=True)") == []
    assert len(faults(place, f"{head}torch.load(path)")) == 1
    assert len(faults(place, f"{head}torch.load(path, weights_only=False)")) == 1


def test_the_tool_prints_the_faults_and_exits_with_one(rules, tmp_path, capsys):
    (tmp_path / "registry.py").write_text(REGISTRY)
    assert rules.main([str(tmp_path)]) == 0
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "misc.py").write_text("")
    assert rules.main([str(tmp_path)]) == 1
    assert "engine/misc.py:1: a file called 'misc'" in capsys.readouterr().out
