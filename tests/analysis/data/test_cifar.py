import os
import pickle

import numpy as np
import pytest

from analysis.data.cifar import TEST_FILES, TRAIN_FILES, read_batches
from analysis.errors import DataError


def batch(n: int = 3, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {
        b"batch_label": b"testing batch 1 of 1",
        b"labels": [int(i) for i in rng.integers(0, 10, n)],
        b"data": rng.integers(0, 256, (n, 3072), dtype=np.uint8),
        b"filenames": [b"a.png"] * n,
    }


def write(folder, content, name="test_batch", protocol=2):
    (folder / name).write_bytes(pickle.dumps(content, protocol))


def test_a_batch_is_read_as_it_was_written(tmp_path):
    content = batch()
    write(tmp_path, content)
    got = read_batches(tmp_path, TEST_FILES)
    assert got.images.shape == (3, 3, 32, 32)
    assert np.array_equal(got.images.reshape(3, -1), content[b"data"])
    assert got.labels.tolist() == content[b"labels"]
    assert got.class_names == ()
    assert got.missing == ()


def text(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value


def test_a_batch_as_python_2_wrote_it_is_read(tmp_path):
    # The opcodes of the published files: byte strings, and numpy's names of that time.
    pixels = bytes(range(256)) * 12
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + len(pixels).to_bytes(4, "little") + pixels + b"tb"
    )
    content = b"\x80\x02}(" + text(b"labels") + b"](K\x07e" + text(b"data") + array + b"u."
    (tmp_path / "test_batch").write_bytes(content)
    got = read_batches(tmp_path, TEST_FILES)
    assert got.images.tobytes() == pixels
    assert got.labels.tolist() == [7]


def test_batches_are_read_in_order_and_missing_ones_are_named(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    first, third = batch(2, 1), batch(4, 3)
    write(folder, third, "data_batch_3")
    write(folder, first, "data_batch_1")
    write(folder, {b"label_names": [f"c{i}".encode() for i in range(10)]}, "batches.meta")
    got = read_batches(tmp_path, TRAIN_FILES)
    assert got.labels.tolist() == first[b"labels"] + third[b"labels"]
    assert got.missing == ("data_batch_2", "data_batch_4", "data_batch_5")
    assert got.class_names[:2] == ("c0", "c1")


class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "function", [os.system, eval, exec, getattr, print, np.load, np.zeros, np.frombuffer]
)
def test_every_other_function_is_refused_and_not_run(tmp_path, function, protocol, capfd):
    ran = tmp_path / "ran"
    argument = f"touch {ran}" if function is os.system else f"open({str(ran)!r}, 'w')"
    write(tmp_path, {b"data": Runs(function, (argument,)), b"labels": []}, protocol=protocol)
    with pytest.raises(DataError, match=r"asks for.*no code of the file was run"):
        read_batches(tmp_path, TEST_FILES)
    assert not ran.exists()
    assert capfd.readouterr().out == ""


def test_instructions_that_call_or_change_the_stand_ins_do_no_harm(tmp_path):
    hostile = (
        b"cnumpy\nndarray\n(I1000000000\ntR.",  # calls the array type
        b"cnumpy\ndtype\n(U\x01OtR.",  # an array of objects
        b"cnumpy.core.multiarray\n_reconstruct\n}U\x08__code__NsbR.",  # writes to a function
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",  # reaches through a function
        b"\x80\x04\x8c\x15numpy.core.multiarray\x8c\x18_reconstruct.__globals__\x93.",
    )
    for content in hostile:
        (tmp_path / "test_batch").write_bytes(content)
        with pytest.raises(DataError):
            read_batches(tmp_path, TEST_FILES)
    write(tmp_path, batch())
    assert len(read_batches(tmp_path, TEST_FILES).images) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": np.zeros((3, 3072), np.int64)}, "`data`, uint8"),
        ({b"data": np.zeros((3, 100), np.uint8)}, "`data`, uint8"),
        ({b"data": np.zeros(3072, np.uint8)}, "`data`, uint8"),
        ({b"data": np.zeros((3, 3072), np.uint8, order="F")}, "`data`, uint8"),
        ({b"data": [1, 2]}, "`data`, uint8"),
        ({b"labels": [1, 2]}, "`labels`.*list of 2"),
        ({b"labels": [1, 2, 10]}, "`labels`"),
        ({b"labels": "abc"}, "`labels`.*str"),
    ],
)
def test_arrays_and_labels_must_be_those_of_cifar(tmp_path, change, message):
    write(tmp_path, batch() | change)
    with pytest.raises(DataError, match=message):
        read_batches(tmp_path, TEST_FILES)


@pytest.mark.parametrize("content", [b"", b"\x80\x02}", b"hello", b"\x80\x02]."])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match="test_batch"):
        read_batches(tmp_path, TEST_FILES)


def test_a_batch_cut_short_is_refused(tmp_path):
    write(tmp_path, batch())
    content = (tmp_path / "test_batch").read_bytes()
    for share in (0.2, 0.5, 0.9, 0.999):
        (tmp_path / "test_batch").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DataError, match="test_batch"):
            read_batches(tmp_path, TEST_FILES)


def test_a_folder_without_batches_is_refused(tmp_path):
    with pytest.raises(DataError, match="none of test_batch"):
        read_batches(tmp_path, TEST_FILES)
