"""From a network and its data to a store of activations, all sites in one forward pass.

Each row knows the item (window of text, picture) that it came from, and rows of texts their
place and token too. A harvest that was killed, stopped or met a full disk goes on when it is
called again, and ends with the same bytes.
"""

# B items of a batch, T positions of a text, D width of a site

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tenfold.engine import files
from tenfold.engine.config import encode
from tenfold.engine.errors import TenfoldError
from tenfold.engine.shards import Column, Shards, open_writer
from tenfold.parts.sae.harvest import collect
from tenfold.parts.sae.hooks import spread_mask
from tenfold.parts.sae.rows import Batch, Reading, moved
from tenfold.parts.sae.specimen import Specimen, Split
from tenfold.parts.sae.taps import capture
from tenfold.rooms.scope import config
from tenfold.rooms.scope.places import find_names, proposed_sites
from tenfold.rooms.scope.store import (
    CAPTIONS,
    CORPUS,
    STORE,
    UNEMBEDDING,
    VOCABULARY,
    SiteFacts,
    Store,
    StoreFacts,
    open_store,
    write_facts,
)

ROWS_PER_SHARD = 65_536
"""Rows of a shard at the least: what a kill can cost."""
MOST_SHARDS = 4_096
"""Shards of a long harvest hold more rows, so that there are about so many."""
MARGIN = 1.1
"""Room left for corpora whose later items hold fewer kept rows than the first ones."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the first batch shows of one site."""

    width: int
    """D."""
    grid: tuple[int, ...]
    """Shape of the positions of one item."""
    rows: int
    """Kept rows of the first batch."""


def harvest(
    specimen: Specimen,
    cfg: config.Harvest,
    *,
    folder: Path,
    check_stop: Callable[[], None] = lambda: None,
    quiet: bool = False,
) -> Store:
    """Write the activations of `cfg.sites` into `folder`, and what they were taken from.

    A finished store is only opened, an unfinished one is gone on with.

    Args:
        specimen: the network and its data; the training split is read.
        cfg: sites, rows of each, type and size on disk.
        folder: made if it is not there.
        check_stop: called before each batch; may raise to stop.
        quiet: show no progress.

    Raises:
        TenfoldError: for an unknown site, with the nearest names; for a value that is not
            finite, with its site, batch and position; if the disk is full (what is finished
            stays); if the folder holds another harvest.
    """
    sites = find_names(specimen, cfg.sites) if cfg.sites else proposed_sites(specimen)
    if (folder / STORE).exists():
        return _reopened(specimen, cfg, sites, folder=folder)
    looks = look(specimen, sites)
    _refuse_torn_items(cfg, looks, shows=specimen.shows)
    with _full_disk_told(folder):
        rows = collect(
            specimen.module,
            sites,
            labelled(specimen, "train"),
            folder=folder,
            dtype=cfg.dtype,
            max_rows=cfg.tokens,
            max_gb=_room_for_rows(specimen, cfg, looks),
            rows_per_shard=max(ROWS_PER_SHARD, cfg.tokens // MOST_SHARDS),
            labels=["item", "place", "token"] if specimen.shows == "text" else ["item"],
            reading=Reading(forward=specimen.run, norm_limit=cfg.norm_limit),
            meta={
                "model": specimen.name,
                "identity": specimen.identity,
                "batch_size": specimen.batch_size,
            },
            check_stop=check_stop,
            quiet=quiet,
        )
        items = 1 + max(map(_last_item, rows.values()))
        _write_surroundings(specimen, folder, items=items, check_stop=check_stop)
        write_facts(folder, _facts(specimen, cfg, rows, looks, items=items))
    return open_store(folder)


def _reopened(
    specimen: Specimen, cfg: config.Harvest, sites: Sequence[str], *, folder: Path
) -> Store:
    store = open_store(folder)
    facts = store.facts
    for site in sites:
        store.site(site)
    for site, seen in look(specimen, sites).items():
        there = store.site(site)
        if (there.width, there.grid) != (seen.width, seen.grid):
            raise TenfoldError(
                f"the store {folder} has shape {[*there.grid, there.width]} an item at {site}, "
                f"the model {[*seen.grid, seen.width]}; was it harvested from another model?"
            )
    if facts.identity != encode(specimen.identity):
        raise TenfoldError(
            f"the store {folder} was harvested from {facts.model}, {facts.identity}, and not from "
            f"{specimen.name}, {specimen.identity}; name another folder"
        )
    dtypes = {store.site(site).dtype for site in sites} - {cfg.dtype}
    if dtypes:
        raise TenfoldError(
            f"the store {folder} holds {dtypes.pop()}, not {cfg.dtype}; ask for what it holds, or "
            "name another folder"
        )
    return store


def _last_item(shards: Shards) -> int:
    return int(shards.read("item", shards.num_rows - 1, shards.num_rows))


def labelled(specimen: Specimen, split: Split) -> Callable[[int], Iterator[Batch]]:
    """Return the batches of a split whose labels are the columns of a store.

    Raises:
        TenfoldError: inside the iterator, if a text has no tokens.
    """

    def batches(start: int) -> Iterator[Batch]:
        for number, batch in enumerate(specimen.batches(split, start), start):
            yield replace(batch, labels=_labels(specimen, batch, number=number))

    return batches


def _labels(specimen: Specimen, batch: Batch, *, number: int) -> dict[str, Tensor]:
    first = number * specimen.batch_size
    if specimen.shows != "text":
        return {"item": torch.arange(first, first + _count_items(batch), dtype=torch.int32)}
    token_BT = _tokens(batch)
    count, length = token_BT.shape
    item_B = torch.arange(first, first + count, dtype=torch.int32)
    return {
        "item": item_B[:, None].expand(count, length),
        "place": torch.arange(length, dtype=torch.int32).expand(count, length),
        "token": token_BT,
    }


def _tokens(batch: Batch) -> Tensor:
    """Return the tokens of a batch of texts, int32 [B, T]."""
    token = batch.labels.get("token")
    if token is None or token.dim() != 2:
        shape = "missing" if token is None else list(token.shape)
        raise TenfoldError(
            f"the label 'token' of a batch of texts is {shape}; give token ids [B, T], or let "
            "shows be 'row'"
        )
    return token.to(device="cpu", dtype=torch.int32)


def _count_items(batch: Batch) -> int:
    """Return B: the length of the mask, or of the first tensor among the inputs."""
    tensors = _tensors([batch.mask, batch.inputs, batch.keywords])
    first = next((tensor for tensor in tensors if tensor.dim()), None)
    if first is None:
        raise TenfoldError("a batch holds 0 tensors, so its items cannot be counted; give a mask")
    return len(first)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)


