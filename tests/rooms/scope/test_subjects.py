import sys
import types

import pytest
import torch
from torch import nn

from tenfold.engine import files
from tenfold.engine.errors import TenfoldError
from tenfold.engine.rng import torch_stream
from tenfold.engine.run import Options
from tenfold.parts.sae.specimen import Specimen
from tenfold.rooms.scope.anatomy import find_blocks, layer_sites, watch_modules
from tenfold.rooms.scope.config import Subject
from tenfold.rooms.scope.own_code import specimen_of
from tenfold.rooms.scope.subjects import describe_sites, open_subject, propose_sites

torch.set_num_threads(1)
QUIET = Options(quiet=True)
BOUNDARY = 256


@pytest.fixture(scope="module")
def tiny(small_text):
    return open_subject(Subject(source="tiny", text=str(small_text), batch=4), options=QUIET)


def numbers(*shape):
    return torch.randn(*shape, generator=torch_stream(0, "numbers"))


def seen(module, *inputs):
    return watch_modules(module.eval(), lambda: module(*inputs))


def test_the_structure_of_our_own_model_gives_the_sites_that_it_names(tiny):
    blocks = find_blocks(tiny.module, seen(tiny.module, tiny.encode("the cat")))
    found = {site for b in blocks for site in (*b.attention, b.feed_forward, b.residual)}
    assert found == {*tiny.sites}
    assert propose_sites(tiny) == tiny.sites


def test_sites_come_in_natural_order_with_widths(tiny):
    proposed = [row for row in describe_sites(tiny) if row.proposed]
    assert {row.name: row.width for row in proposed} == tiny.sites
    layers = [int(row.name.split(".")[1].split(":")[0]) for row in proposed]
    assert layers == sorted(layers)


def test_the_loss_is_known_where_both_tokens_are_text(tiny):
    batch = next(tiny.batches("train"))
    tokens, loss = batch.inputs[0], tiny.loss(batch)
    logs = tiny.scores(tokens).log_softmax(dim=-1)
    wanted = -logs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)
    text = (tokens[:, :-1] != BOUNDARY) & (tokens[:, 1:] != BOUNDARY)
    assert torch.allclose(loss[:, :-1][text], wanted[text], atol=1e-6)
    assert loss[:, :-1][~text].isnan().all()
    assert loss[:, -1].isnan().all()


def test_the_unembedding_carries_the_last_norms_gain(tiny):
    tokens, kept = tiny.encode("the cat sat"), {}
    with tiny.module.blocks[-1].register_forward_hook(lambda _m, _a, x: kept.update(x=x)):
        scores = tiny.scores(tokens)
    x = kept["x"]
    normed = x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(normed @ tiny.unembedding(), scores, atol=1e-4)


def test_bytes_read_as_text_or_escapes(tiny):
    words = tiny.vocabulary
    assert len(words) == 257
    assert (words[ord("a")], words[ord(" ")], words[ord("\n")]) == ("a", " ", r"\n")
    assert words[0xC3] == r"\xc3"
    assert all(word.isprintable() for word in words)
    assert tiny.encode("aé").tolist() == [[BOUNDARY, ord("a"), 0xC3, 0xA9]]
    assert list(tiny.special) == [BOUNDARY]


def test_batches_are_a_function_of_split_and_number(tiny):
    third = next(tiny.batches("held_out", 3))
    batches = tiny.batches("held_out")
    fourth_of_all = [next(batches) for _ in range(4)][3]
    assert torch.equal(third.inputs[0], fourth_of_all.inputs[0])
    assert tiny.kinds == ("code", "prose")


def test_a_context_of_ones_own_trains_a_model_of_that_context(small_text):
    cfg = Subject(source="tiny", text=str(small_text), context=16, batch=2)
    specimen = open_subject(cfg, options=QUIET)
    assert specimen.context == 16
    assert next(specimen.batches("train")).inputs[0].shape == (2, 16)


def test_a_run_of_a_room_with_a_network_is_opened_by_its_subject_module(tmp_path, monkeypatch):
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    room = types.ModuleType("tenfold.rooms.toy.subject")
    room.load = lambda path: specimen_of((module, [numbers(2, 3)] * 4), name=path.name)
    monkeypatch.setitem(sys.modules, "tenfold.rooms.toy.subject", room)
    files.write_json(tmp_path / "config.json", {"room": "toy", "verb": "train"})
    assert isinstance(open_subject(Subject(source=str(tmp_path))), Specimen)


@pytest.mark.parametrize("room", ["jumprelu", "scope", "nothing", "../etc", "os.path"])
def test_a_run_without_a_network_is_refused(tmp_path, room):
    files.write_json(tmp_path / "config.json", {"room": room})
    with pytest.raises(TenfoldError, match="whose runs hold no network to look into"):
        open_subject(Subject(source=str(tmp_path)))


@pytest.mark.parametrize("content", [None, {}, {"room": 3}, [1]])
def test_a_folder_that_is_nothing_known_is_refused(tmp_path, content):
    if content is not None:
        files.write_json(tmp_path / "config.json", content)
    with pytest.raises(TenfoldError, match="neither a Hugging Face model nor a run"):
        open_subject(Subject(source=str(tmp_path)))


def test_a_word_that_is_nothing_known_is_refused():
    with pytest.raises(TenfoldError, match=r"subject 'quik' is none of tiny, quick, laptop"):
        open_subject(Subject(source="quik"))


def test_layers_of_other_networks_are_read_behind_norm_and_activation():
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 4, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(64, 16),
        nn.Linear(16, 10),
    )
    visits = seen(module, numbers(2, 1, 8, 8))
    assert find_blocks(module, visits) == []
    assert layer_sites(visits) == {"0": "2@1", "3": "4@1", "6": "6"}
    specimen = specimen_of((module, [numbers(2, 1, 8, 8)] * 4))
    assert propose_sites(specimen) == {"2@1": 8, "4@1": 4, "6": 16}
    shapes = {row.name: row.shape for row in describe_sites(specimen)}
    assert shapes["2@1"] == (2, 6, 6, 8)


def test_recurrent_layers_are_read_at_their_sequence():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(9, 4)
            self.rnn = nn.LSTM(4, 6, batch_first=True)
            self.cell = nn.Linear(6, 6)
            self.head = nn.Linear(6, 9)

        def forward(self, tokens):
            x = self.rnn(self.embed(tokens))[0]
            return self.head(self.cell(self.cell(x)))

    data = [torch.randint(9, (2, 5), generator=torch_stream(0, "tokens"))] * 4
    assert propose_sites(specimen_of((Recurrent(), data))) == {"rnn:out[0]": 6}


def test_torchs_own_encoder_is_read_where_its_modules_are_called():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    specimen = specimen_of((module, [numbers(2, 5, 8)] * 4))
    # The output projection is used without being called, so there is no site before it.
    assert propose_sites(specimen) == {
        "layers.0.linear2": 8,
        "layers.0": 8,
        "layers.1.linear2": 8,
        "layers.1": 8,
    }


def test_a_network_without_layers_is_told():
    class Plain(nn.Module):
        def forward(self, x):
            return x + 1

    with pytest.raises(TenfoldError, match="no site can be proposed; name sites"):
        propose_sites(specimen_of((Plain(), [numbers(2, 3)] * 4)))
