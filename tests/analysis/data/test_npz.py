import io
import zipfile

import numpy as np
import pytest

from analysis.data.npz import check_npz, read_npz
from analysis.errors import DataError


def saved(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def read(**arrays):
    return read_npz(saved(**arrays), "npz:test")


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_both_layouts_give_the_same_images(channels):
    x = pixels(5, channels, 6, 7)
    first, last = read(x=x), read(x=x.transpose(0, 2, 3, 1))
    assert np.array_equal(first.images, x)
    assert first.digest == last.digest
    assert first.notes == last.notes == ()


def test_an_ambiguous_layout_is_read_channels_first_and_said_so():
    data = read(x=pixels(2, 3, 4, 4))
    assert data.sample_shape == (3, 4, 4)
    assert "could be read either way" in data.notes[0]


def test_images_without_a_channel_axis_have_one_channel():
    x = pixels(2, 5, 6)
    data = read(x=x)
    assert np.array_equal(data.images[:, 0], x)
    assert "one channel" in data.notes[0]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_floats_become_float32_and_stay_as_they_are(dtype):
    x = (pixels(2, 1, 5, 5) / 256).astype(dtype)
    data = read(x=x)
    assert data.images.dtype == np.float32
    assert np.array_equal(data.images, x.astype(np.float32))
    assert data.notes == ()


def test_floats_up_to_255_are_pointed_out():
    assert "255" in read(x=pixels(3, 1, 9, 9).astype(np.float32)).notes[0]


@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "u8", ">i2"])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_labels_of_any_whole_kind_become_int64(dtype, shape):
    data = read(x=pixels(4, 1, 5, 5), y=np.arange(4, dtype=dtype).reshape(shape))
    assert data.labels.dtype == np.int64
    assert data.labels.tolist() == [0, 1, 2, 3]


BAD = {
    "no x": ({"images": pixels(2, 1, 5, 5)}, "must hold an array `x`.*got images"),
    "whole numbers": ({"x": pixels(2, 1, 5, 5).astype(np.int64)}, "uint8.*got int64"),
    "text": ({"x": np.array(["a", "b"])}, "plain numbers, got <U1"),
    "complex": ({"x": np.zeros((2, 1, 5, 5), complex)}, "plain numbers"),
    "ragged": ({"x": np.array([np.zeros(2), np.zeros(3)], dtype=object)}, "different sizes"),
    "two axes": ({"x": pixels(2, 5)}, r"shape \(N, C, H, W\)"),
    "five axes": ({"x": pixels(2, 1, 5, 5, 1)}, r"shape \(N, C, H, W\)"),
    "two channels": ({"x": pixels(2, 2, 5, 5)}, "1, 3 or 4 channels"),
    "no images": ({"x": pixels(0, 1, 5, 5)}, "shape"),
    "NaN": ({"x": np.full((2, 1, 5, 5), np.nan)}, "NaN or infinity in 2 of 2"),
    "too large a float": ({"x": np.full((1, 1, 5, 5), 1e300)}, "NaN or infinity in 1 of 1"),
    "too few labels": ({"x": pixels(2, 1, 5, 5), "y": np.arange(3)}, "one for each image"),
    "one-hot": ({"x": pixels(2, 1, 5, 5), "y": np.eye(2, dtype=int)}, "one for each image"),
    "float labels": ({"x": pixels(2, 1, 5, 5), "y": np.zeros(2)}, "whole numbers"),
    "negative": ({"x": pixels(2, 1, 5, 5), "y": np.array([0, -1])}, "from 0.*got -1"),
    "object labels": ({"x": pixels(2, 1, 5, 5), "y": np.array([0, None])}, "plain numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_arrays_that_are_no_images_or_labels_are_refused(name):
    arrays, message = BAD[name]
    with pytest.raises(DataError, match=message):
        read(**arrays)


def archive(method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as target:
        for name, content in members.items():
            target.writestr(f"{name}.npy", content)
    return stream.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def test_a_header_that_promises_more_than_there_is_is_refused_before_reading():
    with pytest.raises(DataError, match="as long as its header says"):
        check_npz(archive(x=header((10**6, 3, 1000, 1000)) + bytes(10)))


def test_an_archive_that_expands_out_of_proportion_is_refused():
    n = 70 * 2**20
    with pytest.raises(DataError, match="at most 200 times its size"):
        check_npz(archive(x=header((n, 1, 1, 1)) + bytes(n)))


def test_a_size_above_the_limit_is_refused_by_what_the_directory_says():
    content = bytearray(archive(zipfile.ZIP_STORED, x=header((1, 1, 1, 1)) + bytes(1)))
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (3 * 2**30).to_bytes(4, "little")
    with pytest.raises(DataError, match=r"at most 2 GiB, got 3\.0 GiB"):
        check_npz(bytes(content))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", archive(x=b"no array")])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    for source in (content, tmp_path / "a.npz"):
        with pytest.raises(DataError, match="intact npz archive"):
            read_npz(source, "npz:a")


def test_a_file_cut_short_or_with_a_flipped_byte_is_refused():
    content = saved(x=pixels(4, 3, 16, 16))
    for share in (0.3, 0.6, 0.99):
        with pytest.raises(DataError):
            read_npz(content[: int(len(content) * share)], "npz:a")
    broken = bytearray(content)
    broken[len(content) // 2] ^= 0xFF
    with pytest.raises(DataError, match="intact"):
        read_npz(bytes(broken), "npz:a")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_npz(tmp_path / "none.npz", "npz:none")


def test_members_other_than_x_and_y_are_never_looked_at():
    content = archive(x=header((1, 1, 2, 2)) + bytes(4), **{"../../evil": b"\x80\x04junk"})
    assert set(check_npz(content)) == {"x"}
    assert len(read_npz(content, "npz:a")) == 1
