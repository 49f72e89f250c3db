"""SAELens' train step for train_step.py: `SAETrainer.step` on a JumpReLUTrainingSAE.

Settings are the library's defaults for JumpReLU, with the quadratic penalty that keeps the
wanted L0. Its documented speed option, compile_sae, is taken with `--compile`.
"""

import sys

import torch
from sae_lens import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from stepping import Shape, serve, thresholds

OWN_LEARNING_RATE = 3e-4
"""The library's default."""


class SAELens:
    def __init__(self, shape: Shape, rows: torch.Tensor) -> None:
        config = JumpReLUTrainingSAEConfig(
            d_in=shape.d_in,
            d_sae=shape.num_latents,
            jumprelu_sparsity_loss_mode="quadratic",
            target_l0=shape.target_l0,
            l0_coefficient=1e-3,
            l0_warm_up_steps=shape.steps,
            decoder_init_norm=1.0,
        )
        self.sae = JumpReLUTrainingSAE(config)
        z = self.sae.encode_with_hidden_pre(rows[:8192])[1].detach()
        self.sae.threshold.data.copy_(thresholds(z, shape.target_l0))
        if "--compile" in sys.argv:
            self.sae.training_forward_pass = torch.compile(self.sae.training_forward_pass)
        trainer_config = SAETrainerConfig(
            total_training_samples=shape.steps * shape.batch,
            train_batch_size_samples=shape.batch,
            lr=shape.learning_rate or OWN_LEARNING_RATE,
            lr_end=shape.learning_rate or OWN_LEARNING_RATE,
        )
        self.trainer = SAETrainer(trainer_config, self.sae, data_provider=iter(()))

    def step(self, x: torch.Tensor) -> None:
        self.trainer.step(x)
        self.trainer.n_training_steps += 1

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.sae.encode(x)

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        return self.sae.decode(f)


if __name__ == "__main__":
    serve(SAELens)
