"""Activations of a module run over data, streamed or written to disk (rooms jumprelu, scope).

The stores of all sites grow side by side, one forward pass for each batch. A shard ends only
together with a batch, and its cursor tells how many batches are done: a harvest killed at any
moment goes on exactly.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import quote

from torch import Tensor, nn

from tenfold.engine.config import Json, diff
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.files import read_json
from tenfold.engine.progress import Progress
from tenfold.engine.shards import Column, DType, Shards, ShardWriter, open_shards, open_writer
from tenfold.parts.sae.rows import Batch, Reading, Rows, keep_tokens, read_rows
from tenfold.parts.sae.sites import Site, name_sites

__all__ = ["Batch", "Batches", "Reading", "collect", "folder_name", "keep_tokens", "stream"]

Batches = Callable[[int], Iterator[Batch]]
_Read = Callable[..., dict[str, Rows]]

FEATURES = "x"
"""The column of the activations; the other columns are labels."""


@dataclasses.dataclass(kw_only=True)
class _Store:
    """The rows of one site on their way to disk."""

    writer: ShardWriter
    labels: tuple[str, ...]
    limit: int
    batches: int
    outliers: int
    row_bytes: int

    @property
    def is_full(self) -> bool:
        return self.writer.num_rows >= self.limit

    @property
    def num_bytes(self) -> int:
        return self.writer.num_rows * self.row_bytes


def stream(
    module: nn.Module,
    sites: str | Site | Iterable[str | Site],
    batches: Iterable[Batch],
    *,
    reading: Reading | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Yield for each batch the kept rows [n, D] of every site.

    The first batch runs through the whole module, to make sure that each site is passed once;
    later ones leave it after the last site. The mode of the module is not changed: call
    `module.eval()` before, unless dropout is wanted.

    Raises:
        TenfoldError: as `taps.capture`; for a mask that does not fit; for a value that is not
            finite, with its site, batch and position.
    """
    named = name_sites(module, sites)
    read = partial(read_rows, module, _texts(named), reading=reading or Reading())
    for number, batch in enumerate(batches):
        rows = read(batch, number=number, whole=number == 0)
        yield {name: rows[str(site)].x for name, site in named.items()}


def collect(
    module: nn.Module,
    sites: str | Site | Iterable[str | Site],
    batches: Batches,
    *,
    folder: Path,
    dtype: Literal["float32", "bfloat16"] = "float32",
    max_rows: int = 0,
    max_gb: float = 0.0,
    rows_per_shard: int = 262_144,
    labels: Sequence[str] | None = None,
    reading: Reading | None = None,
    meta: Json | None = None,
    check_stop: Callable[[], None] = lambda: None,
    quiet: bool = False,
) -> dict[str, Shards]:
    """Write the rows of every site to a store of its own, and open the stores.

    A killed or stopped harvest goes on from its last complete shards when called again with
    the same arguments, and ends with the rows it would have had; a finished one is opened.

    Args:
        module: left in its mode; call `module.eval()` before, or it will not go on exactly.
        sites: as for `taps.capture`, whose names the result has.
        batches: gives the batches from the one with this number on, always the same ones.
        folder: gets a folder for each site, called `folder_name(site)`.
        dtype: how the column "x" is stored.
        max_rows: rows of each site at the most; 0 is no limit.
        max_gb: size of all sites together at the most, in 1e9 bytes; 0 is no limit.
        rows_per_shard: rows of a shard at the least; what a kill can cost.
        labels: which labels of the batches become columns; None takes all.
        reading: how the module is run and which rows are taken.
        meta: what else identifies the rows, such as digests of module and data. A harvest
            begun with other settings is not gone on with.
        check_stop: called before each batch; may raise to stop.
        quiet: show no progress.

    Raises:
        TenfoldError: as `stream`; for stores of other settings; if no row was kept.
    """
    if dtype not in ("float32", "bfloat16"):
        raise TenfoldError(f"activations are stored as float32 or bfloat16, not as {dtype!r}")
    reading = reading or Reading()
    named = name_sites(module, sites)
    paths = {name: folder / folder_name(name) for name in _texts(named)}
    settings: Json = {"dtype": dtype, "calls": reading.calls, "norm_limit": reading.norm_limit}
    settings |= {
        "max_rows": max_rows,
        "max_gb": max_gb,
        "max_gb_for": list(paths) if max_gb else [],
    }
    metas = {name: {"site": name, "of": meta or {}} | settings for name in paths}
    todo = [name for name, path in paths.items() if not _is_finished(path, metas[name])]
    if todo:
        read = partial(read_rows, module, list(paths), reading=reading)
        columns = _columns(read, batches, dtype=dtype, labels=labels)
        limit = _row_limit(columns.values(), max_rows=max_rows, max_gb=max_gb)
        writers = {
            name: open_writer(
                paths[name], columns[name], rows_per_shard=rows_per_shard, meta=metas[name]
            )
            for name in todo
        }
        stores = {name: _store(writer, columns[name], limit) for name, writer in writers.items()}
        with Progress("harvest", max_rows, quiet=quiet) as progress:
            _fill(stores, read, batches, check_stop=check_stop, progress=progress)
    return {name: open_shards(paths[str(site)]) for name, site in named.items()}


