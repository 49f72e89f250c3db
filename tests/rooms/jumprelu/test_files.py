import pytest
import torch

from rooms.jumprelu.examples import KINDS, dictionary, rows, transcoder
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu.files import find_dictionary, load, save, to_arrays
from tenfold.rooms.jumprelu.model import BatchTopK, stack


def small(kind, **more):
    return dictionary(kind, dtype=torch.float32, **more)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_dictionary_comes_back_bit_for_bit(kind, folded, tmp_path):
    whole = small(kind, scale=2.5)
    whole = whole.fold() if folded else whole
    save(whole, tmp_path / "it")
    again, x = load(tmp_path / "it"), 2 * rows().float()
    assert (again.kind, again.scale, again.pre_bias) == (kind, whole.scale, whole.pre_bias)
    theirs = whole.state_dict()
    assert again.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in again.state_dict().items())
    assert torch.equal(again(x), whole(x))
    if isinstance(whole.unit, BatchTopK):
        assert again.unit.prefixes == whole.unit.prefixes


def test_a_log_threshold_is_saved_as_the_threshold_it_is(tmp_path):
    whole = small("jumprelu")
    whole.unit.raw.data.log_()
    whole.unit.as_log = True
    save(whole, tmp_path / "it")
    torch.testing.assert_close(load(tmp_path / "it").unit.threshold, whole.unit.threshold)


def test_facts_are_kept_beside_the_arrays():
    arrays = to_arrays(small("topk", scale=2.0), values={"site": "blocks.1", "scale": 9.0})
    assert arrays.values == {"site": "blocks.1", "scale": 2.0, "pre_bias": True, "k": 4}


def test_the_dtype_asked_for_is_that_of_the_parameters(tmp_path):
    save(small("gated"), tmp_path / "it")
    assert load(tmp_path / "it", dtype=torch.float64).w_enc.dtype == torch.float64


def test_nothing_is_written_over_unless_asked_for(tmp_path):
    save(small("relu"), tmp_path / "it")
    with pytest.raises(TenfoldError, match="is not empty; choose another folder or say --overwr"):
        save(small("topk"), tmp_path / "it")
    assert load(tmp_path / "it").kind == "relu"
    save(small("topk"), tmp_path / "it", overwrite=True)
    assert load(tmp_path / "it").kind == "topk"
    (tmp_path / "file").write_text("")
    with pytest.raises(TenfoldError, match="is a file; name a folder"):
        save(small("topk"), tmp_path / "file")


def a_run(root, *names):
    (root / "out").mkdir(parents=True)
    (root / "config.json").write_text("{}")
    for name in names:
        save(small("jumprelu"), root / "out" / name)
    return root


def test_the_only_dictionary_of_a_run_is_found(tmp_path):
    run = a_run(tmp_path / "run", "l0_32_s0")
    assert find_dictionary(run) == run / "out" / "l0_32_s0"
    assert load(run).kind == "jumprelu"


def test_several_dictionaries_of_a_run_are_named(tmp_path):
    run = a_run(tmp_path / "run", "l0_32_s0", "l0_64_s0")
    fault = "run run has 2 dictionaries; name one: out/l0_32_s0, l0_64_s0"
    with pytest.raises(TenfoldError, match=fault):
        load(run)


def test_an_unfinished_run_has_no_dictionary(tmp_path):
    with pytest.raises(TenfoldError, match="run run has no dictionary yet; resume it to its end"):
        load(a_run(tmp_path / "run"))


def test_an_absent_path_is_told(tmp_path):
    with pytest.raises(TenfoldError, match="does not exist; give the folder of a dictionary"):
        load(tmp_path / "absent")


def test_a_stack_is_no_dictionary_to_save(tmp_path):
    whole = stack([small("relu"), small("relu", seed=1)])
    with pytest.raises(ValueError, match=r"a stack of 2 is no dictionary; take one \.lane\(i\)"):
        save(whole, tmp_path / "it")
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("skip", [False, True])
def test_a_transcoder_comes_back_bit_for_bit(kind, skip, tmp_path):
    whole = transcoder(kind, skip=skip, dtype=torch.float32)
    save(whole, tmp_path / "it")
    again, x = load(tmp_path / "it"), rows().float()
    assert (again.transcoder, again.pre_bias, again.scale) == (True, False, 2.0)
    assert again.state_dict().keys() == whole.state_dict().keys()
    assert torch.equal(again(x), whole(x))


def test_a_transcoder_in_a_release_format_is_the_same_function(tmp_path):
    whole, x = transcoder("jumprelu", dtype=torch.float32), rows().float()
    save(whole, tmp_path / "it", format="gemma-scope-2", values={"site": "a", "site_out": "b"})
    torch.testing.assert_close(load(tmp_path / "it")(x), whole(x), rtol=1e-5, atol=1e-5)
