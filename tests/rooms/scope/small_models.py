"""Small networks with data for the tests of this room: a reader of texts, a looker at pictures."""

from dataclasses import replace

import torch
from torch import nn

from tenfold.engine.rng import torch_stream
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen

torch.set_num_threads(1)

VOCABULARY = 20_000
LENGTH = 8
WIDTH = 6
SIDE = 6


class Reader(nn.Module):
    """Tokens [B, T] to scores; the second block's output is known from the first one's."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList([nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)])
        for index, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, generator=torch_stream(0, "reader", index))

    def forward(self, tokens):
        # Each position knows those before it, so that no two rows are alike.
        hidden = self.embed(tokens).cumsum(dim=1) / torch.arange(1, 1 + tokens.shape[1])[:, None]
        return self.blocks[1](self.blocks[0](hidden).relu())


class Looker(nn.Module):
    """Pictures [B, 1, 6, 6] to three scores, by a map of [B, 5, 3, 3]."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 5, 2, stride=2)
        self.head = nn.Linear(45, 3)
        for index, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, generator=torch_stream(0, "looker", index))

    def forward(self, pictures):
        return self.head(self.conv(pictures).relu().flatten(1))


def text_batch(split, number, batch_size):
    """Windows of tokens, hardly one twice; token 0 is a boundary and not looked at."""
    generator = torch_stream(0, "texts", split, number)
    tokens = torch.randint(1, VOCABULARY, (batch_size, LENGTH), generator=generator)
    tokens[torch.rand(tokens.shape, generator=generator) < 0.1] = 0
    return Batch(inputs=(tokens,), mask=tokens != 0, labels={"token": tokens})


def reader(*, batch_size=4, num_batches=10_000, **changes):
    """So many batches of texts for each split."""

    def read(split, start=0):
        for number in range(start, num_batches):
            yield text_batch(split, number, batch_size)

    specimen = Specimen(
        module=Reader().eval(),
        batches=read,
        identity={"reader": 1},
        name="reader",
        shows="text",
        batch_size=batch_size,
        sites={"blocks.0": WIDTH, "blocks.1": 4},
        vocabulary=[f"t{token}" for token in range(VOCABULARY)],
        unembedding=lambda: torch.arange(2.0 * WIDTH).reshape(WIDTH, 2),
        licence="CC0-1.0",
    )
    return replace(specimen, **changes)


def pictures_of(split, number, batch_size):
    generator = torch_stream(0, "pictures", split, number)
    return torch.randint(0, 256, (batch_size, SIDE, SIDE, 1), generator=generator).to(torch.uint8)


def looker(*, batch_size=5, num_batches=12, last=3, **changes):
    """So many batches of pictures, the last of them short."""

    def see(split, start=0):
        for number in range(start, num_batches):
            count = last if number == num_batches - 1 else batch_size
            seen = pictures_of(split, number, batch_size)[:count]
            x = seen.permute(0, 3, 1, 2).float() / 255
            yield Batch(inputs=(x,))

    def pictures(batch):
        return (batch.inputs[0].permute(0, 2, 3, 1) * 255).round().to(torch.uint8)

    specimen = Specimen(
        module=Looker().eval(),
        batches=see,
        identity={"looker": 1},
        name="looker",
        shows="picture",
        batch_size=batch_size,
        sites={"conv@1": 5, "head": 3},
        pictures=pictures,
        captions=lambda batch: [f"mean {float(x.mean()):.3f}" for x in batch.inputs[0]],
    )
    return replace(specimen, **changes)
