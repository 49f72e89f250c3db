"""One process of several that train dictionaries with split latents; see `test_sharded.py`."""

import dataclasses
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from tenfold.engine import rng
from tenfold.engine.dist import Place, joined
from tenfold.rooms.jumprelu import config, method
from tenfold.rooms.jumprelu.kernels import lay_out
from tenfold.rooms.jumprelu.kernels.moments import Moments
from tenfold.rooms.jumprelu.kernels.sharded import ShardedStep, put_together, take_share
from tenfold.rooms.jumprelu.model import create, row_norms, stack

S, B, D, M, OUT = 2, 16, 8, 32, 5
EPS, RATE, STEPS = 0.1, 1e-2, 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    options: dict
    as_log: bool = False
    transcoder: bool = False
    code: str = "dense"
    steps: int = STEPS


CASES = {
    "linear": Case(options={"penalty": "linear"}),
    "quad_batch": Case(options={"penalty": "quad_batch"}, as_log=True),
    "quad_example": Case(
        options={"penalty": "quad_example", "frequency_weight": 0.02, "step_to_z": True}
    ),
    "tanh": Case(options={"penalty": "tanh"}),
    "transcoder": Case(options={"penalty": "linear"}, transcoder=True),
}
GPU_CASES = {
    "gpu": Case(options={"penalty": "quad_batch", "frequency_weight": 0.02}, code="gpu", steps=2),
    "gpu transcoder": Case(options={"penalty": "linear"}, transcoder=True, code="gpu", steps=1),
}


def whole_stack(case):
    lanes = []
    for seed in range(S):
        lane = create(
            "jumprelu",
            input_width=D,
            width=M,
            generator=rng.torch_stream(seed, "sharded", "start"),
            threshold=0.5,
            threshold_as_log=case.as_log,
            transcoder=case.transcoder,
            output_width=OUT if case.transcoder else 0,
            skip=case.transcoder,
        )
        # A lone active latent of a tied start has no gradient but rounding, which Adam blows up.
        generator = rng.torch_stream(seed, "sharded", "biases")
        for parameter in (lane.b_enc, lane.b_dec):
            parameter.data.normal_(std=0.05, generator=generator)
        lanes.append(lane)
    whole = stack(lanes)
    whole.scale = 2.0
    return whole


def rows(case, step):
    generator = rng.torch_stream(step, "sharded", "rows")
    x = 2 * torch.randn(S, B, D, generator=generator) / D**0.5
    return x, (x[..., :OUT].tanh() if case.transcoder else None)


def setting():
    return method.Setting(
        price=torch.tensor([0.01, 0.03]),
        target_l0=torch.tensor([5.0, 2.0]),
        bandwidth=EPS,
        dead=torch.zeros(S, M, dtype=torch.bool),
    )


def chosen(case):
    return config.JumpReLU(bandwidth=EPS, **case.options)


def moments_of(dictionary):
    return Moments(dictionary, learning_rate=RATE, betas=(0.0, 0.999), threshold_rate=2.0)


def train_alone(case):
    """Return parameters and losses of one process that has all latents."""
    whole = whole_stack(case)
    moments, losses = moments_of(whole), []
    for step in range(case.steps):
        x, y = rows(case, step)
        y = None if y is None else y / whole.scale
        terms = method.loss(whole, x / whole.scale, setting(), chosen(case), y)
        losses.append(terms)
        whole.zero_grad()
        terms.loss.sum().backward()
        with torch.no_grad():
            whole.w_dec.grad.copy_(method.remove_parallel(whole.w_dec.grad, whole.w_dec))
            moments.dense_step(RATE)
            whole.w_dec.div_(row_norms(whole.w_dec).unsqueeze(-1))
            if not case.as_log:
                whole.unit.raw.clamp_(min=1e-6)
    return whole, losses


def train_together(case, place):
    """Return the whole dictionary (None but in the first process) and the terms of each step."""
    share = take_share(whole_stack(case), place)
    lay_out(share)
    moments = moments_of(share)
    if case.code == "gpu":
        from tenfold.rooms.jumprelu.kernels.gpu import GpuStep

        step = GpuStep(share, chosen(case), moments, place=place)
    else:
        step = ShardedStep(share, chosen(case), moments, place=place)
    terms = [step(*rows(case, number), setting(), rate=RATE) for number in range(case.steps)]
    return put_together(share, place), terms


def main(rank, count, folder, *names):
    folder, place = Path(folder), Place(rank=int(rank), count=int(count), local_rank=int(rank))
    with joined(place, meeting=f"file://{folder}/meeting", patience_s=120):
        for name in names:
            whole, terms = train_together((CASES | GPU_CASES)[name], place)
            found = {} if whole is None else dict(whole.state_dict())
            for key in ("loss", "error", "l0"):
                found[f"terms/{key}"] = torch.stack([getattr(term, key) for term in terms])
            found["terms/fired"] = torch.stack([term.fired for term in terms])
            found = {key: value.detach().contiguous() for key, value in found.items()}
            save_file(found, folder / f"{name}-{rank}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
