import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analysis.data.dataset import Dataset, Preprocessing, choose, overlap
from analysis.errors import DataError


def images(n: int = 6, channels: int = 3, side: int = 4, seed: int = 0) -> np.ndarray:
    shape = (n, channels, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labelled(n: int, seed: int = 0) -> Dataset:
    return Dataset(images(n, 1, 2), np.random.default_rng(seed).integers(0, 3, n))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((2, 3, 4), np.uint8), None),
        (np.zeros((2, 3, 4, 4), np.float64), None),
        (np.zeros((0, 3, 4, 4), np.uint8), None),
        (images(2), np.zeros(2, np.int32)),
        (images(2), np.zeros(3, np.int64)),
    ],
)
def test_other_shapes_and_dtypes_are_refused(x, y):
    with pytest.raises(DataError, match="got"):
        Dataset(x, y)


def test_images_and_labels_cannot_be_written_to():
    data = Dataset(images(), np.arange(6))
    for array in (data.images, data.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_eight_bit_pixels_are_divided_and_normalized_per_channel():
    x, mean, std = images(), (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    out = Dataset(x).to_tensor([4, 1], mean, std)
    assert out.dtype == torch.float32
    for channel in range(3):
        expected = (x[[4, 1], channel] / 255 - mean[channel]) / std[channel]
        np.testing.assert_allclose(out[:, channel].numpy(), expected, rtol=2e-6, atol=2e-7)


def test_float_pixels_are_taken_as_they_are():
    x = np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32)
    assert torch.equal(Dataset(x).to_tensor([0, 1], [0.0], [1.0]), torch.from_numpy(x))


def test_to_tensor_leaves_the_images_alone():
    x = images().astype(np.float32)
    before = x.copy()
    Dataset(x).to_tensor(slice(None), [1.0] * 3, [2.0] * 3).mul_(0)
    assert np.array_equal(x, before)


def test_normalization_must_fit_the_channels():
    with pytest.raises(DataError, match="each of 3 channel"):
        Dataset(images()).to_tensor([0], [0.5], [0.5])


@given(st.integers(1, 12), st.integers(1, 15))
def test_batches_put_together_are_the_whole_set_in_order(n, size):
    data = Dataset(images(n), np.arange(n))
    parts = list(data.batches(size, Preprocessing((0.0,) * 3, (1.0,) * 3)))
    assert [len(x) for x, _ in parts[:-1]] == [size] * (len(parts) - 1)
    whole = data.to_tensor(slice(None), [0.0] * 3, [1.0] * 3)
    assert torch.equal(torch.cat([x for x, _ in parts]), whole)
    assert torch.cat([y for _, y in parts]).tolist() == list(range(n))


def test_batches_without_labels_have_none():
    ((_, y),) = Dataset(images()).batches(10, Preprocessing((0.0,) * 3, (1.0,) * 3))
    assert y is None


@given(n=st.integers(1, 60), take=st.integers(1, 60), seed=st.integers(0, 5))
def test_a_draw_keeps_class_proportions_to_within_one(n, take, seed):
    data = labelled(n, seed)
    part = data.take(take, seed)
    assert len(part) == min(n, take)
    for label in range(3):
        expected = (data.labels == label).sum() * len(part) / n
        assert abs((part.labels == label).sum() - expected) <= 1 + 1e-9


@given(n=st.integers(2, 60), seed=st.integers(0, 5), labels=st.booleans())
def test_a_draw_is_ordered_repeatable_and_part_of_a_larger_one(n, seed, labels):
    y = labelled(n).labels if labels else None
    small, large = choose(n, n // 2, seed, y), choose(n, n - 1, seed, y)
    assert np.array_equal(small, choose(n, n // 2, seed, y))
    assert np.array_equal(small, np.unique(small))
    assert set(small) <= set(large)


def test_another_seed_draws_other_samples():
    assert not np.array_equal(choose(100, 50, 0, None), choose(100, 50, 1, None))


def test_zero_and_more_than_there_are_take_everything():
    data = labelled(5)
    assert data.take(0, 0) is data
    assert data.take(6, 0) is data


def test_the_digest_sees_pixels_labels_dtype_and_order():
    x, y = images(), np.arange(6)
    one_pixel = x.copy()
    one_pixel[3, 1, 2, 2] ^= 1
    sets = [
        Dataset(x, y),
        Dataset(x),
        Dataset(one_pixel, y),
        Dataset(x, y[::-1].copy()),
        Dataset(x[::-1], y),
        Dataset(x.astype(np.float32), y),
        Dataset(x.reshape(6, 1, 4, 12), y),
    ]
    assert len({data.digest for data in sets}) == len(sets)
    assert Dataset(x.copy(), y.copy(), source="elsewhere", notes=("n",)).digest == sets[0].digest


def test_the_digest_does_not_depend_on_memory_layout():
    x = images()
    strided = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert Dataset(strided).digest == Dataset(x).digest
    assert Dataset(strided).sample_digests == Dataset(x).sample_digests


def test_overlap_counts_evaluation_samples_by_content():
    x = images(8)
    assert overlap(Dataset(x[:5]), Dataset(x[3:])) == 2
    assert overlap(Dataset(x[:3]), Dataset(x[3:])) == 0
    assert overlap(Dataset(x[:1]), Dataset(np.concatenate([x[:1], x[:1], x[1:2]]))) == 2


def test_overlap_sees_through_labels_and_a_division_by_255():
    x = images(4)
    floats = (x / 255).astype(np.float32)
    assert overlap(Dataset(x, np.arange(4)), Dataset(floats)) == 4
    assert overlap(Dataset(x), Dataset(floats + np.float32(0.002))) == 0


def test_normalized_floats_are_not_taken_for_eight_bit_ones():
    x = np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32)
    assert overlap(Dataset(x), Dataset(np.clip(x, 0, 1))) == 0


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_thumbnails_show_the_pixels_in_three_colours(channels):
    x = images(2, channels)
    shown = Dataset(x).thumbnail(1)
    assert shown.shape == (4, 4, 3)
    assert shown.dtype == np.uint8
    for colour in range(3):
        assert np.array_equal(shown[..., colour], x[1, colour if channels > 1 else 0])


def test_thumbnails_of_floats_are_stretched_only_where_they_leave_the_unit_interval():
    inside = np.array([0.0, 0.25, 0.5, 0.75], np.float32).reshape(1, 1, 2, 2)
    assert Dataset(inside).thumbnail(0)[..., 0].ravel().tolist() == [0, 64, 128, 191]
    outside = np.array([-2.0, 0.0, 1.0, 2.0], np.float32).reshape(1, 1, 2, 2)
    assert Dataset(outside).thumbnail(0)[..., 0].ravel().tolist() == [0, 128, 191, 255]
