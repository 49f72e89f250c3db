import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from rooms.jumprelu.examples import D, activations
from tenfold.engine import shards
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.jumprelu import config
from tenfold.rooms.jumprelu.rows import matrix_rows, open_matrix, open_rows


def write(path, **arrays):
    match path.suffix:
        case ".npy":
            np.save(path, next(iter(arrays.values())))
        case ".npz":
            np.savez(path, **arrays)
        case ".safetensors":
            save_file(arrays, path)
    return path


SUFFIXES = (".npy", ".npz", ".safetensors")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_file_type_gives_the_rows_written(suffix, tmp_path):
    x = activations(60)
    rows = open_matrix(write(tmp_path / f"x{suffix}", x=x))
    assert (rows.num_rows, rows.width) == (60, D)
    np.testing.assert_array_equal(rows.read(10, 20), x[10:20])
    chosen = np.array([50, 3, 3, 17])
    np.testing.assert_array_equal(rows.gather(chosen), x[chosen])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0, 20, 700])
def test_a_truncated_file_is_named_with_the_byte_where_it_ends(suffix, kept, tmp_path):
    path = write(tmp_path / f"x{suffix}", x=activations(60), y=activations(60))
    path.write_bytes(path.read_bytes()[:kept])
    fault = rf"x\{suffix} is no whole \{suffix} file: it ends at byte {kept} .*; write it again"
    with pytest.raises(TenfoldError, match=fault):
        open_matrix(path, key="" if suffix == ".npy" else "x")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_whole_numbers_are_refused_with_what_to_convert_to(suffix, dtype, tmp_path):
    path = write(tmp_path / f"x{suffix}", x=np.ones((9, 3), dtype=dtype))
    with pytest.raises(TenfoldError, match=f"holds {dtype}; convert it to one of float16, float32"):
        open_matrix(path)


def test_damage_inside_a_compressed_file_is_told_like_a_missing_end(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.tile(np.arange(8, dtype=np.float32), (1_000, 1)))
    damaged = bytearray(path.read_bytes())
    damaged[100:140] = b"\xff" * 40  # where the code of the compression begins
    path.write_bytes(damaged)
    with pytest.raises(TenfoldError, match=r"x\.npz is no whole \.npz file.*write it again"):
        open_matrix(path)


def test_a_damaged_header_is_told_like_a_missing_end(tmp_path):
    path = write(tmp_path / "x.npy", x=activations(60))
    path.write_bytes(path.read_bytes().replace(b"}", b"("))  # an open bracket to NumPy's reader
    with pytest.raises(TenfoldError, match=r"x\.npy is no whole \.npy file.*write it again"):
        open_matrix(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read_as_float32(dtype):
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(matrix_rows(x).read(0, 6), x.float())
    assert torch.equal(matrix_rows(x).gather(np.array([4, 1])), x[[4, 1]].float())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_key_chooses_between_several_arrays(suffix, tmp_path):
    x = activations(60)
    path = write(tmp_path / f"x{suffix}", left=x, right=2 * x)
    np.testing.assert_array_equal(open_matrix(path, key="right").read(0, 60), 2 * x)
    with pytest.raises(TenfoldError, match=r"holds \['left', 'right'\]; say which with --data.key"):
        open_matrix(path)
    with pytest.raises(TenfoldError, match=r"'rihgt'.*right"):
        open_matrix(path, key="rihgt")


def test_a_single_array_has_no_key(tmp_path):
    with pytest.raises(TenfoldError, match="is one array, key 'x' has no meaning; leave it out"):
        open_matrix(write(tmp_path / "x.npy", x=activations(9)), key="x")


def test_sequences_are_flattened_and_belong_together():
    x = activations(60).reshape(12, 5, D)
    rows = matrix_rows(x)
    assert (rows.num_rows, rows.width, rows.unit) == (60, D, 5)
    assert rows.block % 5 == 0
    np.testing.assert_array_equal(rows.read(4, 6), [x[0, 4], x[1, 0]])
    np.testing.assert_array_equal(rows.gather(np.array([59, 7])), [x[11, 4], x[1, 2]])


@pytest.mark.parametrize("shape", [(6,), (2, 2, 2, 2), (0, 3), (3, 0)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(TenfoldError, match=r"has shape .*; wanted \[N, D\] or \[N, T, D\]"):
        matrix_rows(np.ones(shape, dtype=np.float32))


def test_a_missing_file_and_an_unknown_type_are_named(tmp_path):
    with pytest.raises(TenfoldError, match=r"no.npy is not a file; give an .npy, .npz"):
        open_matrix(tmp_path / "no.npy")
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(TenfoldError, match=r"'\.csv'.*\.npy"):
        open_matrix(tmp_path / "x.csv")


def test_pickled_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(TenfoldError, match=r"x\.npy"):
        open_matrix(tmp_path / "x.npy")


def test_a_shard_store_is_read_like_a_matrix(tmp_path):
    x = torch.tensor(activations(60))
    writer = shards.open_writer(
        tmp_path / "site",
        [shards.Column(name="x", dtype="bfloat16", shape=(D,))],
        rows_per_shard=25,
    )
    for start in range(0, 60, 20):
        writer.append(x=x[start : start + 20].bfloat16())
        writer.commit(start)
    writer.finish()
    for given in (tmp_path / "site", config.Shards(path=str(tmp_path / "site"))):
        rows = open_rows(given)
        assert (rows.num_rows, rows.width) == (60, D)
        assert torch.equal(rows.read(15, 45), x[15:45].bfloat16().float())
        assert torch.equal(rows.gather(np.array([59, 0])), x[[59, 0]].bfloat16().float())


def test_streams_have_no_rows_to_count():
    assert open_rows(iter([])) is None
    assert open_rows(lambda _cursor: iter([])) is None


@pytest.mark.parametrize("given", [config.Matrix(), config.Shards()])
def test_a_config_without_a_path_is_told_the_option(given):
    with pytest.raises(TenfoldError, match=r"no activations given; .* --data\.path"):
        open_rows(given)


def test_what_is_no_data_is_refused_by_type():
    with pytest.raises(TenfoldError, match="float is no source of activations; give a path"):
        open_rows(1.5)
