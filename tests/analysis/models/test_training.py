import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from analysis.data.digits import load_split
from analysis.errors import OptionError, UnknownNameError
from analysis.events import Finished, Progress, Started, result
from analysis.models import training
from analysis.models.demo import DEMO_MODELS, build, normalized, weights_path
from analysis.models.training import RECIPES, augment, train_demo


def few(split):
    """As load_split, but with 120 images to train on: a batch of 50, another, and one of 20."""
    images, labels = load_split(split)
    return (images[:120], labels[:120]) if split == "train" else (images, labels)


@pytest.fixture(autouse=True)
def _small_runs(monkeypatch):
    monkeypatch.setattr(training, "load_split", few)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a batch only waits for a second thread on a busy machine
    yield
    torch.set_num_threads(threads)


def train(path, name="digits-vit", **options):
    record = result(train_demo(name, path=path, **options))
    return record, load_file(path)


@pytest.mark.parametrize("name", DEMO_MODELS)
def test_two_epochs_with_equal_seeds_train_equal_weights_bit_for_bit(name, tmp_path):
    first, weights = train(tmp_path / "a.safetensors", name, seed=3, epochs=2)
    torch.rand(5)  # whatever the caller draws must not matter
    second, again = train(tmp_path / "b.safetensors", name, seed=3, epochs=2)
    assert weights.keys() == again.keys() == build(name).state_dict().keys()
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    assert first.accuracy == second.accuracy


def test_another_seed_trains_other_weights(tmp_path):
    _, weights = train(tmp_path / "a.safetensors", seed=0, epochs=1)
    _, others = train(tmp_path / "b.safetensors", seed=1, epochs=1)
    assert not torch.equal(weights["head.weight"], others["head.weight"])


def test_events_name_each_epoch_and_evaluation_is_read_only_after_the_last(monkeypatch, tmp_path):
    read = []
    monkeypatch.setattr(training, "load_split", lambda split: read.append(split) or few(split))
    path = tmp_path / "new" / "vit.safetensors"
    events = []
    for event in train_demo("digits-vit", epochs=2, path=path):
        events.append(event)
        if isinstance(event, Progress):
            assert "evaluation" not in read
            assert not path.exists()
    assert [type(event) for event in events] == [Started, Progress, Progress, Finished]
    assert [(event.done, event.total) for event in events[1:3]] == [(1, 2), (2, 2)]
    assert "train loss" in events[1].message
    assert "held-out accuracy" in events[1].message
    assert read.count("evaluation") == 1


def test_the_file_holds_what_the_record_says(tmp_path):
    path = tmp_path / "vit.safetensors"
    record, weights = train(path, seed=5, epochs=1)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata == {
        "name": "digits-vit",
        "seed": "5",
        "epochs": "1",
        "evaluation_accuracy": repr(record.accuracy),
        "evaluation_n": "597",
    }
    model = build("digits-vit").eval()
    model.load_state_dict(weights, strict=True)
    images, labels = load_split("evaluation")
    with torch.no_grad():
        correct = (model(normalized(images)).argmax(1) == torch.tensor(labels)).sum().item()
    assert record.accuracy == correct / record.n
    assert list(tmp_path.iterdir()) == [path]


def test_training_leaves_the_callers_random_numbers_alone(tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train(tmp_path / "vit.safetensors", epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_closing_the_stream_writes_nothing(tmp_path):
    path = tmp_path / "vit.safetensors"
    events = train_demo("digits-vit", epochs=3, path=path)
    next(events)
    next(events)
    events.close()
    assert not path.exists()


def test_there_is_a_recipe_for_every_network_and_the_shipped_files_followed_it():
    assert RECIPES.keys() == DEMO_MODELS.keys()
    for name, recipe in RECIPES.items():
        with safe_open(weights_path(name), framework="pt") as file:
            assert file.metadata()["epochs"] == str(recipe.epochs)


def test_augmentation_keeps_the_background_and_adds_no_new_extremes():
    images = normalized(load_split("calibration")[0][:50])
    blank = torch.full_like(images, images.min())
    generator = torch.Generator().manual_seed(0)
    torch.testing.assert_close(augment(blank, generator), blank)
    changed = augment(images, generator)
    assert changed.shape == images.shape
    assert not torch.allclose(changed, images, atol=0.1)
    assert changed.min() >= images.min() - 1e-5
    assert changed.max() <= images.max() + 1e-5


def test_augmentation_with_nothing_to_vary_is_the_identity(monkeypatch):
    for bound in ("TURN", "ZOOM", "SHIFT"):
        monkeypatch.setattr(training, bound, 0.0)
    images = normalized(load_split("calibration")[0][:5])
    torch.testing.assert_close(augment(images, torch.Generator()), images, atol=1e-5, rtol=0)


def test_what_cannot_be_trained_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean `digits-vit`"):
        next(train_demo("digit-vit"))
    with pytest.raises(OptionError, match="at least 1, got 0"):
        next(train_demo("digits-vit", epochs=0, path=tmp_path / "x.safetensors"))
