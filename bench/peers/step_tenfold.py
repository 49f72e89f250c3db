"""Our train step for train_step.py: the room jumprelu's `Trainer.update`, default method."""

import torch
from stepping import LEARNING_RATE, Shape, serve

from tenfold.engine import device
from tenfold.rooms.jumprelu.config import JumpReLU, Train
from tenfold.rooms.jumprelu.data import as_source
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
            learning_rate=LEARNING_RATE,
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


if __name__ == "__main__":
    serve(Tenfold)
