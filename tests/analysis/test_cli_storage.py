"""The flag ``--backend``: what the steps say of formats that a backend stores in another way."""

import pytest

from analysis.quant.backends import BACKENDS
from tests.analysis.cli_studies import make_lab, say


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lab(tmp_path_factory.mktemp("lab"))


QUANTIZE = ("quantize", "--allocation", "uniform:w5a6", "--release-first-last")
ALLOCATE = (
    "allocate",
    "--metric",
    "size_only",
    "--candidates",
    "w3a8,w6a8",
    "--budget",
    "size=0.7",
)


@pytest.mark.parametrize("words", [QUANTIZE, ALLOCATE], ids=["quantize", "allocate"])
def test_without_a_backend_nothing_is_said_of_storage(lab, words):
    assert lab.json(*words)["storage"] is None
    assert "ONNX" not in lab(*words).out


def test_quantize_says_what_the_backend_stores_instead(lab):
    found = lab.json(*QUANTIZE, "--backend", "onnx")
    storage = found["storage"]
    assert storage["backend"] == "onnx"
    assert storage["asked_mib"] == found["costs"]["size_mib"] < storage["stored_mib"]
    assert storage["sentences"][0].startswith(
        "3 layers of 5 bits take 8 bits each in ONNX QDQ (opset 21)"
    )
    assert [layer["layer"] for layer in storage["layers"]] == list(found["allocation"])
    first = storage["layers"][0]
    assert (first["weight"]["asked"], first["weight"]["stored"]) == ("int5", "int8")
    assert (first["activation"]["asked"], first["activation"]["stored"]) == ("int6", "uint8")
    text = lab(*QUANTIZE, "--backend", "onnx").out
    assert text.endswith("\n".join(storage["sentences"]) + "\n")


def test_allocate_says_it_of_the_solution(lab):
    found = lab.json(*ALLOCATE, "--backend", "onnx_25")
    widened = {layer["layer"]: layer["weight"]["asked"] for layer in found["storage"]["layers"]}
    asked = {name: f"int{text[1]}" for name, text in found["allocation"].items()}
    assert widened == {name: each for name, each in asked.items() if each in ("int3", "int6")}
    assert widened
    assert found["storage"]["sentences"][0] in lab(*ALLOCATE, "--backend", "onnx_25").out


def test_what_is_stored_as_it_is_is_said_too(lab):
    words = ("quantize", "--allocation", "uniform:w8a8", "--backend", "openvino")
    storage = lab.json(*words)["storage"]
    assert storage["layers"] == []
    assert storage["sentences"] == ["OpenVINO keeps every format of this allocation as it is."]


@pytest.mark.parametrize("words", [QUANTIZE, ALLOCATE], ids=["quantize", "allocate"])
def test_an_unknown_backend_is_wrong_usage_before_anything_runs(words):
    said = say(*words, "--backend", "onx")
    assert said.status == 2
    assert said.out == ""
    assert "There is no backend `onx`; did you mean `onnx`" in said.err


def test_the_backends_are_listed_with_what_was_run():
    assert [each["name"] for each in say("backends", "--json").json["backends"]] == list(
        BACKENDS.names()
    )
    text = say("backends").out
    for backend in BACKENDS:
        assert f"{backend.name}: {backend.title}" in text
        assert backend.reference in text
