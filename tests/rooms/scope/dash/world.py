"""Stores and suites in small, written by hand from their description, and plain twins."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tenfold.engine.rng import stream
from tenfold.engine.shards import Column, open_writer
from tenfold.rooms.jumprelu.files import save
from tenfold.rooms.jumprelu.model import BatchTopK, Dictionary, Gated, JumpReLU, ReLU, TopK
from tenfold.rooms.scope.store import open_store
from tenfold.rooms.scope.suite import Entry, Manifest, open_suite, write_manifest

D, M, T, ITEMS = 8, 20, 12, 60
KINDS = ("relu", "gated", "topk", "batchtopk", "jumprelu")
HOSTILE = [
    "<script>alert(1)</script>",
    "\n",
    " ",
    "</script>",
    '"',
    "'",
    "&amp;",
    "${x}",
    "é\u2028",
]
SITE = "blocks.0"


def vocabulary(size=24):
    return HOSTILE + [f"w{number}" for number in range(size - len(HOSTILE))]


def activations(rows, *, seed=0, width=D):
    """Rows that are sums of few directions, so that latents differ in how often they fire."""
    rng = stream(seed, "rows")
    directions = stream(0, "directions").normal(size=(M, width))
    weights = rng.exponential(size=(rows, M)) * (rng.random((rows, M)) < 0.15)
    return (weights @ directions + 0.2 * rng.normal(size=(rows, width))).astype(np.float32)


def dictionary(kind, *, seed=0, width=M, scale=1.0, pre_bias=False, out=0):
    rng = stream(seed, "dictionary", kind)
    directions = stream(0, "directions").normal(size=(M, D))[np.arange(width) % M]
    directions = directions + 0.3 * rng.normal(size=(width, D))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    def vector(low, high):
        return torch.tensor(rng.uniform(low, high, size=width), dtype=torch.float32)

    units = {
        "relu": lambda: ReLU(),
        "gated": lambda: Gated(vector(-0.3, 0.3), vector(-0.3, 0.1)),
        "topk": lambda: TopK(torch.tensor(4)),
        "batchtopk": lambda: BatchTopK(torch.tensor(4), torch.tensor(0.7)),
        "jumprelu": lambda: JumpReLU(vector(0.3, 1.2)),
    }
    w_dec = rng.normal(size=(width, out)) if out else directions
    return Dictionary(
        w_enc=torch.tensor(directions.T, dtype=torch.float32),
        b_enc=vector(-0.4, 0.0),
        w_dec=torch.tensor(w_dec, dtype=torch.float32),
        b_dec=torch.tensor(rng.normal(size=out or D), dtype=torch.float32),
        unit=units[kind](),
        scale=scale,
        pre_bias=pre_bias,
        transcoder=bool(out),
    )


def write_store(
    folder,
    *,
    shows="text",
    sites=(SITE,),
    items=ITEMS,
    grid=(T,),
    drop=0.1,
    dtype="float32",
    seed=0,
):
    """Write a store: for texts windows of T tokens of which some are masked."""
    rng = stream(seed, "store")
    cells = int(np.prod(grid, dtype=int))
    kept = np.ones((items, cells), bool)
    if shows == "text":
        kept = rng.random((items, cells)) >= drop
    tokens = rng.integers(0, len(vocabulary()), size=(items, cells)).astype(np.int32)
    item, place = (index.astype(np.int32) for index in np.nonzero(kept))
    facts = {}
    for number, site in enumerate(sites):
        columns = [Column(name="x", dtype=dtype, shape=(D,)), Column(name="item", dtype="int32")]
        values = {"x": activations(len(item), seed=seed + number), "item": item}
        if shows == "text":
            columns += [Column(name=name, dtype="int32") for name in ("place", "token")]
            values |= {"place": place, "token": tokens[item, place]}
        write_shards(folder / site, columns, values, rows_per_shard=200)
        facts[site] = {"folder": site, "width": D, "rows": len(item), "dtype": dtype}
        facts[site]["grid"] = list(grid)
    if shows == "text":
        columns = [Column(name="token", dtype="int32", shape=(cells,))]
        columns.append(Column(name="kept", dtype="bool", shape=(cells,)))
        write_shards(folder / "corpus", columns, {"token": tokens, "kept": kept})
        (folder / "vocabulary.json").write_text(json.dumps(vocabulary()))
        matrix = torch.tensor(rng.normal(size=(D, len(vocabulary()))), dtype=torch.float32)
        save_file({"unembedding": matrix}, folder / "unembedding.safetensors")
    if shows == "picture":
        pictures = rng.integers(0, 256, size=(items, 6, 6, 1)).astype(np.uint8)
        columns = [Column(name="picture", dtype="uint8", shape=(6, 6, 1))]
        write_shards(folder / "corpus", columns, {"picture": pictures})
    if shows != "text":
        captions = [f"digit {number % 3} <b>" for number in range(items)]
        (folder / "captions.json").write_text(json.dumps(captions))
    store = {"schema": 1, "model": "toy", "subject": {}, "identity": {}, "shows": shows}
    store |= {"context": T if shows == "text" else 0, "batch_size": 4, "items": items}
    (folder / "store.json").write_text(json.dumps(store | {"sites": facts}))
    return open_store(folder)


def write_shards(path, columns, values, *, rows_per_shard=262_144):
    writer = open_writer(path, columns, rows_per_shard=rows_per_shard)
    rows = len(next(iter(values.values())))
    for first in range(0, rows, 100):
        writer.append(**{name: value[first : first + 100] for name, value in values.items()})
        writer.commit({})
    writer.finish()


def write_suite(folder, dictionaries, *, model="toy <model>"):
    """Write a suite of {(site, name): dictionary}."""
    entries = []
    for (site, name), one in dictionaries.items():
        file = save(one, folder / "saes" / site / name)
        entries.append(
            Entry(
                name=f"{site}/{name}",
                site=site,
                site_out="blocks.1" if one.transcoder else "",
                kind=one.kind,
                width=one.width,
                input_width=one.input_width,
                output_width=one.output_width,
                target_l0=4.0,
                seed=0,
                rows=1_000,
                scale=1.0,
                schedule="short",
                path=f"saes/{site}/{name}",
                sha256=hashlib.sha256(Path(file).read_bytes()).hexdigest(),
                metrics={"l0": 3.5, "fvu": 0.25},
            )
        )
    manifest = Manifest(subject={}, model=model, identity={}, entries=tuple(entries))
    write_manifest(folder, manifest)
    return open_suite(folder)


def rows_of(store, site=SITE):
    """Return x, item and place of all rows as arrays."""
    shards = store.rows(site)
    x = shards.read("x", 0, shards.num_rows).float()
    item = shards.read("item", 0, shards.num_rows).numpy()
    if any(column.name == "place" for column in shards.columns):
        return x, item, shards.read("place", 0, shards.num_rows).numpy()
    place = np.concatenate([np.arange(number) for number in np.bincount(item) if number])
    return x, item, place


def mix(number):
    """SplitMix64's finisher, with plain Python numbers."""
    mask = (1 << 64) - 1
    h = (number + 0x9E3779B97F4A7C15) & mask
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & mask
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & mask
    return h ^ (h >> 31)
