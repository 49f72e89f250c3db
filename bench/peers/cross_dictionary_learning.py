"""Write dictionaries with dictionary_learning; run by tools/peers.py in its own venv."""

import json
import sys
from pathlib import Path

import torch
from dictionary_learning.dictionary import (
    AutoEncoder,
    AutoEncoderNew,
    GatedAutoEncoder,
    JumpReluAutoEncoder,
)
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
from dictionary_learning.trainers.top_k import AutoEncoderTopK
from safetensors.torch import save_file

D, M, N, K = 8, 24, 16, 4


def dictionaries() -> dict[str, torch.nn.Module]:
    return {
        "relu": AutoEncoder(D, M),
        "relu-new": AutoEncoderNew(D, M),
        "gated": GatedAutoEncoder(D, M),
        "topk": AutoEncoderTopK(D, M, K),
        "batchtopk": BatchTopKSAE(D, M, K),
        "batchtopk-untrained": BatchTopKSAE(D, M, K),
        "matryoshka": MatryoshkaBatchTopKSAE(D, M, K, [4, 8, 12]),
        "jumprelu": JumpReluAutoEncoder(D, M),
    }


def write(root: Path) -> None:
    torch.manual_seed(0)
    for name, dictionary in dictionaries().items():
        randomise(dictionary, threshold=-1.0 if name == "batchtopk-untrained" else 0.4)
        folder = root / name
        folder.mkdir(parents=True)
        torch.save(dictionary.state_dict(), folder / "ae.pt")
        trainer = {"dict_class": type(dictionary).__name__, "layer": 3, "lm_name": "tiny"}
        (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
        x = torch.randn(N, D)
        with torch.no_grad():
            latents = dictionary.encode(x)
            probe = {"x": x, "latents": latents, "output": dictionary.decode(latents)}
        save_file(probe, folder / "probe.safetensors")


def randomise(dictionary: torch.nn.Module, *, threshold: float) -> None:
    with torch.no_grad():
        for parameter in dictionary.parameters():
            parameter.normal_(std=0.5)
        if isinstance(getattr(dictionary, "threshold", None), torch.nn.Parameter):
            dictionary.threshold.uniform_(0.1, 0.6)
        elif hasattr(dictionary, "threshold"):
            dictionary.threshold.fill_(threshold)


if __name__ == "__main__":
    {"write": write}[sys.argv[1]](Path(sys.argv[2]))
