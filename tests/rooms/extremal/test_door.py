"""The room's door: its names are functions, whatever was imported before."""

import subprocess
import sys

import pytest

USED = """
problem = extremal.Problem(nodes=5)
found = extremal.search(problem, flips=500)
found = extremal.search(problem, flips=500)
assert found.edges == 5
assert extremal.verify(found.graph, problem).edges == 5
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
