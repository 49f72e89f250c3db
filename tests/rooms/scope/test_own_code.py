import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import torch_stream
from tenfold.parts.sae.rows import Batch
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.scope.config import Subject
from tenfold.rooms.scope.own_code import specimen_of
from tenfold.rooms.scope.subjects import open_subject, propose_sites

torch.set_num_threads(1)

CODE = """
import torch
from neighbour import WIDTH

def make():
    torch.manual_seed(0)
    layers = torch.nn.Linear(3, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 2)
    module = torch.nn.Sequential(*layers)
    return module, [torch.randn(4, 3) for _ in range(20)]

def number():
    return 7
"""


def numbers(count, *shape):
    return torch.randn(count, *shape, generator=torch_stream(0, "numbers"))


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "neighbour.py").write_text("WIDTH = 5\n")
    return tmp_path / "mine.py"


def test_a_function_of_a_file_gives_a_specimen(file):
    specimen = open_subject(Subject(source=f"{file}:make"))
    assert propose_sites(specimen) == {"1": 5}
    assert specimen.name == "mine.make"
    assert not specimen.module.training
    assert len(list(specimen.batches("train"))) == 18
    assert len(list(specimen.batches("held_out"))) == 2


def test_code_of_a_saved_run_is_not_run_unless_it_is_named(file):
    file.write_text("raise SystemExit('it was run')")
    with pytest.raises(TenfoldError, match=r"add --subject.source .*mine.py:make"):
        open_subject(Subject(source=f"{file}:make"), trusted=False)


def test_a_file_that_raises_is_named_with_what_it_raised(file):
    file.write_text("1 / 0\n")
    with pytest.raises(TenfoldError, match=r"mine\.py raised ZeroDivisionError"):
        open_subject(Subject(source=f"{file}:make"))


def test_a_function_may_import_its_neighbours_when_it_is_called(file):
    late = CODE.replace("from neighbour import WIDTH\n", "").replace(
        "    torch.manual_seed(0)", "    from late_neighbour import WIDTH"
    )
    (file.parent / "late_neighbour.py").write_text("WIDTH = 4\n")
    file.write_text(late)
    assert propose_sites(open_subject(Subject(source=f"{file}:make"))) == {"1": 4}


def test_a_wrong_name_gets_the_nearest_function(file):
    with pytest.raises(TenfoldError, match="did you mean make"):
        open_subject(Subject(source=f"{file}:mkae"))
    with pytest.raises(TenfoldError, match="does not exist"):
        open_subject(Subject(source=f"{file.parent}/other.py:make"))


def test_what_is_no_subject_is_refused_by_its_type(file):
    with pytest.raises(TenfoldError, match=r"mine.number returned int; return a"):
        open_subject(Subject(source=f"{file}:number"))
    with pytest.raises(TenfoldError, match="returned a tuple of int, int"):
        specimen_of((1, 2))


def test_the_last_tenth_of_the_batches_is_held_out():
    data = [numbers(4, 3) + i for i in range(23)]
    specimen = specimen_of((nn.Linear(3, 2), data))
    train, held_out = (list(specimen.batches(split)) for split in ("train", "held_out"))
    assert (len(train), len(held_out)) == (21, 2)
    assert torch.equal(held_out[0].inputs[0], data[21])
    late = next(specimen.batches("train", 5))
    assert torch.equal(late.inputs[0], data[5])
    assert specimen.batch_size == 4


def test_a_loader_is_walked_through_from_any_batch():
    x, y = numbers(50, 3), torch.arange(50)
    loader = DataLoader(TensorDataset(x, y), batch_size=8)
    specimen = specimen_of((nn.Linear(3, 2), loader))
    batch = next(specimen.batches("train", 2))
    assert torch.equal(batch.inputs[0], x[16:24])
    assert len(batch.inputs) == 1
    assert torch.equal(batch.labels["label"], y[16:24])
    assert len(next(specimen.batches("held_out")).inputs[0]) == 2


