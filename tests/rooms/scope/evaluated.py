"""A small causal language model, and suites of dictionaries whose metrics are known."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from tenfold.engine import files as plain_files
from tenfold.engine.rng import torch_stream
from tenfold.parts.sae.harvest import folder_name
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.jumprelu import files
from tenfold.rooms.jumprelu.model import Dictionary, JumpReLU, ReLU
from tenfold.rooms.scope.suite import Entry, Manifest, open_suite, write_manifest

torch.set_num_threads(1)

V, D, T, ITEMS = 11, 6, 8, 24


class Mixer(nn.Module):
    """Adds a function of the mean of what came before; each position knows its past only."""

    def __init__(self, *, linear=False):
        super().__init__()
        self.inner = nn.Linear(D, D)
        self.linear = linear

    def forward(self, x):
        past = x.cumsum(dim=1) / torch.arange(1, 1 + x.shape[1])[:, None]
        found = self.inner(past)
        return x + (found if self.linear else torch.tanh(found))


class Speaker(nn.Module):
    """Tokens [B, T] to scores [B, T, V]."""

    def __init__(self, *, depth=3, linear=False):
        super().__init__()
        self.embed = nn.Embedding(V, D)
        self.blocks = nn.ModuleList(Mixer(linear=linear) for _ in range(depth))
        self.head = nn.Linear(D, V)
        for index, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, std=0.7, generator=torch_stream(0, "speaker", index))
        self.requires_grad_(False)
        self.ran = 0

    def forward(self, tokens):
        self.ran += 1
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def all_tokens(split):
    generator = torch_stream(0, "speaker", split)
    tokens = torch.randint(1, V, (ITEMS, T), generator=generator)
    tokens[torch.rand(tokens.shape, generator=generator) < 0.1] = 0
    return tokens


def speaker(*, batch_size=6, module=None, **changes):
    """The same items in batches of any size; token 0 is a boundary, kinds are by item."""
    module = (module or Speaker()).eval()

    def read(split, start=0):
        tokens = all_tokens(split)
        kinds = torch.arange(ITEMS) % 3
        for first in range(start * batch_size, ITEMS, batch_size):
            part = tokens[first : first + batch_size]
            labels = {"token": part, "kind": kinds[first : first + batch_size]}
            yield Batch(inputs=(part,), mask=part != 0, labels=labels)

    def loss(batch):
        tokens = batch.inputs[0]
        scores = module(tokens)
        found = F.cross_entropy(scores[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
        found = found.masked_fill((tokens[:, 1:] == 0) | (tokens[:, :-1] == 0), torch.nan)
        return F.pad(found, (0, 1), value=torch.nan)

    specimen = Specimen(
        module=module,
        batches=read,
        identity={"speaker": 1},
        name="speaker",
        shows="text",
        batch_size=batch_size,
        loss=loss,
        kinds=("code", "prose"),
    )
    return replace(specimen, **changes)


def identity(width=D, *, shrink=1.0):
    """Rebuild everything, times `shrink`."""
    eye = torch.eye(width)
    return Dictionary(
        w_enc=torch.cat([eye, -eye], dim=1),
        b_enc=torch.zeros(2 * width),
        w_dec=shrink * torch.cat([eye, -eye]),
        b_dec=torch.zeros(width),
        unit=ReLU(),
    )


def constant(vector):
    """Rebuild `vector` whatever is read, with no latent on."""
    width = len(vector)
    return Dictionary(
        w_enc=torch.zeros(width, 4),
        b_enc=torch.zeros(4),
        w_dec=torch.ones(4, width),
        b_dec=vector,
        unit=ReLU(),
    )


def drawn(width, *, latents=16, seed=0, threshold=0.4, out=0, transcoder=False):
    """A JumpReLU dictionary with random parameters."""
    generator = torch_stream(seed, "drawn", width, latents)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    return Dictionary(
        w_enc=0.6 * normal(width, latents),
        b_enc=0.1 * normal(latents),
        w_dec=0.4 * normal(latents, out or width),
        b_dec=0.2 * normal(out or width),
        unit=JumpReLU(torch.full((latents,), threshold)),
        transcoder=transcoder,
    )


def write_suite(folder, dictionaries, *, targets=None, seeds=None):
    """Write {(name, site) or (name, site, site_out): dictionary} as a suite and open it."""
    entries = []
    for (name, site, *site_out), dictionary in dictionaries.items():
        path = f"saes/{folder_name(site)}/{name}"
        written = files.save(dictionary, folder / path)
        entries.append(
            Entry(
                name=f"{folder_name(site)}/{name}",
                site=site,
                site_out=site_out[0] if site_out else "",
                kind=dictionary.kind,
                width=dictionary.width,
                input_width=dictionary.input_width,
                output_width=dictionary.output_width,
                target_l0=(targets or {}).get(name, 2.0),
                seed=(seeds or {}).get(name, 0),
                rows=100,
                scale=1.0,
                schedule="short",
                path=path,
                sha256=plain_files.sha256(written),
                metrics={"l0": 2.0, "fvu": 0.5},
            )
        )
    manifest = Manifest(subject={}, model="speaker", identity={}, entries=tuple(entries))
    write_manifest(folder, manifest)
    return open_suite(folder)
