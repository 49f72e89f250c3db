"""Nodes at which the expert was asked: in memory, and as one shard for each instance on disk.

Edges rarely change between the nodes of one search, so a shard keeps each set of edges once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from tenfold.engine.config import Json
from tenfold.engine.errors import TenfoldError
from tenfold.engine.files import read_json, write_bytes, write_json
from tenfold.parts.mip import features
from tenfold.parts.mip.features import Encoded

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """One node: what a network sees and what the expert said."""

    graph: Encoded
    candidates: NDArray[np.int64]
    """[c], columns of the graph."""
    scores: NDArray[np.float64]
    """[c], of full strong branching."""
    depth: int
    """Of the node in its tree."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """The nodes of one instance, in the order in which they were met."""

    samples: tuple[Sample, ...]
    digest: str
    """Of the instance."""
    source: Json
    """How they were made: solver with version, limits, seed, expert, round, what was spent."""


def keep(graph: Encoded, before: Sequence[Sample] = ()) -> Encoded:
    """Return a copy of a graph whose arrays will be overwritten.

    Args:
        graph: as a reader told it.
        before: samples kept so far; edges equal to the last one's are shared with it.
    """
    last = before[-1].graph if before else None
    if last is not None and _same_edges(last, graph):
        edges = {name: getattr(last, name) for name in _EDGES}
    else:
        edges = {name: getattr(graph, name).copy() for name in _EDGES}
    return replace(graph, columns=graph.columns.copy(), rows=graph.rows.copy(), **edges)


_EDGES = ("edge_rows", "edge_columns", "edges", "places")


def _same_edges(one: Encoded, two: Encoded) -> bool:
    return len(one.rows) == len(two.rows) and all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in _EDGES
    )


# Files


def write_samples(samples: Samples, path: Path) -> None:
    """Write PATH.safetensors and PATH.json, the latter last: with it, the shard is whole."""
    arrays: dict[str, NDArray[np.generic]] = {}
    known: list[Encoded] = []
    rows: list[Json] = []
    for k, sample in enumerate(samples.samples):
        graph = sample.graph
        if not known or known[-1].edges is not graph.edges:
            known.append(graph)
            for name in _EDGES:
                array = getattr(graph, name)
                narrow = array if name == "edges" else array.astype(np.int32)
                arrays[f"edges/{len(known) - 1}/{name}"] = np.ascontiguousarray(narrow)
        arrays[f"node/{k}/columns"] = np.ascontiguousarray(graph.columns)
        arrays[f"node/{k}/rows"] = np.ascontiguousarray(graph.rows)
        arrays[f"node/{k}/candidates"] = sample.candidates.astype(np.int32)
        arrays[f"node/{k}/scores"] = np.ascontiguousarray(sample.scores)
        rows.append({"edges": len(known) - 1, "depth": sample.depth})
    write_bytes(path.with_suffix(".safetensors"), save(arrays))
    told: Json = {
        "schema": SCHEMA,
        "features": features.SCHEMA,
        "digest": samples.digest,
        "source": samples.source,
        "nodes": rows,
    }
    write_json(path.with_suffix(".json"), told)


def read_samples(path: Path) -> Samples:
    """Read a shard.

    Raises:
        TenfoldError: if it cannot be read, is of another version, or its features mean something
            else now.
    """
    try:
        told = read_json(path.with_suffix(".json"))
        arrays = load_file(path.with_suffix(".safetensors"))
    except (OSError, ValueError, SafetensorError) as error:
        raise TenfoldError(f"{path} cannot be read ({error}); collect it again") from None
    for name, known in (("schema", SCHEMA), ("features", features.SCHEMA)):
        if told.get(name) != known:
            raise TenfoldError(
                f"{path} has {name} {told.get(name)!r}, this version reads {known}; collect again"
            )
    edges: dict[int, dict[str, NDArray[np.generic]]] = {}
    for row in told["nodes"]:
        number = row["edges"]
        if number not in edges:
            edges[number] = {
                name: _widened(arrays[f"edges/{number}/{name}"]) for name in _EDGES
            }  # fmt: skip
    found = (
        Sample(
            graph=Encoded(
                columns=arrays[f"node/{k}/columns"],
                rows=arrays[f"node/{k}/rows"],
                **edges[row["edges"]],  # type: ignore[arg-type]
            ),
            candidates=arrays[f"node/{k}/candidates"].astype(np.int64),
            scores=arrays[f"node/{k}/scores"],
            depth=int(row["depth"]),
        )
        for k, row in enumerate(told["nodes"])
    )
    return Samples(samples=tuple(found), digest=told["digest"], source=told["source"])


def _widened(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array.astype(np.int64) if array.dtype == np.int32 else array
