"""Does a hunt beat deleting nodes from the best structured graph? A row for each size.

    python bench/extremal/deletion_floor.py ARCHIVE --from 204 --to 260

Every whole amalgam in an elliptic semiplane with FROM to TO + ABOVE nodes is filled around its
base (ILS, FLIPS flips, restarts), and nodes of least degree are deleted from each one by one. The
largest number of edges that this leaves at n is what a ladder must beat to be worth its time.
"""

import argparse
from pathlib import Path

import numpy as np

from tenfold.rooms.extremal import local
from tenfold.rooms.extremal.amalgam import amalgams_near
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.graph import induced
from tenfold.rooms.extremal.problem import Problem, open_problem
from tenfold.rooms.extremal.starts import Cut, build, open_around


def fill(plan, flips):
    base = build(Cut(plan, plan.nodes))
    opened = open_around(base, open_problem(Problem(nodes=base.nodes)))
    chain = local.new_chain(opened, base, seed=0, patience=30_000)
    local.run("ils", chain, flips)
    return local.best_graph(chain, opened)


def deletions(graph, least):
    """Yield number of nodes and of edges while nodes of least degree are deleted."""
    while graph.nodes >= least:
        yield graph.nodes, graph.size
        worst = int(graph.degrees().argmin())
        graph = induced(graph, np.delete(np.arange(graph.nodes), worst))


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("archive", type=Path)
    words.add_argument("--from", dest="first", type=int, default=204)
    words.add_argument("--to", dest="last", type=int, default=260)
    words.add_argument("--above", type=int, default=40)
    words.add_argument("--flips", type=int, default=300_000)
    told = words.parse_args()
    archive = Archive(told.archive)
    floor = {}
    for plan in amalgams_near(told.first, above=told.last - told.first + told.above):
        if plan.points - plan.lines > 3:
            continue  # far fewer edges than balanced ones of as many nodes
        filled = fill(plan, told.flips)
        for nodes, edges in deletions(filled, told.first):
            if edges > floor.get(nodes, (0, ""))[0]:
                floor[nodes] = (edges, f"{plan.name}, {filled.size} edges")
    sizes = [n for n in range(told.first, told.last + 1) if n in floor]
    beaten = sum(archive.edges(n) > floor[n][0] for n in sizes)
    print("nodes  ours  deletion  from")
    for n in sizes:
        print(f"{n:5}  {archive.edges(n):4}  {floor[n][0]:8}  {floor[n][1]}")
    print(f"above the deletion at {beaten} of {len(sizes)} sizes")


if __name__ == "__main__":
    main()
