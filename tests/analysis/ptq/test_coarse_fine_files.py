"""Weights in two parts as a file: rebuilt bit for bit, refused by what knows one part."""

import json

import pytest
import torch
from safetensors.torch import load, safe_open, save

from analysis.errors import QuantizationError
from analysis.ptq.trained import to_arrays
from analysis.quant.configure import Quantization, plan_of
from analysis.quant.packing import Packed, pack, unpack
from analysis.records import QuantSettings
from tests.reference.merged import PER_TENSOR, X, merged, run
from tests.reference.quantizing import quantize, task_of

IDENTITY = {"model": "a" * 64}


def packed(found: Quantization, settings: QuantSettings = PER_TENSOR) -> Packed:
    allocation = task_of(merged(), X, "w4a8", settings).allocation
    return Packed(found, allocation, settings, "coarse_fine", "mine", IDENTITY)


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_file_holds_both_parts_and_is_rebuilt_bit_for_bit(tmp_path, per_channel):
    settings = QuantSettings(per_channel=per_channel, activation_range="min_max")
    found, _ = run(settings=settings)
    path = tmp_path / "m.safetensors"
    path.write_bytes(pack(merged(), packed(found, settings)))
    tensors = load(path.read_bytes())
    assert tensors["coarse.merged.codes"].shape == (6, 6, 1, 1)
    assert tensors["coarse.merged.codes"].dtype == tensors["weight.merged.codes"].dtype
    assert tensors["coarse.merged.codes"].dtype == torch.int8
    assert "coarse.even.codes" not in tensors
    read = unpack(path, merged(), IDENTITY).quantization
    assert read.splits.keys() == found.splits.keys()
    for name, values in found.weight_values.items():
        assert torch.equal(read.weight_values[name], values)
    before, after = (
        merged()(X, plan_of(merged(), each, settings)).numpy().tobytes() for each in (found, read)
    )
    assert before == after
    assert load(pack(merged(), packed(read, settings))).keys() == tensors.keys()


def test_a_reader_that_knows_one_part_refuses_the_file(tmp_path):
    for name, schema in (("coarse_fine", "2"), ("nearest", "1")):
        found, _ = quantize(task_of(merged(), X, "w4a8", PER_TENSOR), name)
        (tmp_path / "m").write_bytes(pack(merged(), packed(found)))
        with safe_open(tmp_path / "m", framework="pt") as file:
            assert file.metadata()["schema"] == schema
            assert ("splits" in file.metadata()) == (schema == "2")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("coarse.merged.codes", torch.zeros(6, 6, 3, 3, dtype=torch.int8), "must have shape"),
        ("coarse.merged.codes", torch.full((6, 6, 1, 1), 128.0), r"\[-128, 127\]"),
        ("coarse.merged.scale", None, "coarse.merged.scale"),
        ("coarse.merged.codes", None, "coarse.merged.codes"),
    ],
)
def test_a_changed_coarse_part_is_refused(tmp_path, name, value, message):
    path = tmp_path / "m"
    path.write_bytes(pack(merged(), packed(run()[0])))
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load(path.read_bytes())
    tensors.pop(name)
    path.write_bytes(save(tensors if value is None else tensors | {name: value}, metadata))
    with pytest.raises(QuantizationError, match=message):
        unpack(path, merged(), IDENTITY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"splits": json.dumps(["merged", "fc"])}, "`fc` has none"),
        ({"splits": "[]"}, "quantize --out-model"),
        ({"schema": "1"}, "quantize --out-model"),
    ],
)
def test_a_file_that_says_something_else_of_its_parts_is_refused(tmp_path, change, message):
    path = tmp_path / "m"
    path.write_bytes(pack(merged(), packed(run()[0])))
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    path.write_bytes(save(load(path.read_bytes()), metadata | change))
    with pytest.raises(QuantizationError, match=message):
        unpack(path, merged(), IDENTITY)


def test_values_that_are_not_the_sum_cannot_be_written():
    found, _ = run()
    found.weight_values["merged"] = found.weight_values["merged"] * 1.01
    with pytest.raises(QuantizationError, match="`merged` must lie on the grid"):
        pack(merged(), packed(found))


def test_what_stores_one_set_of_codes_refuses():
    with pytest.raises(QuantizationError, match="A stored training must get one set of codes"):
        to_arrays(merged(), run()[0])
    whole, _ = run(stem="wfloata8", merged="wfloata8", depthwise="wfloata8")
    assert "codes.even" in to_arrays(merged(), whole)
