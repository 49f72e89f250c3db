"""What the verbs are told that make no run; nothing here imports torch, numba or SciPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from tenfold.rooms.extremal.config import Asked, Kept, MethodName, Rule
from tenfold.rooms.extremal.problem import Problem

FormatName = Literal["g6", "s6", "edges", "adjacency", "dimacs"]
Words = tyro.conf.Positional[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Construct:
    """Build a graph that is known by name."""

    name: tyro.conf.Positional[str]
    """Such as petersen, hoffman-singleton, cage:6, polarity:7 or amalgam:C,q=9,k=9,l=9."""
    out: str = ""
    """File to write; empty: none, the graph6 text is printed."""
    format: FormatName = "s6"
    """What to write."""


@dataclass(frozen=True, kw_only=True)
class Lift:
    """Look for a Cayley graph of a group, or for a lift of a small graph over it."""

    group: tyro.conf.Positional[str]
    """Such as Z12, D7, Z29:Z7 or Z3xZ3."""
    base: str = ""
    """Graph to lift: bouquet:R, dipole:R, dumbbell:R or a graph's name; empty: Cayley graphs."""
    forbid: str = "C3,C4"
    """C3 to C8, girth5 (all shorter cycles), K2_t; several with commas."""
    degree: int = 0
    """Degree at which a search for Cayley graphs stops; 0: none."""
    tries: int = 100
    """Restarts."""
    seed: int = 0
    """Of the random choices."""
    archive: str = ""
    """Folder that gets the graph; empty: none."""
    out: str = ""
    """File to write; empty: none, the graph6 text is printed."""
    format: FormatName = "s6"
    """What to write."""

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"tries ({self.tries}) must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Polish:
    """Search on from each graph of a file."""

    file: tyro.conf.Positional[str]
    """Graphs as graph6, sparse6, edges, a matrix or DIMACS."""
    rule: Kept = field(default_factory=Rule)
    """What the graphs must keep to."""
    method: MethodName = "auto"
    """Local search; auto is iterated local search (ils)."""
    minutes: float = 0.5
    """For each graph, if `flips` is 0."""
    flips: int = 0
    """For each graph; then the result depends on the options alone."""
    chains: int = 2
    """Searches side by side on a graph."""
    seed: int = 0
    """Names the random numbers."""
    archive: str = ""
    """Folder that gets every improvement; empty: none."""
    out: str = ""
    """File for the polished graphs; empty: none."""
    format: FormatName = "s6"
    """What to write."""


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check every graph of a file by code that shares nothing with the searches."""

    file: tyro.conf.Positional[str]
    """Graphs as graph6, sparse6, edges, a matrix or DIMACS; or g6:... itself."""
    rule: Kept = field(default_factory=Rule)
    """What the graphs must keep to."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """Show what an archive has beside what is known."""

    archive: tyro.conf.Positional[str]
    """Folder of the archive."""
    first: Annotated[int, tyro.conf.arg(name="from")] = 0
    """Fewest nodes; 0: as in the archive."""
    last: Annotated[int, tyro.conf.arg(name="to")] = 0
    """Most nodes; 0: as in the archive."""
    table: str = ""
    """A CSV file of your own (nodes, lower, upper, source), laid over ours."""
    out: str = ""
    """CSV file to write; empty: none."""
    skip_broken: bool = False
    """Go on although lines of the archive are broken; they are left out."""


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Count graphs up to isomorphism, with the orders of their automorphism groups."""

    source: tyro.conf.Positional[str]
    """Folder of an archive, or a file of graphs."""
    nodes: int = 0
    """Only this number of nodes; 0: all."""
    skip_broken: bool = False
    """Go on although lines of the archive are broken; they are left out."""
    out: str = ""
    """File for one graph of each class; empty: none."""
    format: FormatName = "s6"
    """What to write."""


@dataclass(frozen=True, kw_only=True)
class BoundOf:
    """Show the proven upper bound on the number of edges, and the rule that gives it."""

    problem: Asked = field(default_factory=Problem)
    """What is asked."""
    last: Annotated[int, tyro.conf.arg(name="to")] = 0
    """Show all sizes from `nodes` to this one; 0: no other size."""


@dataclass(frozen=True, kw_only=True)
class ExactOf:
    """Find the best graph between frozen edges and host, with a proof if time suffices."""

    problem: Asked = field(default_factory=Problem)
    """What is asked; an amalgam brings nodes, host and frozen edges itself."""
    amalgam: str = ""
    """An amalgam to fill, such as amalgam:C,q=5,k=5,l=5; empty: the problem as it is."""
    solver: Literal["auto", "cpsat", "highs"] = "auto"
    """CP-SAT (extra exact) or HiGHS, which is always there; auto: CP-SAT if installed."""
    seconds: float = 60.0
    """Time limit."""
    threads: int = 2
    """Threads of CP-SAT."""
    seed: int = 0
    """Of the solver."""
    archive: str = ""
    """Folder that gets the graph; empty: none."""
    out: str = ""
    """File to write; empty: none, the graph6 text is printed."""
    format: FormatName = "s6"
    """What to write."""

    def __post_init__(self) -> None:
        names = ("host", "frozen", "group", "max_degree", "min_degree")
        asked = [name for name in names if getattr(self.problem, name)]
        if self.amalgam and asked:
            raise ValueError(
                f"an amalgam is filled without {', '.join(asked)}; leave that out, or give the "
                "problem without --amalgam"
            )


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Show an archive, merge others into it, or write its graphs to a file."""

    do: tyro.conf.Positional[Literal["show", "merge", "export"]]
    """What to do."""
    archive: tyro.conf.Positional[str]
    """Folder of the archive."""
    others: Words = ()
    """For merge: archives, or files of graphs of your own."""
    out: str = ""
    """For export: file to write; a table (.csv) lies beside it."""
    format: Literal["g6", "s6", "edges", "adjacency", "dimacs", "csv", "md"] = "s6"
    """For export: what to write; csv and md are the table alone."""
    every: bool = False
    """For export: every kept graph, not only the first of each size."""
    by: str = ""
    """For merge of files: who found the graphs."""
    skip_broken: bool = False
    """Go on although lines of the archive are broken; they are left out."""

    def __post_init__(self) -> None:
        if self.do == "merge" and not self.others:
            raise ValueError("merge takes what to merge: name archives or files of graphs")
        if self.do != "merge" and self.others:
            raise ValueError(f"{self.do} takes one archive; leave {' '.join(self.others)} out")
        if self.do == "export" and not self.out:
            raise ValueError("export needs a file to write; give --out FILE")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Draw a graph as a page that shows its symmetry."""

    file: tyro.conf.Positional[str]
    """A file of graphs, g6:..., or a graph's name."""
    out: str = "graph.html"
    """Page to write."""
    number: int = 1
    """Which graph of the file, from 1."""
    title: str = ""
    """Heading; empty: nodes and edges."""
    rule: Kept = field(default_factory=Rule)
    """What its certificate says it keeps to."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a page about a run or an archive anew."""

    run: tyro.conf.Positional[str]
    """Run (path or name) or folder of an archive; report.html is written into it."""
    light: bool = False
    """Without scripts, for mail and pull requests."""
