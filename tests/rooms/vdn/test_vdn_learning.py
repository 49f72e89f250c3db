"""What teams learn, on games whose best play is known."""

import pytest

from tenfold.rooms.vdn import eval, tasks
from tenfold.rooms.vdn.config import Learning, arch_of
from tenfold.rooms.vdn.trainer import Trainer

CFG = Learning(
    units=16, batch=64, capacity=2_000, warm_up=128, window=2, gamma=1.0, trace=0.0,
    copy_every=50, epsilon=1.0, epsilon_share=1.0, rate=3e-3, normalise=False,
)  # fmt: skip
SEEDS = (0, 1)
UPDATES = 1_500


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "earned"), [("q.id", 8.0), ("v.id", 7.0)])
def test_a_mixing_network_earns_8_on_the_two_step_game_where_a_sum_earns_7(arch, earned):
    batch = tasks.open_task("two-step", copies=32, seeds=SEEDS)
    trainer = Trainer(batch, [arch_of(arch)] * 2, CFG, seeds=SEEDS, updates=UPDATES)
    while trainer.learner.updates < UPDATES:
        trainer.step()
    test = tasks.open_task("two-step", copies=8, seeds=SEEDS)
    played = eval.play(trainer.learner, test, seeds=SEEDS, steps=20)
    assert [returns.mean() for returns in played.returns] == [earned, earned]