def look(specimen: Specimen, sites: Sequence[str]) -> dict[str, Look]:
    """Run the first batch and say what each site is like.

    Raises:
        TenfoldError: if there is no batch, or a site is not reached.
    """
    first = next(specimen.batches("train", 0), None)
    if first is None:
        raise TenfoldError(f"{specimen.name} has 0 batches to train on; give it data")
    batch = moved(first, specimen.module)

    def call() -> None:
        if specimen.run is None:
            specimen.module(*batch.inputs, **batch.keywords)
        else:
            specimen.run(batch)

    taken = capture(specimen.module, sites, call, stop_early=True)
    return {site: _look_at(x, batch.mask) for site, x in taken.items()}


def _look_at(x: Tensor, mask: Tensor | None) -> Look:
    rows = x[..., 0].numel() if mask is None else int(spread_mask(mask, x).sum())
    return Look(width=x.shape[-1], grid=tuple(x.shape[1:-1]), rows=rows)


def _refuse_torn_items(cfg: config.Harvest, looks: Mapping[str, Look], *, shows: str) -> None:
    # Rows of texts carry their place; those of other things are placed by their order.
    torn = [site for site, seen in looks.items() if seen.grid and shows != "text"]
    if cfg.norm_limit and torn:
        raise TenfoldError(
            f"norm_limit {cfg.norm_limit} leaves rows out, and those of {torn[0]} with positions "
            f"{list(looks[torn[0]].grid)} could not be placed; set it to 0"
        )


def _room_for_rows(specimen: Specimen, cfg: config.Harvest, looks: Mapping[str, Look]) -> float:
    """Return the part of `cfg.max_gb` that is left for rows beside all other files."""
    if not cfg.max_gb:
        return 0.0
    columns = _corpus_columns(specimen, next(iter(specimen.batches("train", 0))))
    per_item = sum(column.row_bytes for column in columns)
    per_row = sum(row_bytes(cfg, seen, shows=specimen.shows) for seen in looks.values())
    fewest = max(1, min(seen.rows for seen in looks.values())) / specimen.batch_size
    left = cfg.max_gb * 1e9 - _unembedding_bytes(specimen)
    room = left * per_row / (per_row + MARGIN * per_item / fewest) / 1e9
    if room <= 0:
        raise TenfoldError(
            f"max_gb {cfg.max_gb} does not hold the unembedding alone, which takes "
            f"{_unembedding_bytes(specimen) / 1e9:.3g}; allow more"
        )
    return room


