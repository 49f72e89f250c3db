"""What is done without a run: construct, lift, polish, verify, count, bound, solve, draw."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import write_text
from tenfold.engine.progress import Progress, say
from tenfold.rooms.extremal.amalgam import open_amalgam, read_amalgam
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.bounds import is_restricted, known, published, upper_bound
from tenfold.rooms.extremal.canonical import Canon, canonical_form
from tenfold.rooms.extremal.codecs import (
    Format,
    decode_graph,
    encode_graph6,
    read_graphs,
    write_graphs,
)
from tenfold.rooms.extremal.graph import Graph
from tenfold.rooms.extremal.groups import read_action
from tenfold.rooms.extremal.named import construct
from tenfold.rooms.extremal.openings import check_start
from tenfold.rooms.extremal.problem import Opened, Problem, open_problem, resize
from tenfold.rooms.extremal.search import search
from tenfold.rooms.extremal.shelving import open_archive
from tenfold.rooms.extremal.verify import find_faults, girth_of, verify

if TYPE_CHECKING:
    from tenfold.rooms.extremal import tools_config as told
    from tenfold.rooms.extremal.programs import Solver


def build_named(cfg: told.Construct) -> Json:
    """Build a graph by name and tell its figures."""
    graph = construct(cfg.name)
    return describe(graph) | deliver([graph], out=cfg.out, format=cfg.format)


def describe(graph: Graph) -> Json:
    """Return the figures of a graph: size, girth, degrees, order of its group."""
    degrees = Counter(graph.degrees().tolist())
    return {
        "nodes": graph.nodes,
        "edges": graph.size,
        "girth": girth_of(graph) or None,
        "degrees": " ".join(f"{degree}^{count}" for degree, count in sorted(degrees.items())),
        "automorphisms": canonical_form(graph).group_order or None,
    }


def deliver(graphs: Sequence[Graph], *, out: str, format: Format) -> Json:
    """Write graphs to a file, or give the first as graph6 if none is named."""
    if out:
        write_graphs(Path(out), graphs, format=format)
        return {"file": out}
    return {"graph6": encode_graph6(graphs[0])} if graphs else {}


def lift(cfg: told.Lift) -> Json:
    """Look for a Cayley graph or a lift, certify it and keep it."""
    from tenfold.rooms.extremal.groups import read_group
    from tenfold.rooms.extremal.lifts import read_base, search_cayley, search_lift

    group = read_group(cfg.group)
    if cfg.base:
        base = read_base(cfg.base)
        found = search_lift(base, group, forbid=cfg.forbid, tries=cfg.tries, seed=cfg.seed)
    else:
        found = search_cayley(
            group, forbid=cfg.forbid, degree=cfg.degree, tries=cfg.tries, seed=cfg.seed
        )
    problem = Problem(nodes=found.graph.nodes, forbid=cfg.forbid)
    certificate = verify(found.graph, problem)
    if cfg.archive:
        archive = Archive(Path(cfg.archive), problem)
        archive.put(found.graph, method="lift", start=found.text, seed=cfg.seed)
    return {
        "nodes": found.graph.nodes,
        "edges": found.graph.size,
        "choice": found.text,
        "certificate": certificate.line(),
    } | deliver([found.graph], out=cfg.out, format=cfg.format)


def polish(cfg: told.Polish, *, quiet: bool = False) -> Json:
    """Search on from each graph of a file and tell what was gained."""
    graphs = read_graphs(Path(cfg.file))
    problems = [cfg.rule.problem(graph.nodes) for graph in graphs]
    for number, (graph, problem) in enumerate(zip(graphs, problems, strict=True), start=1):
        check_start(graph, problem, name=f"{cfg.file} graph {number}")
    archive = Archive(Path(cfg.archive), problems[0]) if cfg.archive else None
    rows, polished = [], []
    with Progress("extremal polish", len(graphs), quiet=quiet) as progress:
        for number, (graph, problem) in enumerate(zip(graphs, problems, strict=True), start=1):
            found = search(
                problem, minutes=cfg.minutes, flips=cfg.flips, seed=cfg.seed, method=cfg.method,
                start=graph, archive=archive, chains=cfg.chains,
            )  # fmt: skip
            polished.append(found.graph)
            rows.append(
                {"graph": number, "nodes": graph.nodes, "edges": found.edges,
                 "gained": found.edges - graph.size, "optimal": found.optimal}
            )  # fmt: skip
            progress.update(number, gained=sum(row["gained"] for row in rows))
    return {"graphs": rows} | deliver(polished, out=cfg.out, format=cfg.format)


def check_file(cfg: told.Verify) -> list[Json]:
    """Check every graph of a file; return its certificate or its faults."""
    rows = []
    for number, graph in enumerate(_graphs_in(cfg.file), start=1):
        problem = cfg.rule.problem(graph.nodes)
        faults = find_faults(graph, problem)
        told = "; ".join(faults) or verify(graph, problem).line()
        rows.append({"graph": number, "fits": not faults, "certificate or faults": told})
    return rows


def _graphs_in(text: str) -> list[Graph]:
    """Return the graph that "g6:..." spells, or those of a file."""
    if text.startswith("g6:"):
        return [decode_graph(text.removeprefix("g6:"))]
    return read_graphs(text)


def count_classes(cfg: told.Classes) -> Json:
    """Count graphs up to isomorphism in an archive or a file."""
    graphs, forbid = _graphs_of(Path(cfg.source), skip_broken=cfg.skip_broken)
    chosen = [graph for graph in graphs if cfg.nodes in (0, graph.nodes)]
    groups: dict[tuple[int, int], dict[str, tuple[Graph, Canon]]] = {}
    for graph in chosen:
        canon = canonical_form(graph)
        place = groups.setdefault((graph.nodes, -graph.size), {})
        place.setdefault(canon.digest, (graph, canon))
    table = known(forbid) if forbid else {}
    rows = []
    for (nodes, minus), found in sorted(groups.items()):
        listed = table.get(nodes)
        rows.append(
            {
                "nodes": nodes,
                "edges": -minus,
                "classes": len(found),
                "known": listed.classes if listed and listed.lower == -minus else None,
                "group orders": _tally([canon.group_order for _, canon in found.values()]),
            }
        )
    kept = [graph for found in groups.values() for graph, _ in found.values()]
    written = deliver(kept, out=cfg.out, format=cfg.format) if cfg.out else {}
    return {"graphs": len(chosen), "sizes": rows} | written


def _graphs_of(source: Path, *, skip_broken: bool) -> tuple[list[Graph], str]:
    """Return the graphs of an archive or file, and what an archive forbids if no more is asked."""
    if not source.is_dir():
        return read_graphs(source), ""
    archive = open_archive(str(source), skip_broken=skip_broken)
    graphs = [find.graph for nodes in archive.nodes() for find in archive.finds(nodes)]
    return graphs, "" if is_restricted(archive.problem) else archive.problem.forbid


def _tally(orders: list[int]) -> str:
    """Write each order and how often it comes, such as "1^4 2^2"."""
    counts = {order: orders.count(order) for order in sorted(orders)}
    return " ".join(f"{order or '?'}^{count}" for order, count in counts.items())


def show_bounds(cfg: told.BoundOf) -> list[Json]:
    """Return the upper bound of a size, or of all sizes up to another."""
    nodes = cfg.problem.nodes
    if cfg.last and cfg.last < nodes:
        raise TenfoldError(f"to is {cfg.last}, below the {nodes} nodes to begin with; raise it")
    table = published(cfg.problem)
    rows = []
    for size in range(nodes, max(cfg.last, nodes) + 1):
        bound = upper_bound(resize(cfg.problem, size))
        listed = table.get(size)
        lower = listed.lower if listed else None
        rows.append({"nodes": size, "upper": bound.value, "rule": bound.rule, "known": lower})
    return rows


def solve(cfg: told.ExactOf) -> Json:
    """Find the best graph between frozen edges and host by an integer program."""
    from tenfold.rooms.extremal.exact import solve_exact

    opened = _opened(cfg)
    problem, group = cfg.problem, cfg.problem.group
    if cfg.amalgam:  # what is found need not be known as one that has the amalgam
        problem = Problem(nodes=opened.problem.nodes, forbid=opened.problem.forbid)
    archive = Archive(Path(cfg.archive), problem) if cfg.archive else None
    found = solve_exact(
        opened,
        seconds=cfg.seconds,
        solver=choose_solver(cfg.solver),
        workers=cfg.threads,
        action=read_action(group, problem.nodes) if group else None,
        seed=cfg.seed,
    )
    told: Json = {
        "status": found.status,
        "edges": found.graph.size if found.graph else None,
        "bound": found.bound,
        "rows": found.rows,
        "seconds": round(found.seconds, 2),
    }
    if found.graph is None:
        return told
    told["certificate"] = verify(found.graph, opened.problem).line()
    told |= deliver([found.graph], out=cfg.out, format=cfg.format)
    if archive is not None:
        archive.put(found.graph, method="exact", start=cfg.amalgam or "empty", seed=cfg.seed)
    return told


def _opened(cfg: told.ExactOf) -> Opened:
    if cfg.amalgam:
        return open_amalgam(read_amalgam(cfg.amalgam), cfg.problem.forbid)
    return open_problem(cfg.problem)


def choose_solver(name: str) -> Solver:
    """Resolve `auto`: CP-SAT if OR-tools is installed, else HiGHS."""
    if name == "auto":
        return "cpsat" if importlib.util.find_spec("ortools") else "highs"
    return "cpsat" if name == "cpsat" else "highs"


def draw(cfg: told.Draw) -> Json:
    """Write a page with a picture of a graph."""
    from tenfold.rooms.extremal.draw import draw_graph

    graph = _one_graph(cfg.file, cfg.number)
    problem = cfg.rule.problem(graph.nodes)
    faults = "; ".join(find_faults(graph, problem))
    if faults:
        say(f"tenfold: the graph is drawn, but {faults}")
    certificate = None if faults else verify(graph, problem)
    write_text(Path(cfg.out), draw_graph(graph, certificate=certificate, title=cfg.title))
    return {
        "page": cfg.out, "nodes": graph.nodes, "edges": graph.size, "faults": faults or None,
    }  # fmt: skip


def _one_graph(text: str, number: int) -> Graph:
    if text.startswith("g6:"):
        return decode_graph(text.removeprefix("g6:"))
    if not Path(text).is_file():
        return construct(text)
    graphs = read_graphs(Path(text))
    if not 1 <= number <= len(graphs):
        raise TenfoldError(f"{text} has {len(graphs)} graphs, none of number {number}")
    return graphs[number - 1]
