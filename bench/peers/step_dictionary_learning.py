"""dictionary_learning's train step for train_step.py: `JumpReluTrainer.update` at its defaults."""

import torch
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from stepping import Shape, serve, thresholds

OWN_LEARNING_RATE = 7e-5
"""The library's default."""


class DictionaryLearning:
    def __init__(self, shape: Shape, rows: torch.Tensor) -> None:
        self.trainer = JumpReluTrainer(
            steps=max(10_000, shape.steps),
            activation_dim=shape.d_in,
            dict_size=shape.num_latents,
            layer=0,
            lm_name="none",
            target_l0=shape.target_l0,
            lr=shape.learning_rate or OWN_LEARNING_RATE,
        )
        self.ae = self.trainer.ae
        z = self.ae.encode(rows[:8192], output_pre_jump=True)[1].detach()
        self.ae.threshold.data.copy_(thresholds(z, shape.target_l0))
        self.done = 0

    def step(self, x: torch.Tensor) -> None:
        self.trainer.update(self.done, x)
        self.done += 1

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.ae.encode(x)

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        return self.ae.decode(f)


if __name__ == "__main__":
    serve(DictionaryLearning)
