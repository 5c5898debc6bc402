from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from analysis.catalog import study_key_inputs
from analysis.errors import DataError, StudyError, UnknownNameError, WeightsError
from analysis.models.demo import DEMO_MODELS
from analysis.records import StudySpec
from analysis.study import (
    LiveStudy,
    demo_spec,
    open_study,
    read_normalize,
    read_spec,
    write_spec,
)

RESNET20 = "factory:tests.reference.cifar_resnet20:build"


class Answer(nn.Module):
    """Returns what it is told to, whatever it is shown."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.answer(x)


@pytest.fixture
def model(monkeypatch):
    """Make a factory return a given module, and name the spec of that factory."""

    def use(module: nn.Module) -> str:
        monkeypatch.setattr("tests.reference.cifar_resnet20.build", lambda: module)
        return RESNET20

    return use


def save(folder: Path, name: str, n: int = 4, seed: int = 0, shape=(3, 8, 8), **more) -> str:
    x = np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)
    np.savez(folder / name, **({"x": x, "y": np.arange(n) % 3} | more))
    return f"npz:{folder / name}.npz"


def spec_of(folder: Path, model: str, **more) -> StudySpec:
    return StudySpec(
        model=model,
        calibration=more.pop("calibration", None) or save(folder, "a", seed=1),
        evaluation=more.pop("evaluation", None) or save(folder, "b", seed=2),
        **more,
    )


def small(classes: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


def opened(spec: StudySpec, **more) -> LiveStudy:
    return open_study(spec, allow_factory=True, **more)


def accuracy(live: LiveStudy) -> tuple[int, int]:
    correct = 0
    with torch.no_grad():
        for x, y in live.evaluation.batches(50, live.preprocessing):
            correct += int((live.module(x).argmax(1) == y).sum())
    return correct, len(live.evaluation)


# --- study files ---


@given(
    st.builds(
        StudySpec,
        **{f.name: st.text(max_size=8) for f in fields(StudySpec) if f.type in ("str", str)},
        **{f.name: st.integers(-5, 2**40) for f in fields(StudySpec) if f.type in ("int", int)},
    )
)
def test_a_study_file_gives_back_what_was_written(tmp_path_factory, spec):
    path = tmp_path_factory.mktemp("study") / "study.toml"
    write_spec(spec, path)
    assert read_spec(path) == spec


def test_a_study_file_holds_only_what_is_not_default(tmp_path):
    write_spec(
        StudySpec(model="timm:x", calibration='a"\\', evaluation="b", seed=3), tmp_path / "s"
    )
    assert (tmp_path / "s").read_text() == (
        'model = "timm:x"\ncalibration = "a\\"\\\\"\nevaluation = "b"\nseed = 3\n'
    )


GOOD = 'model = "a"\ncalibration = "b"\nevaluation = "c"\n'


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (GOOD + "model", StudyError, "must be TOML"),
        (GOOD + 'wieghts = "x"', UnknownNameError, "did you mean `weights`"),
        (GOOD + 'seed = "1"', StudyError, "`seed` .* whole number, got '1'"),
        (GOOD + "seed = true", StudyError, "`seed` .* whole number"),
        (GOOD + "weights = 3", StudyError, "`weights` .* text in quotes"),
        ('model = "a"', StudyError, "must name calibration, evaluation"),
        ("", StudyError, "must name model"),
        (b"\xff", StudyError, "must be TOML"),
    ],
)
def test_a_wrong_study_file_is_refused(tmp_path, text, error, message):
    path = tmp_path / "study.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=message):
        read_spec(path)


def test_a_study_file_that_cannot_be_read_or_written_is_refused(tmp_path):
    with pytest.raises(StudyError, match="must be readable"):
        read_spec(tmp_path / "none.toml")
    with pytest.raises(StudyError, match="must be writable"):
        write_spec(demo_spec(), tmp_path / "none" / "study.toml")


# --- normalization ---


@pytest.mark.parametrize(
    ("text", "channels", "mean", "std"),
    [
        ("none", 2, (0, 0), (1, 1)),
        ("imagenet", 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("0.5;0.25", 1, (0.5,), (0.25,)),
        ("0.5;0.25", 3, (0.5,) * 3, (0.25,) * 3),
        ("0.1, 0.2,0.3; 1", 3, (0.1, 0.2, 0.3), (1, 1, 1)),
    ],
)
def test_normalization_is_read_per_channel(text, channels, mean, std):
    found = read_normalize(text, channels)
    assert (found.mean, found.std) == (mean, std)


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("imagenet", 1),
        ("imagenett", 3),
        ("0.5", 1),
        ("0.5;", 1),
        ("0.5;0", 1),
        ("0.5;-1", 1),
        ("nan;1", 1),
        ("0;inf", 1),
        ("1,2;1,2", 3),
        ("", 3),
    ],
)
def test_another_normalization_is_refused(text, channels):
    with pytest.raises(StudyError, match="`normalize` must"):
        read_normalize(text, channels)


# --- opening ---


@pytest.mark.parametrize(("name", "least"), [(name, 0.97) for name in DEMO_MODELS])
def test_the_demo_studies_open_without_a_warning_and_are_accurate(name, least):
    live = open_study(demo_spec(name), allow_factory=False)
    assert live.study.notes == ()
    assert live.study.model.num_classes == 10
    assert live.study.model.input_shape == live.study.calibration.sample_shape == (1, 16, 16)
    assert (live.study.calibration.n, live.study.evaluation.n) == (200, 597)
    correct, n = accuracy(live)
    assert correct / n >= least


def test_limits_and_sizes_of_the_spec_are_obeyed():
    spec = replace(demo_spec("digits-mobilenet"), samples=20, evaluation_samples=30, input_size=20)
    study = open_study(spec, allow_factory=False).study
    assert (study.calibration.n, study.evaluation.n) == (20, 30)
    assert study.model.input_shape == (1, 20, 20)
    assert "Resized" in study.calibration.notes[0]


def test_weights_are_looked_up_beside_the_study_file(tmp_path, model):
    module = small()
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    spec = spec_of(tmp_path, model(small()), weights="w.safetensors")
    digest = opened(spec, base=tmp_path).study.model.digest
    assert (
        digest == opened(replace(spec, weights=str(tmp_path / "w.safetensors"))).study.model.digest
    )
    with pytest.raises(WeightsError, match="does not exist"):
        opened(spec)


def test_a_factory_needs_permission(tmp_path):
    with pytest.raises(StudyError, match="study file or the command line"):
        open_study(spec_of(tmp_path, RESNET20), allow_factory=False)


def test_another_number_of_channels_is_explained(tmp_path):
    with pytest.raises(StudyError, match=r"3 channel\(s\) .*`conv1`.* got 1 from `npz:"):
        opened(
            spec_of(
                tmp_path,
                RESNET20,
                calibration=save(tmp_path, "a", seed=1, shape=(1, 8, 8)),
                evaluation=save(tmp_path, "b", seed=2, shape=(1, 8, 8)),
            )
        )


def test_another_image_size_is_reported_with_the_model_s_own_words(tmp_path, model):
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))
    with pytest.raises(StudyError, match=r"shape 3 x 8 x 8, got RuntimeError: .*768.*input size"):
        opened(spec_of(tmp_path, model(fixed)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: (x.mean((2, 3)), None), r"\(N, classes\), got tuple"),
        (lambda x: {"logits": x}, r"\(N, classes\), got dict"),
        (lambda x: x, r"got shape \(2, 3, 8, 8\)"),
        (lambda x: x.mean((2, 3))[:1], r"got shape \(1, 3\)"),
        (lambda x: x.mean((2, 3)).long(), "finite scores"),
        (lambda x: x.mean((2, 3)) / 0, "finite scores"),
    ],
)
def test_a_model_must_return_finite_class_scores(tmp_path, model, answer, message):
    with pytest.raises(StudyError, match=message):
        opened(spec_of(tmp_path, model(Answer(answer))))


def test_nan_weights_are_refused_by_name(tmp_path, model):
    module = small()
    nn.init.constant_(module[3].bias, float("nan"))
    with pytest.raises(WeightsError, match=r"NaN or infinity in 1 tensors: 3\.bias"):
        opened(spec_of(tmp_path, model(module)))


@pytest.mark.parametrize("role", ["calibration", "evaluation"])
def test_labels_beyond_the_classes_are_refused(tmp_path, model, role):
    data = save(tmp_path, "c", seed=3, y=np.array([0, 1, 2, 3]))
    with pytest.raises(DataError, match=rf"{role} set must be below .* 3 classes, got 3"):
        opened(spec_of(tmp_path, model(small()), **{role: data}))


def test_two_sets_of_different_shape_are_refused(tmp_path, model):
    other = save(tmp_path, "c", seed=3, shape=(3, 9, 9))
    with pytest.raises(DataError, match=r"one shape.*\(3, 8, 8\).*\(3, 9, 9\)"):
        opened(spec_of(tmp_path, model(small()), evaluation=other))


def test_a_shared_image_is_warned_about_with_the_count(tmp_path, model):
    spec = spec_of(tmp_path, model(small()))
    x = np.load(spec.evaluation.removeprefix("npz:"))["x"]
    mixed = np.concatenate([x[:1], 255 - x])
    shared = save(tmp_path, "c", x=mixed, y=np.zeros(5, int))
    assert opened(spec).study.notes == ()
    (note,) = opened(replace(spec, calibration=shared)).study.notes
    assert note.startswith("1 of 4 evaluation images are also calibration images")


def test_an_evaluation_set_inside_the_calibration_set_is_refused(tmp_path, model):
    spec = spec_of(tmp_path, model(small()))
    with pytest.raises(DataError, match="4 of 4"):
        opened(replace(spec, calibration=spec.evaluation))
    with pytest.raises(DataError, match="2 of 2"):
        opened(replace(spec, calibration=spec.evaluation, evaluation_samples=2))


def test_missing_labels_random_weights_and_other_class_names_are_noted(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "x", x=x)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.fromarray(x[0, 0]).save(tmp_path / "images" / name / "a.png")
    notes = opened(
        StudySpec(
            model="torchvision:squeezenet1_1",
            calibration=f"images:{tmp_path / 'images'}",
            evaluation=f"npz:{tmp_path / 'x.npz'}",
        )
    ).study.notes
    assert [note.split()[0] for note in notes] == ["The"] * 3
    assert "random" in notes[0]
    assert "no labels" in notes[1]
    assert "1000 classes" in notes[2]


def test_the_forward_check_can_be_left_out(tmp_path, model):
    live = opened(spec_of(tmp_path, model(Answer(lambda x: x))), check_forward=False)
    assert live.study.model.num_classes == 0


def test_opening_leaves_the_model_in_evaluation_mode_and_its_weights_alone(tmp_path, model):
    module = nn.Sequential(nn.BatchNorm2d(3), small()).train()
    before = module[0].running_mean.clone()
    live = opened(spec_of(tmp_path, model(module)))
    assert not live.module.training
    assert torch.equal(module[0].running_mean, before)


# --- keys ---


def test_the_key_follows_content_and_not_file_names(tmp_path, model):
    module = small()
    spec = spec_of(tmp_path, model(module), weights=str(tmp_path / "w.safetensors"))
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    first = study_key_inputs(opened(spec).study)
    (tmp_path / "a.npz").rename(tmp_path / "renamed.npz")
    (tmp_path / "w.safetensors").rename(tmp_path / "renamed.safetensors")
    moved = replace(
        spec,
        calibration=f"npz:{tmp_path / 'renamed.npz'}",
        weights=str(tmp_path / "renamed.safetensors"),
        name="another name",
    )
    assert study_key_inputs(opened(moved).study) == first
    assert not any("npz" in value or "safetensors" in value for value in first.values())


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"weights": "none"}, "model"),
        ({"samples": 20}, "calibration"),
        ({"evaluation_samples": 20}, "evaluation"),
        ({"normalize": "0.3;0.33"}, "normalization"),
    ],
)
def test_the_key_changes_with_its_part_only(change, part):
    spec = replace(demo_spec("digits-mobilenet"), evaluation_samples=50)
    before, after = (
        study_key_inputs(open_study(s, allow_factory=False).study)
        for s in (spec, replace(spec, **change))
    )
    assert {key for key in before if before[key] != after[key]} == {part}


# --- real weights and images ---


@pytest.mark.shared_data
def test_resnet_20_has_its_published_accuracy_on_real_images(shared_data):
    live = opened(
        StudySpec(
            model=RESNET20,
            weights="weights/cifar10_resnet20.th",
            calibration="npz:cifar10/train_3805.npz",
            evaluation="npz:cifar10/test_761.npz",
            normalize="imagenet",
            samples=64,
        ),
        base=shared_data,
    )
    assert live.study.model.num_params == 269_722
    assert live.study.notes == ()
    assert accuracy(live) == (698, 761)


@pytest.mark.shared_data
@pytest.mark.slow
def test_squeezenet_has_its_known_accuracy_on_real_photographs(shared_data, tmp_path):
    live = opened(
        StudySpec(
            model="torchvision:squeezenet1_1",
            weights="weights/imagenet_squeezenet1_1.pth",
            calibration=save(tmp_path, "noise", shape=(3, 224, 224)),
            evaluation="images:imagenet_sample",
            normalize="imagenet",
            input_size=224,
        ),
        base=shared_data,
    )
    assert live.study.evaluation.notes == ()
    correct, n = accuracy(live)
    assert n == 500
    assert abs(correct - 303) <= 1
