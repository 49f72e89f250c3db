"""Write and load dictionaries with SAELens; run by tools/peers.py in its own venv."""

import json
import sys
from pathlib import Path

import torch
from sae_lens import saes
from sae_lens.loading import pretrained_sae_loaders as loaders
from sae_lens.saes.sae import SAE
from safetensors.torch import load_file, save_file

D, M, N, K = 8, 24, 16, 4
SIZE = {"d_in": D, "d_sae": M}


def written() -> dict[str, SAE]:
    return {
        "relu": saes.StandardSAE(saes.StandardSAEConfig(**SIZE)),
        "gated": saes.GatedSAE(saes.GatedSAEConfig(**SIZE)),
        "topk": saes.TopKSAE(saes.TopKSAEConfig(**SIZE, k=K)),
        "topk-rescaled": saes.TopKSAE(
            saes.TopKSAEConfig(**SIZE, k=K, rescale_acts_by_decoder_norm=True)
        ),
        "jumprelu": saes.JumpReLUSAE(saes.JumpReLUSAEConfig(**SIZE)),
        "jumprelu-no-pre-bias": saes.JumpReLUSAE(
            saes.JumpReLUSAEConfig(**SIZE, apply_b_dec_to_input=False)
        ),
        "batchtopk": saes.BatchTopKTrainingSAE(saes.BatchTopKTrainingSAEConfig(**SIZE, k=K)),
        "matryoshka": saes.MatryoshkaBatchTopKTrainingSAE(
            saes.MatryoshkaBatchTopKTrainingSAEConfig(**SIZE, k=K, matryoshka_widths=[4, 12, M])
        ),
    }


def write(root: Path) -> None:
    torch.manual_seed(0)
    for name, sae in written().items():
        with torch.no_grad():
            for parameter in sae.parameters():
                parameter.normal_(std=0.5)
            if name.startswith("jumprelu"):
                sae.threshold.uniform_(0.1, 0.6)
        folder = root / name
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(0.4)
            sae.save_inference_model(folder)
        else:
            sae.save_model(folder)
        if name == "relu":
            sparsity = torch.linspace(-4, -0.5, M)
            save_file({"sparsity": sparsity}, folder / "sparsity.safetensors")
        probe = forward(SAE.load_from_disk(folder), torch.randn(N, D))
        save_file(probe, folder / "probe.safetensors")


def forward(sae: SAE, x: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {"x": x, "latents": sae.encode(x), "output": sae(x)}


def load(root: Path) -> None:
    for folder in sorted(root.iterdir()):
        theirs = forward(read(folder), load_file(folder / "probe.safetensors")["x"])
        save_file(theirs, folder / "theirs.safetensors")


def read(folder: Path) -> SAE:
    if (folder / "cfg.json").exists():
        return SAE.load_from_disk(folder)
    return read_release(folder)


def read_release(folder: Path) -> SAE:
    """Read a Gemma Scope folder by SAELens' own loaders, with the hub's download replaced."""
    local = {path.name: str(path) for path in folder.rglob("*") if path.is_file()}
    loaders.hf_hub_download = lambda *args, filename="", **_: local[Path(filename or args[1]).name]
    loaders.get_safetensors_tensor_shapes = lambda *_: {
        name: list(tensor.shape) for name, tensor in load_file(local["params.safetensors"]).items()
    }
    first = "params.npz" in local
    loader = loaders.gemma_2_sae_huggingface_loader
    repo, inner = "gemma-scope-2b-pt-res", "layer_3/width_24/average_l0_4"
    if not first:
        loader = loaders.gemma_3_sae_huggingface_loader
        repo, inner = "gemma-scope-2-1b-pt", "resid_post/layer_3_width_24_l0_4"
    config, state, _ = loader(repo, inner, cfg_overrides=SIZE)
    config = loaders.handle_config_defaulting(json.loads(json.dumps(config)))
    sae = saes.JumpReLUSAE(saes.JumpReLUSAEConfig.from_dict(config))
    sae.load_state_dict(state)
    return sae


if __name__ == "__main__":
    {"write": write, "load": load}[sys.argv[1]](Path(sys.argv[2]))
