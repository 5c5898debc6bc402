import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from analysis.data import sources
from analysis.data.dataset import Dataset, overlap
from analysis.data.digits import load_split
from analysis.data.sources import load_data, resized
from analysis.errors import AnalysisError, DataError, StudyError, UnknownNameError


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("role", ["calibration", "evaluation"])
def test_the_digits_follow_the_role(role):
    images, labels = load_split(role)
    data = load_data("demo:digits", role=role)
    assert np.array_equal(data.images, images)
    assert np.array_equal(data.labels, labels)
    assert data.digest == load_data(f"demo:digits/{role}", role="calibration").digest


def test_the_digits_of_two_roles_share_no_image():
    sets = [load_data("demo:digits", role=role) for role in sources.ROLES]
    assert overlap(*sets) == 0


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("demo:digit", UnknownNameError, "did you mean `digits`"),
        ("demo:digits/test", UnknownNameError, "calibration"),
        ("digits", StudyError, "Data must be"),
        ("npz:", StudyError, "Data must be"),
        ("pickle:a.pkl", StudyError, "Data must be"),
        ("npz:none.npz", DataError, "No such file"),
        ("images:none", DataError, "no such folder"),
        ("cifar10:none", DataError, "python batches"),
    ],
)
def test_other_specs_are_refused(spec, error, message):
    with pytest.raises(error, match=message):
        load_data(spec)


def test_an_unknown_role_is_refused():
    with pytest.raises(AnalysisError, match="role"):
        load_data("demo:digits", role="training")


@pytest.mark.parametrize("kind", ["npz", "images"])
def test_relative_paths_are_looked_up_beside_the_study_file_then_in_the_current_folder(
    tmp_path, monkeypatch, kind
):
    here, study = tmp_path / "here", tmp_path / "study"
    for value, folder in enumerate((here, study)):
        folder.mkdir()
        np.savez(folder / "a", x=np.full((1, 3, 5, 5), value, np.uint8))
        (folder / "images").mkdir()
        Image.new("RGB", (5, 5), (value, 0, 0)).save(folder / "images" / "a.png")
    monkeypatch.chdir(here)
    spec = {"npz": "npz:a.npz", "images": "images:images"}[kind]
    assert load_data(spec).images[0, 0, 0, 0] == 0
    assert load_data(spec, base=study).images[0, 0, 0, 0] == 1
    assert load_data(spec, base=tmp_path).images[0, 0, 0, 0] == 0


def test_cifar_batches_follow_the_role(tmp_path):
    for name, n in (("data_batch_2", 4), ("test_batch", 3)):
        content = {b"data": pixels(n, 3072), b"labels": [1] * n}
        (tmp_path / name).write_bytes(pickle.dumps(content, 2))
    calibration = load_data(f"cifar10:{tmp_path}", role="calibration")
    assert len(calibration) == 4
    assert "data_batch_1, data_batch_3" in calibration.notes[0]
    assert len(load_data(f"cifar10:{tmp_path}", role="evaluation")) == 3


def test_a_limit_takes_classes_in_proportion():
    data = load_data("demo:digits", role="calibration", limit=30, seed=1)
    assert np.bincount(data.labels).tolist() == [3] * 10


def test_arrays_of_the_right_size_are_not_touched():
    data = Dataset(pixels(2, 3, 8, 8))
    assert resized(data, 8) is data
    assert resized(data, 0) is data


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_arrays_are_resized_along_the_short_side_then_cropped(dtype):
    x = pixels(3, 3, 12, 16).astype(dtype)
    data = resized(Dataset(x, np.arange(3)), 6)
    smaller = F.interpolate(
        torch.from_numpy(x).float(), (6, 8), mode="bilinear", antialias=True
    ).numpy()[..., 1:7]
    tolerance = 0.5 if dtype == np.uint8 else 0
    assert np.abs(data.images - smaller).max() <= tolerance + 1e-4
    assert data.images.dtype == dtype
    assert data.notes == ("Resized from 16 x 12 to 6 x 6.",)


def test_a_constant_image_stays_constant_when_resized():
    data = resized(Dataset(np.full((1, 1, 5, 9), 200, np.uint8)), 32)
    assert data.sample_shape == (1, 32, 32)
    assert set(data.images.ravel()) == {200}


def test_a_size_that_would_not_fit_in_memory_is_refused():
    with pytest.raises(DataError, match="at most 2 GiB"):
        resized(Dataset(pixels(2, 3, 8, 8)), 100_000)