def test_a_shuffling_loader_is_refused():
    loader = DataLoader(TensorDataset(numbers(64, 3)), batch_size=8, shuffle=True)
    with pytest.raises(TenfoldError, match="use shuffle=False"):
        specimen_of((nn.Linear(3, 2), loader))


def test_dicts_go_by_the_names_that_forward_takes():
    class Named(nn.Module):
        def forward(self, x, *, scale):
            return x * scale

    data = [{"x": numbers(2, 3), "scale": torch.tensor(2.0), "year": torch.tensor([1, 2])}] * 3
    batch = next(specimen_of((Named(), data)).batches("train"))
    assert {*batch.keywords} == {"x", "scale"}
    assert batch.labels["year"].tolist() == [1, 2]
    assert batch.labels["year"].dtype == torch.int64


def test_a_function_of_split_and_start_is_asked_itself():
    def batches(split, start):
        first = {"train": 0, "held_out": 100}[split] + start
        while True:
            yield torch.full((2, 3), float(first))
            first += 1

    specimen = specimen_of((nn.Linear(3, 2), batches))
    assert next(specimen.batches("held_out", 3)).inputs[0][0, 0] == 103


def test_a_specimen_is_taken_as_it_is():
    module = nn.Linear(3, 2).train()
    given = Specimen(
        module=module, batches=lambda _s, _n=0: iter([Batch(inputs=(numbers(2, 3),))]), identity={}
    )
    assert specimen_of(given) is given
    assert not module.training


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (iter([torch.ones(1, 3)]), "walked through only once"),
        (7, "are int, which can be walked"),
        ([torch.ones(1, 3)], "hold 1 batches; give at least 2"),
        (["a", "b"], "a batch is str"),
    ],
)
def test_unfit_data_are_refused(data, message):
    with pytest.raises(TenfoldError, match=message):
        specimen_of((nn.Linear(3, 2), data))


def test_batches_that_grow_are_refused():
    data = [torch.ones(2, 3), torch.ones(3, 3), *[torch.ones(2, 3)] * 9]
    specimen = specimen_of((nn.Linear(3, 2), data))
    with pytest.raises(TenfoldError, match="batch 1 of model holds 3 items, those before it 2"):
        list(specimen.batches("train"))


def test_pictures_are_shown_on_one_scale_of_grey():
    data = [torch.linspace(-1, 1, 4 * 4).reshape(1, 1, 4, 4).repeat(2, 1, 1, 1)] * 4
    specimen = specimen_of((nn.Conv2d(1, 3, 2), data))
    assert specimen.shows == "picture"
    shown = specimen.pictures(next(specimen.batches("train")))
    assert shown.shape == (2, 4, 4, 1)
    assert shown.dtype == torch.uint8
    wanted = np.round((np.linspace(-1, 1, 16) + 1) / 2 * 255)
    assert shown[0].flatten().tolist() == wanted.tolist()


def test_whole_numbers_are_tokens_where_the_module_embeds_them():
    data = [torch.randint(9, (2, 5), generator=torch_stream(0, "tokens"))] * 4
    specimen = specimen_of((nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3), nn.ReLU()), data))
    assert specimen.shows == "text"
    assert len(specimen.vocabulary) == 9
    batch = next(specimen.batches("train"))
    assert torch.equal(batch.labels["token"], batch.inputs[0])


def test_identity_tells_weights_and_data_apart():
    module, data = nn.Linear(3, 2), [torch.ones(2, 3)] * 4
    before = specimen_of((module, data)).identity
    assert specimen_of((module, [torch.zeros(2, 3)] * 4)).identity["weights"] == before["weights"]
    assert specimen_of((module, [torch.zeros(2, 3)] * 4)).identity != before
    with torch.no_grad():
        module.weight[0, 0] += 1e-6
    assert specimen_of((module, data)).identity["weights"] != before["weights"]
