import sys
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from analysis.errors import AnalysisError, StudyError, UnknownNameError, WeightsError
from analysis.models import sources
from analysis.models.sources import load_model
from analysis.models.vision_ops import import_timm, import_torchvision

FACTORY = "factory:tests.reference.cifar_resnet20:build"


def load(spec: str, weights: str = "", **more):
    return load_model(spec, weights, allow_factory=True, **more)


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1", "timm:resnet10t"])
def test_random_weights_are_the_same_every_time_and_said_to_be_random(spec):
    torch.manual_seed(7)
    a = load(spec)
    state = torch.random.get_rng_state()
    b = load(spec, "none")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert a.digest == b.digest
    assert "random" in a.notes[0]
    assert "seed 0" in a.notes[0]
    assert not a.module.training
    assert a.num_params == sum(p.numel() for p in a.module.parameters())


def test_a_demo_model_has_its_shipped_weights_unless_asked_otherwise():
    shipped, random = load("demo:digits-resnet"), load("demo:digits-resnet", "none")
    assert shipped.digest != random.digest
    assert shipped.notes == ()
    assert random.notes


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ("demo:digits-resnt", "digits-resnet"),
        ("torchvision:resnet19", "resnet18"),
        ("torchvision:fasterrcnn_resnet50_fpn", "resn"),
        ("timm:resnet10s", "resnet10t"),
        ("timm:resnet10t.nowhere", "resnet10t.c3_in1k"),
        ("timm:hf-hub:someone/something", "timm model"),
    ],
)
def test_unknown_names_come_with_near_ones(spec, near):
    with pytest.raises(UnknownNameError, match=near):
        load(spec)


@pytest.mark.parametrize("spec", ["", "resnet18", "torchvision:", "file:x", "demo"])
def test_other_forms_of_a_spec_are_refused(spec):
    with pytest.raises(StudyError, match="A model must be"):
        load(spec)


@pytest.mark.parametrize(
    ("spec", "build"),
    [
        (
            "torchvision:mobilenet_v3_small",
            lambda n: import_torchvision().models.mobilenet_v3_small(num_classes=n),
        ),
        (
            "torchvision:squeezenet1_1",
            lambda n: import_torchvision().models.squeezenet1_1(num_classes=n),
        ),
        ("timm:resnet10t", lambda n: import_timm().create_model("resnet10t", num_classes=n)),
    ],
)
def test_fine_tuned_weights_decide_the_number_of_classes(tmp_path, spec, build):
    path = tmp_path / "w.safetensors"
    save_file(build(7).state_dict(), path)
    loaded = load(spec, str(path))
    with torch.no_grad():
        assert loaded.module(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    assert "7 classes" in loaded.notes[0]


def test_weights_of_another_network_are_not_taken_for_another_number_of_classes(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(import_torchvision().models.squeezenet1_0(num_classes=7).state_dict(), path)
    with pytest.raises(WeightsError, match=r"classifier\.1\.weight|features\.0\.weight"):
        load("torchvision:squeezenet1_1", str(path))


def test_a_requested_number_of_classes_is_built():
    assert load("torchvision:squeezenet1_1", num_classes=5).module.num_classes == 5


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1", "timm:resnet10t"])
def test_hub_weights_without_a_network_are_an_error_that_says_so(monkeypatch, spec):
    def offline(*_, **__):
        raise URLError("Name or service not known")

    torchvision, timm = import_torchvision(), import_timm()
    monkeypatch.setattr(torchvision.models, "get_model", offline)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        WeightsError, match=r"not known.*Check the connection, or give a weights file"
    ):
        load(spec, "hub")


def test_hub_weights_are_asked_for_under_the_libraries_own_names(monkeypatch):
    asked = {}

    def build(name, **options):
        asked[name] = options
        return nn.Linear(1, 1)

    monkeypatch.setattr(import_torchvision().models, "get_model", build)
    monkeypatch.setattr(import_timm(), "create_model", build)
    assert load("torchvision:squeezenet1_1", "hub").hub_weights
    assert load("timm:resnet10t", "hub").hub_weights
    assert asked == {"squeezenet1_1": {"weights": "DEFAULT"}, "resnet10t": {"pretrained": True}}


@pytest.mark.parametrize("spec", ["demo:digits-resnet", FACTORY])
def test_models_without_a_hub_refuse_hub_weights_and_a_number_of_classes(spec):
    with pytest.raises(WeightsError, match="Leave them empty or name a file"):
        load(spec, "hub")
    with pytest.raises(StudyError, match="number of classes"):
        load(spec, num_classes=3)


def test_hub_weights_refuse_another_number_of_classes():
    with pytest.raises(StudyError, match="classes of their own"):
        load("timm:resnet10t", "hub", num_classes=3)


def test_a_factory_is_refused_before_it_is_imported():
    with pytest.raises(StudyError, match="study file or the command line"):
        load_model("factory:does_not_exist:build", allow_factory=False)
    assert "does_not_exist" not in sys.modules


def test_a_factory_is_built_the_same_every_time():
    a, b = load(FACTORY), load(FACTORY)
    assert a.digest == b.digest
    assert a.source == b.source
    assert a.num_params == 269_722


SAME_WEIGHTS = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)
    def forward(self, x):
        return {body}
def build():
    return Net()
"""


def test_a_factory_in_the_current_folder_is_found_and_its_code_is_part_of_its_source(
    tmp_path, monkeypatch
):
    found = []
    for name, body in (("first_net", "self.fc(x)"), ("second_net", "self.fc(x).relu()")):
        (tmp_path / f"{name}.py").write_text(SAME_WEIGHTS.format(body=body))
        monkeypatch.chdir(tmp_path)
        path = list(sys.path)
        found.append(load(f"factory:{name}:build"))
        assert sys.path == path
    assert found[0].digest == found[1].digest
    assert found[0].source.split("@")[1] != found[1].source.split("@")[1]


@pytest.mark.parametrize(
    ("code", "function", "message"),
    [
        ("", "build", "has no attribute 'build'"),
        ("def build(n): return n", "build", "missing 1 required positional argument"),
        ("def build(): return 3", "build", "must return a torch module, got int"),
        ("def build(): return 1 / 0", "build", "ZeroDivisionError"),
        ("import no_such_package", "build", "no_such_package"),
        ("x = (", "build", "SyntaxError"),
        ("", "", "MODULE:FUNCTION"),
        ("", "a b", "MODULE:FUNCTION"),
    ],
)
def test_a_factory_that_fails_is_reported_with_its_error(
    tmp_path, monkeypatch, request, code, function, message
):
    name = f"factory_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=message):
        load(f"factory:{name}:{function}")


def test_weights_that_a_factory_makes_must_be_finite(monkeypatch):
    def broken():
        module = nn.Linear(2, 2)
        nn.init.constant_(module.weight, float("nan"))
        return module

    monkeypatch.setattr("tests.reference.cifar_resnet20.build", broken)
    with pytest.raises(WeightsError, match="NaN or infinity in 1 tensors: weight"):
        load(FACTORY)


def test_every_kind_of_source_has_its_error_class():
    assert set(sources.KINDS) == {"demo", "torchvision", "timm", "factory"}
    for kind in sources.KINDS:
        with pytest.raises(AnalysisError):
            load(f"{kind}:no-such-thing")
