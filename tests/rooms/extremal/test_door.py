"""The room's door: its names are functions, whatever was imported before."""

import subprocess
import sys

import pytest

USED = """
problem = extremal.Problem(nodes=5)
graph = extremal.construct("cycle:5")
for _ in range(2):
    assert extremal.search.__name__ == "search" and callable(extremal.search)
    assert extremal.verify(graph, problem).edges == 5
    assert callable(extremal.amalgam)
"""


@pytest.mark.parametrize(
    "before",
    [
        "from tenfold import extremal",
        "import tenfold.rooms.extremal as extremal",
        "import tenfold.rooms.extremal.search, tenfold.rooms.extremal.verify\n"
        "from tenfold import extremal",
        "from tenfold.rooms.extremal.search import search\nfrom tenfold import extremal",
        "from importlib import import_module\n"
        "module = import_module('tenfold.rooms.extremal.amalgam')\n"
        "assert callable(module.semiplane)\n"
        "from tenfold import extremal",
    ],
)
def test_names_are_functions_in_any_order_of_imports(before):
    subprocess.run([sys.executable, "-c", before + USED], check=True)
