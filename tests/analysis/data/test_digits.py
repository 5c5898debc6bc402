from hashlib import sha256
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from analysis.data.digits import CLASS_NAMES, SPLITS, load_split, upsample
from analysis.errors import UnknownNameError

# SHA-256 of pixels, then labels as little-endian int64: a change of splits is a change of results.
GOLDEN = {
    "train": "ca8a5e6663f2d5630993dcf6ce85428712df67fc5eac5fb8c80400b1ccad191c",
    "calibration": "ddc3a5a57d802e99b6efd69b2ced34c9e99b5e4fa0c500df5690043536d26f43",
    "evaluation": "2d9f3fcf8936012ace59756972fe72bd3ed4a8c753f7174ee079203b66a4cbaf",
}


def contents(split):
    return {image.tobytes() for image in load_split(split)[0]}


@pytest.mark.parametrize("split", SPLITS)
def test_every_platform_reads_the_same_bytes(split):
    images, labels = load_split(split)
    digest = sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    assert digest == GOLDEN[split]


@pytest.mark.parametrize(
    ("split", "n"), [("train", 1000), ("calibration", 200), ("evaluation", 597)]
)
def test_images_are_bytes_of_one_channel_and_labels_are_whole_numbers(split, n):
    images, labels = load_split(split)
    assert (images.shape, images.dtype) == ((n, 1, 16, 16), np.uint8)
    assert (labels.shape, labels.dtype) == ((n,), np.int64)
    assert (images.min(), images.max()) == (0, 255)


def test_no_image_is_in_two_splits():
    for first, second in combinations(SPLITS, 2):
        assert not contents(first) & contents(second)


def test_together_the_splits_are_the_whole_source():
    source = load_digits()
    expected = {image.tobytes() for image in upsample(source.images.astype(np.uint8))}
    assert set.union(*map(contents, SPLITS)) == expected
    assert sum(len(load_split(split)[1]) for split in SPLITS) == len(source.target) == 1797


def test_labels_belong_to_their_images():
    source = load_digits()
    images = upsample(source.images.astype(np.uint8))
    label_of = {image.tobytes(): label for image, label in zip(images, source.target, strict=True)}
    for split in SPLITS:
        for image, label in zip(*load_split(split), strict=True):
            assert label_of[image.tobytes()] == label


@pytest.mark.parametrize(("split", "each"), [("train", 100), ("calibration", 20)])
def test_training_and_calibration_hold_equally_many_of_each_class(split, each):
    labels = load_split(split)[1]
    assert np.bincount(labels).tolist() == [each] * len(CLASS_NAMES)


def test_evaluation_is_a_third_of_each_class():
    counts = np.bincount(load_split("evaluation")[1])
    assert len(counts) == len(CLASS_NAMES)
    assert counts.min() >= 54
    assert counts.max() <= 63


@pytest.mark.parametrize("split", SPLITS)
def test_any_ten_images_in_a_row_are_ten_classes_while_all_last(split):
    labels = load_split(split)[1]
    shared = np.bincount(labels).min()
    turns = labels[: 10 * shared].reshape(shared, 10)
    assert np.array_equal(turns, np.tile(np.arange(10), (shared, 1)))


def test_writing_into_a_split_does_not_change_the_next_one_loaded():
    images, labels = load_split("calibration")
    images[:] = 7
    labels[:] = 7
    again, labels_again = load_split("calibration")
    assert again.max() == 255
    assert labels_again[0] == 0


def test_upsampling_agrees_with_torch_to_half_a_grey_level():
    scans = load_digits().images.astype(np.uint8)
    exact = interpolate(torch.tensor(scans[:, None] / 16 * 255), scale_factor=2, mode="bilinear")
    assert np.abs(upsample(scans) - exact[:, 0].numpy()).max() <= 0.5


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (8, 128), (16, 255)])
def test_a_constant_image_stays_constant(value, grey):
    assert np.array_equal(
        upsample(np.full((1, 8, 8), value, np.uint8)), np.full((1, 16, 16), grey, np.uint8)
    )


def test_an_unknown_split_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"`test`.*train, calibration, evaluation"):
        load_split("test")
    with pytest.raises(UnknownNameError, match="did you mean `calibration`"):
        load_split("calib")
