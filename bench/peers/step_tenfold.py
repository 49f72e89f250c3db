"""Our train step for train_step.py: the room jumprelu's `Trainer.update`, default method.

`--dense` takes the plain torch step, which the sparse one is checked against; `--floor` only
the encoder's product of rows and latents, tile by tile as the sparse step forms it: no step
that decides active sets exactly can be faster.
"""

import functools
import sys

import torch
from stepping import Shape, serve

from tenfold.engine import device
from tenfold.rooms.jumprelu.config import JumpReLU, Train
from tenfold.rooms.jumprelu.data import as_source
from tenfold.rooms.jumprelu.kernels.entries import rows_of_block, tiles_of
from tenfold.rooms.jumprelu.kernels.workers import Room, pool_of
from tenfold.rooms.jumprelu.trainer import start


class Tenfold:
    def __init__(self, shape: Shape, rows: torch.Tensor) -> None:
        config = Train(
            method=JumpReLU(),
            width=shape.num_latents,
            target_l0=(shape.target_l0,),
            rows=shape.steps * shape.batch,
            batch=shape.batch,
            schedule="short",
            learning_rate=shape.learning_rate,
            kernel="dense" if "--dense" in sys.argv else "auto",
        )
        device.apply(device.choose("cpu", threads=torch.get_num_threads()))  # as every run does
        source, _ = as_source(rows, held_out=config.held_out)
        self.trainer = start(config, source)
        self.done = 0

    def step(self, x: torch.Tensor) -> None:
        self.trainer.update(x[None], self.done)
        self.done += 1

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.trainer.dictionary.lane(0).encode(x)

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        return self.trainer.dictionary.lane(0).decode(f)


class Floor(Tenfold):
    def step(self, x: torch.Tensor) -> None:
        w_enc = self.trainer.dictionary.w_enc.detach()[0].mT
        tasks = [functools.partial(form, rows, w_enc) for rows in x.split(rows_of_block(len(x)))]
        pool_of(torch.get_num_threads()).run(tasks)


def form(rows: torch.Tensor, w_enc: torch.Tensor, room: Room) -> None:
    for _ in tiles_of(rows, w_enc, room):
        pass


if __name__ == "__main__":
    serve(Floor if "--floor" in sys.argv else Tenfold)