def folder_name(site: str) -> str:
    """Return the name of a site's folder; different sites never share one.

    >>> folder_name("blocks.3.attn.out:in[0]")
    'blocks.3.attn.out+in+0'
    """
    parts = site.replace("]", "").replace("[", ":").split(":")
    return "+".join(quote(part, safe="@,-") for part in parts)


def _texts(named: Mapping[str, Site]) -> list[str]:
    return list(dict.fromkeys(map(str, named.values())))


def _is_finished(path: Path, meta: Json) -> bool:
    """Say whether there is a finished store at `path`, which must be of these settings."""
    index = path / "index.json"
    if not index.exists() or not read_json(index)["finished"]:
        return False
    found = open_shards(path).meta
    changes = diff({name: found.get(name) for name in meta}, meta)
    if changes:
        raise TenfoldError(
            f"{path} was harvested differently ({'; '.join(map(str, changes))}); use the same "
            "settings, or another folder"
        )
    return True


def _columns(
    read: _Read, batches: Batches, *, dtype: DType, labels: Sequence[str] | None
) -> dict[str, list[Column]]:
    """Find the columns of each site from the first batch."""
    first = next(iter(batches(0)), None)
    if first is None:
        raise TenfoldError("nothing to harvest: there is no batch 0; give at least one batch")
    chosen = tuple(first.labels if labels is None else labels)
    if FEATURES in chosen:
        raise TenfoldError(f"a label is called {FEATURES!r} like the features; rename it")
    columns = {}
    for name, rows in read(first, number=0, whole=True).items():
        columns[name] = [Column(name=FEATURES, dtype=dtype, shape=tuple(rows.x.shape[1:]))]
        for label, values in _pick(rows.labels, chosen).items():
            columns[name].append(Column(name=label, dtype=_type_name(label, values)))
    return columns


def _pick(labels: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    for name in names:
        if name not in labels:
            raise unknown_name("label of the batch", name, labels)
    return {name: labels[name] for name in names}


def _type_name(label: str, values: Tensor) -> DType:
    text = str(values.dtype).removeprefix("torch.")
    if text not in get_args(DType):
        raise TenfoldError(f"label {label!r} is {text}; convert it to one of {get_args(DType)}")
    return cast(DType, text)


def _row_limit(columns: Iterable[Sequence[Column]], *, max_rows: int, max_gb: float) -> int:
    """Return the rows of each site that both limits allow."""
    limit = max_rows or sys.maxsize
    if not max_gb:
        return limit
    row_bytes = sum(column.row_bytes for site in columns for column in site)
    affordable = int(max_gb * 1e9 / row_bytes)
    if not affordable:
        raise TenfoldError(
            f"max_gb {max_gb} holds no row: one row of all sites takes {row_bytes} bytes"
        )
    return min(limit, affordable)


def _store(writer: ShardWriter, columns: Sequence[Column], limit: int) -> _Store:
    cursor = writer.cursor or {"batches": 0, "outliers": 0}
    labels = tuple(column.name for column in columns if column.name != FEATURES)
    row_bytes = sum(column.row_bytes for column in columns)
    return _Store(writer=writer, labels=labels, limit=limit, row_bytes=row_bytes, **cursor)


def _fill(
    stores: Mapping[str, _Store],
    read: _Read,
    batches: Batches,
    *,
    check_stop: Callable[[], None],
    progress: Progress,
) -> None:
    """Read batches until all stores are full or the data ends, and finish the stores."""
    # Each store has its own last shard; the one furthest behind says where to go on.
    start = min(store.batches for store in stores.values())
    for number, batch in enumerate(batches(start), start):
        if all(store.is_full for store in stores.values()):
            break
        check_stop()
        rows = read(batch, number=number, whole=False)
        for name, store in stores.items():
            _add(store, rows[name], number=number)
        progress.update(
            min(store.writer.num_rows for store in stores.values()),
            GB=sum(store.num_bytes for store in stores.values()) / 1e9,
        )
    for name, store in stores.items():
        if not store.writer.num_rows:
            raise TenfoldError(
                f"no row of {name!r} was kept in {store.batches} batches; do the masks drop all?"
            )
        store.writer.finish({"batches": store.batches, "outliers": store.outliers})


def _add(store: _Store, rows: Rows, *, number: int) -> None:
    if number < store.batches or store.is_full:
        return
    room = store.limit - store.writer.num_rows
    labels = {name: values[:room] for name, values in _pick(rows.labels, store.labels).items()}
    store.writer.append(**{FEATURES: rows.x[:room]}, **labels)
    store.batches = number + 1
    store.outliers += rows.outliers
    store.writer.commit({"batches": store.batches, "outliers": store.outliers})
