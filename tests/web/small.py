"""Small things to serve: runs written by hand, a language model over bytes, a suite of it."""

import json
import math

import torch
from torch import nn

from tenfold.engine import files
from tenfold.engine.config import encode
from tenfold.engine.rng import torch_stream
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.text.tokens import BOUNDARY, VOCAB
from tenfold.parts.text.tokens import encode as encode_bytes
from tenfold.rooms.jumprelu.files import save
from tenfold.rooms.jumprelu.model import create
from tenfold.rooms.scope.config import Subject
from tenfold.rooms.scope.suite import Entry, Manifest, write_manifest

WIDTH, LATENTS, CONTEXT = 12, 24, 40
IDENTITY = {"weights": "small"}
SITES = ("blocks.0", "blocks.1")


class Block(nn.Module):
    """Adds to each position a function of the mean of those up to it."""

    def __init__(self, generator):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5)

    def forward(self, x_BTD):
        counts = torch.arange(1, x_BTD.shape[1] + 1).unsqueeze(-1)
        return x_BTD + torch.tanh(x_BTD.cumsum(dim=1) / counts @ self.weight)


class SmallModel(nn.Module):
    def __init__(self):
        super().__init__()
        draw = torch_stream(3, "small model")
        self.embed = nn.Parameter(torch.randn(VOCAB, WIDTH, generator=draw))
        self.blocks = nn.ModuleList([Block(draw), Block(draw)])
        self.head = nn.Parameter(torch.randn(WIDTH, VOCAB, generator=draw))

    def forward(self, tokens_BT):
        x_BTD = self.embed[tokens_BT]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return x_BTD @ self.head


def make_specimen(**changes):
    module = SmallModel().eval().requires_grad_(False)

    def encode_prompt(text):
        tokens = torch.from_numpy(encode_bytes(text).astype("int64"))
        return torch.cat([torch.tensor([BOUNDARY]), tokens]).unsqueeze(0)

    def loss(batch):
        (tokens,) = batch.inputs
        found = torch.full(tokens.shape, math.nan)
        chances = torch.log_softmax(module(tokens)[:, :-1], dim=-1)
        found[:, :-1] = -chances.gather(-1, tokens[:, 1:, None]).squeeze(-1)
        return found

    def batches(split, start=0):
        number = start
        while True:
            draw = torch_stream(number, split)
            tokens = torch.randint(0, VOCAB, (4, 16), generator=draw)
            yield Batch(inputs=(tokens,), mask=tokens != BOUNDARY, labels={"token": tokens})
            number += 1

    shown = [chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in range(256)]
    facts = {
        "module": module,
        "batches": batches,
        "identity": IDENTITY,
        "name": "small model",
        "shows": "text",
        "vocabulary": (*shown, "\u241e"),
        "loss": loss,
        "encode": encode_prompt,
        "scores": module,
        "context": CONTEXT,
        "special": (BOUNDARY,),
    }
    return Specimen(**facts | changes)


def make_dictionary(seed=0, kind="jumprelu", **facts):
    draw = torch_stream(seed, "dictionary", kind)
    facts = {"k": 4, "threshold": 0.3} | facts
    return create(kind, input_width=WIDTH, width=LATENTS, generator=draw, **facts).requires_grad_(
        False
    )


def make_suite(folder, *, source="tiny", identity=IDENTITY):
    """Write a suite of two dictionaries at each of two sites."""
    entries = []
    for site in SITES:
        for number, target in enumerate((2.0, 4.0)):
            name = f"{site}/w{LATENTS}_l0_{target:g}_s0"
            path = save(make_dictionary(seed=number), folder / "saes" / name)
            entries.append(
                Entry(
                    name=name,
                    site=site,
                    kind="jumprelu",
                    width=LATENTS,
                    input_width=WIDTH,
                    output_width=WIDTH,
                    target_l0=target,
                    seed=0,
                    rows=1_000,
                    scale=1.0,
                    schedule="short",
                    path=f"saes/{name}",
                    sha256=files.sha256(path),
                    metrics={"l0": target + 0.5, "fvu": 0.4 / target, "dead": 3},
                )
            )
    manifest = Manifest(
        subject=encode(Subject(source=source)),
        model="small model",
        identity=identity,
        entries=tuple(entries),
        licence="made in a test",
    )
    write_manifest(folder, manifest)
    return folder


def make_run(root, name, *, room="toy", verb="count", config=None, units=None, **status):
    """Write the files of a run by hand, as one that has ended unless `status` says else."""
    path = root / room / name
    path.mkdir(parents=True)
    saved = {"schema": 1, "room": room, "verb": verb, "seed": 4, "recipe": "tiny"}
    saved |= {"started": 1.7e9, "config": config or {"size": 2}, "units": units or {}}
    told = {"state": "done", "step": 3, "total": 9, "reason": "", "heartbeat": 1.7e9}
    told |= {"rate": 2.0, "seconds": 75.0, "pid": 1} | status
    files.write_json(path / "config.json", saved)
    files.write_json(path / "status.json", told)
    return path


def add_metrics(path, rows):
    """Append (step, name, value) to the metrics of a run."""
    with (path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        for step, name, value in rows:
            line = {"step": step, "t": step / 10, "name": name, "value": value}
            file.write(json.dumps(line) + "\n")
