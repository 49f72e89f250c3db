import subprocess
import sys

import pytest
import torch

from tenfold.engine.dist import Place, find_place, gather_from, joined, sum_over
from tenfold.engine.errors import TenfoldError

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}


def test_without_torchrun_there_is_one_process_that_writes():
    place = find_place({})
    assert place == Place(rank=0, count=1, local_rank=0)
    assert (place.writes, place.is_alone) == (True, True)


def test_torchruns_variables_say_the_place():
    place = find_place(TORCHRUN | {"HOME": "there"})
    assert place == Place(rank=3, count=4, local_rank=1)
    assert (place.writes, place.is_alone) == (False, False)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "0"}, "has RANK without WORLD_SIZE, LOCAL_RANK; start all processes by torchrun"),
        (TORCHRUN | {"RANK": "x"}, "with RANK='x'; start all processes"),
        (TORCHRUN | {"RANK": "4"}, r"process 4 \(here 1\) of 4 cannot be"),
    ],
)
def test_half_an_environment_is_refused(environment, message):
    with pytest.raises(TenfoldError, match=message):
        find_place(environment)


def test_one_process_sums_and_gathers_by_itself():
    one, two = torch.ones(2), torch.arange(3.0)
    with joined(Place()) as place:
        assert all(map(torch.equal, sum_over(place, one, two), (one, two)))
        assert torch.equal(gather_from(place, two)[0], two)


SCRIPT = """
import sys, torch
from pathlib import Path
from tenfold.engine.dist import Place, gather_from, joined, sum_over
rank, meeting = int(sys.argv[1]), sys.argv[2]
with joined(Place(rank=rank, count=2, local_rank=rank), meeting=meeting, patience_s=60) as place:
    mine = torch.arange(6.0).view(2, 3) * (rank + 1)
    whole, one = sum_over(place, mine, torch.tensor(10.0 ** rank))
    assert torch.equal(whole, 3 * torch.arange(6.0).view(2, 3)), whole
    assert one == 11, one
    found = gather_from(place, mine.mT)
    assert len(found) == (2 if place.writes else 0)
    for number, tensor in enumerate(found):
        assert torch.equal(tensor.mT, torch.arange(6.0).view(2, 3) * (number + 1)), tensor
    # Imports code whose default arguments name the group of all processes.
    torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
tasks = Path("/proc/self/task")
if tasks.exists():
    left = [(task / "comm").read_text() for task in tasks.iterdir()]
    assert not [name for name in left if "gloo" in name], left
print("done")
"""


@pytest.mark.timeout(300)
def test_two_processes_sum_and_gather_in_order(tmp_path):
    words = [sys.executable, "-c", SCRIPT]
    started = [
        subprocess.Popen(
            [*words, str(rank), f"file://{tmp_path}/meeting"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=100)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    assert all(text.endswith("done\n") for text in told)


def test_processes_that_do_not_come_are_told(tmp_path):
    with (
        pytest.raises(TenfoldError, match="process 1 of 2 did not meet the others at file://"),
        joined(Place(rank=1, count=2), meeting=f"file://{tmp_path}/meeting", patience_s=0.5),
    ):
        pass
