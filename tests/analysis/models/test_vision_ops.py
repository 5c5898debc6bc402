import subprocess
import sys

import torch

from analysis.models import vision_ops

LAZY = "import sys, analysis.study; print({'torchvision', 'timm'} & set(sys.modules))"


def test_torchvision_and_timm_are_imported_on_request_only():
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr


def test_nothing_is_declared_where_the_operators_load(monkeypatch):
    monkeypatch.setattr(vision_ops, "operators_load", lambda: True)
    monkeypatch.setattr(vision_ops, "_declared", [])
    monkeypatch.setattr(vision_ops.importlib, "import_module", lambda name: name)
    assert vision_ops.import_torchvision() == "torchvision"
    assert vision_ops._declared == []


def test_a_library_that_cannot_be_loaded_is_told_from_one_that_can(monkeypatch):
    loaded = []
    monkeypatch.setattr(torch.ops, "load_library", loaded.append)
    assert vision_ops.operators_load()
    assert loaded[0].endswith((".so", ".pyd"))

    def fail(path):
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(torch.ops, "load_library", fail)
    assert not vision_ops.operators_load()


def test_declaring_twice_is_harmless():
    vision_ops.import_torchvision()
    vision_ops._declare()
    assert hasattr(torch.ops.torchvision, "nms")


def test_classification_networks_work_without_the_operators():
    module = vision_ops.import_torchvision().models.get_model("squeezenet1_1", weights=None).eval()
    with torch.no_grad():
        assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
