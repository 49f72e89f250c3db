"""Write and load dictionaries with EleutherAI sparsify; run by tools/peers.py in its own venv."""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sparsify import SparseCoder, SparseCoderConfig

D, M, N, K = 8, 24, 16, 4


def forward(coder: SparseCoder, x: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        encoded = coder.encode(x)
        latents = torch.zeros(len(x), coder.num_latents)
        latents.scatter_(1, encoded.top_indices, encoded.top_acts)
        return {"x": x, "latents": latents, "output": coder(x).sae_out}


def write(root: Path) -> None:
    torch.manual_seed(0)
    for name, transcode in (("topk", False), ("transcoder", True)):
        config = SparseCoderConfig(num_latents=M, k=K, transcode=transcode)
        coder = SparseCoder(D, config)
        with torch.no_grad():
            for parameter in coder.parameters():
                parameter.normal_(std=0.5)
        coder.save_to_disk(root / name)
        save_file(forward(coder, torch.randn(N, D)), root / name / "probe.safetensors")


def load(root: Path) -> None:
    for folder in sorted(root.iterdir()):
        coder = SparseCoder.load_from_disk(folder)
        theirs = forward(coder, load_file(folder / "probe.safetensors")["x"])
        save_file(theirs, folder / "theirs.safetensors")


if __name__ == "__main__":
    {"write": write, "load": load}[sys.argv[1]](Path(sys.argv[2]))