def row_bytes(cfg: config.Harvest, seen: Look, *, shows: str) -> int:
    """Return the bytes that one row of a site takes on disk, labels included."""
    return seen.width * (2 if cfg.dtype == "bfloat16" else 4) + (12 if shows == "text" else 4)


def _unembedding_bytes(specimen: Specimen) -> int:
    return specimen.unembedding().numel() * 4 if specimen.unembedding else 0


def _write_surroundings(
    specimen: Specimen, folder: Path, *, items: int, check_stop: Callable[[], None]
) -> None:
    """Write all that is no activation: corpus, captions, vocabulary, unembedding."""
    from safetensors.torch import save_file

    if specimen.vocabulary:
        files.write_json(folder / VOCABULARY, list(specimen.vocabulary))
    if specimen.unembedding is not None:
        matrix = specimen.unembedding().detach().to(device="cpu", dtype=torch.float32)
        with files.replacing(folder / UNEMBEDDING) as temporary:
            save_file({"unembedding": matrix.contiguous()}, temporary)
    if specimen.captions is not None and not (folder / CAPTIONS).exists():
        files.write_json(folder / CAPTIONS, _captions(specimen, items=items))
    if specimen.shows != "row":
        _write_corpus(specimen, folder / CORPUS, items=items, check_stop=check_stop)


def _captions(specimen: Specimen, *, items: int) -> list[str]:
    assert specimen.captions is not None, "asked for captions that the specimen lacks"
    lines: list[str] = []
    batches = specimen.batches("train", 0)
    while len(lines) < items:
        lines += specimen.captions(next(batches))
    return lines[:items]


def _write_corpus(
    specimen: Specimen, path: Path, *, items: int, check_stop: Callable[[], None]
) -> None:
    """Write what was read, after the rows: data are cheap to read again, activations are not."""
    if (path / "index.json").exists() and files.read_json(path / "index.json")["finished"]:
        return
    first = next(iter(specimen.batches("train", 0)))
    writer = open_writer(path, _corpus_columns(specimen, first), meta={"items": items})
    start = (writer.cursor or {"batches": 0})["batches"]
    for number, batch in enumerate(specimen.batches("train", start), start):
        left = items - writer.num_rows
        if left <= 0:
            break
        check_stop()
        values = _corpus_values(specimen, batch)
        writer.append(**{name: value[:left] for name, value in values.items()})
        writer.commit({"batches": number + 1})
    writer.finish()


def _corpus_columns(specimen: Specimen, batch: Batch) -> list[Column]:
    if specimen.shows == "row":
        return []
    return [
        Column(
            name=name,
            dtype={"token": "int32", "kept": "bool", "picture": "uint8"}[name],  # type: ignore[arg-type]
            shape=tuple(value.shape[1:]),
        )
        for name, value in _corpus_values(specimen, batch).items()
    ]


def _corpus_values(specimen: Specimen, batch: Batch) -> dict[str, Tensor]:
    if specimen.shows == "text":
        token_BT = _tokens(batch)
        kept = torch.ones_like(token_BT, dtype=torch.bool) if batch.mask is None else batch.mask
        return {"token": token_BT, "kept": kept.cpu()}
    if specimen.pictures is None:
        raise TenfoldError(
            f"{specimen.name} shows pictures but gives none; give a function `pictures`, or let "
            "shows be 'row'"
        )
    return {"picture": specimen.pictures(batch)}


def _facts(
    specimen: Specimen,
    cfg: config.Harvest,
    rows: Mapping[str, Shards],
    looks: Mapping[str, Look],
    *,
    items: int,
) -> StoreFacts:
    sites = {
        site: SiteFacts(
            folder=shards.path.name,
            width=looks[site].width,
            rows=shards.num_rows,
            dtype=cfg.dtype,
            grid=looks[site].grid,
        )
        for site, shards in rows.items()
    }
    first = next(specimen.batches("train", 0))
    return StoreFacts(
        model=specimen.name,
        subject=encode(cfg.subject),
        identity=specimen.identity,
        shows=specimen.shows,
        context=_tokens(first).shape[1] if specimen.shows == "text" else 0,
        batch_size=specimen.batch_size,
        items=items,
        sites=sites,
    )


@contextmanager
def _full_disk_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, TenfoldError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _FULL:
            raise
        # Unfinished shards are written anew, and a full disk has to hold the run's status.
        for part in folder.rglob("*.part"):
            part.unlink()
        free = shutil.disk_usage(folder).free / 1e9
        raise TenfoldError(
            f"no space left in {folder} ({free:.3g} GB free now); what is finished there is safe: "
            "free some space and run the same command to go on"
        ) from cause
