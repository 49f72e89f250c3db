import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse

from parts.mip.examples import knapsack, random_mip
from tenfold.engine.errors import TenfoldError
from tenfold.parts.mip.generate.assigning import facility_location
from tenfold.parts.mip.instance import Kind, from_rows
from tenfold.parts.mip.instance_files import KEY, load_mip, save_mip

ARRAYS = ("cost", "lower", "upper", "kinds", "left", "right")


def odd():
    """Return an instance with all that is odd: no entry in a row, infinite sides, long names."""
    return from_rows(
        name="odd «name» \n",
        sense="maximize",
        offset=0.1,
        cost=np.array([1 / 3, -1e300]),
        matrix=sparse.csr_array([[0.0, 0.0], [5e-324, -1.0]]),
        left=np.array([-np.inf, -np.inf]),
        right=np.array([np.inf, 2.0]),
        lower=np.array([-np.inf, 0.0]),
        upper=np.array([np.inf, 3.0]),
        kinds=np.array([Kind.CONTINUOUS, Kind.INTEGER], dtype=np.uint8),
        columns=('a "quoted" name', "ü\\, x"),
        rows=("", "r" * 300),
    )


def same(one, other):
    assert one.digest() == other.digest()
    for name in ("name", "sense", "offset", "columns", "rows"):
        assert getattr(one, name) == getattr(other, name)
    for name in ARRAYS:
        assert getattr(one, name).dtype == getattr(other, name).dtype
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.matrix.shape == other.matrix.shape
    assert np.array_equal(one.matrix.indptr, other.matrix.indptr)
    assert np.array_equal(one.matrix.indices, other.matrix.indices)
    assert np.array_equal(one.matrix.data, other.matrix.data)


@pytest.mark.parametrize(
    "mip",
    [odd(), knapsack(offset=-2.5), random_mip(3), facility_location(customers=5, facilities=4,
                                                                    seed=0)],
)  # fmt: skip
def test_an_instance_is_read_back_bit_by_bit(mip, tmp_path):
    save_mip(mip, tmp_path / "one.safetensors")
    same(load_mip(tmp_path / "one.safetensors"), mip)


def test_an_instance_without_a_row_is_read_back(tmp_path):
    mip = replace(
        odd(), matrix=sparse.csr_array((0, 2)), left=np.zeros(0), right=np.zeros(0), rows=()
    )
    save_mip(mip, tmp_path / "one.safetensors")
    same(load_mip(tmp_path / "one.safetensors"), mip)


def test_equal_instances_give_equal_files(tmp_path):
    for name in "ab":
        save_mip(random_mip(1), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("content", [b"", b"no instance", b"\x00" * 100])
def test_a_file_that_is_corrupt_is_refused(tmp_path, content):
    (tmp_path / "one").write_bytes(content)
    with pytest.raises(TenfoldError, match="cannot be read as an instance"):
        load_mip(tmp_path / "one")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TenfoldError, match="cannot be read as an instance"):
        load_mip(tmp_path / "none")


def test_tensors_that_are_no_instance_are_refused(tmp_path):
    save_file({"x": np.zeros(3)}, tmp_path / "one")
    with pytest.raises(TenfoldError, match="holds no instance"):
        load_mip(tmp_path / "one")


def test_an_instance_of_a_later_version_is_refused_with_both_numbers(tmp_path):
    path = tmp_path / "one"
    save_mip(knapsack(), path)
    with safe_open(path, framework="numpy") as held:
        told = json.loads(held.metadata()[KEY]) | {"schema": 9}
        arrays = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    save_file(arrays, path, metadata={KEY: json.dumps(told)})
    with pytest.raises(TenfoldError, match="has schema 9, this is 1; update"):
        load_mip(path)


# Files that solvers read


@pytest.mark.parametrize("suffix", [".mps", ".lp", ".cip", ".mps.gz", ".lp.gz", ".cip.gz", ".LP"])
def test_an_instance_written_for_solvers_is_read_back(tmp_path, suffix):
    pytest.importorskip("pyscipopt")
    from tenfold.parts.mip import instances

    for number, mip in enumerate(
        (knapsack(), facility_location(customers=5, facilities=4, seed=1))
    ):
        path = tmp_path / f"{number}{suffix}"
        instances.write(mip, path)
        read = instances.read(path)
        # Formats may reorder rows or columns; names tell which is which.
        order = [read.columns.index(name) for name in mip.columns]
        rows = [read.rows.index(name) for name in mip.rows]
        assert np.allclose(read.cost[order], mip.cost)
        assert np.allclose(read.matrix.toarray()[rows][:, order], mip.matrix.toarray())
        assert np.array_equal(read.upper[order], mip.upper)
        assert np.array_equal(read.kinds[order], mip.kinds)
        assert read.sense == mip.sense


def test_a_file_with_gz_is_compressed_and_the_same_each_time(tmp_path):
    pytest.importorskip("pyscipopt")
    from tenfold.parts.mip import instances

    for name in ("a.mps.gz", "b.mps.gz"):
        instances.write(knapsack(), tmp_path / name)
    data = (tmp_path / "a.mps.gz").read_bytes()
    assert data == (tmp_path / "b.mps.gz").read_bytes()
    assert b"ROWS" in gzip.decompress(data)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gz", "a.sol.gz"])
def test_a_name_that_ends_otherwise_is_refused_before_anything_is_written(tmp_path, name):
    from tenfold.parts.mip import instances

    with pytest.raises(TenfoldError, match=r"ends in .*; end it in \.mps, \.lp, \.cip"):
        instances.write(knapsack(), tmp_path / name)
    assert not (tmp_path / name).exists()
