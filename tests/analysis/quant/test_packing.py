import json

import pytest
import torch
from safetensors.torch import load, safe_open, save, save_file
from torch import nn

from analysis.errors import QuantizationError
from analysis.events import Work
from analysis.models.network import Network, build_network
from analysis.quant.configure import plan_of, quantize_nearest
from analysis.quant.packing import Packed, pack, unpack
from analysis.quant.statistics import collect_statistics
from analysis.records import Allocation, Candidate, QuantSettings

IDENTITY = {"model": "a" * 64, "architecture": "factory:x:y", "normalization": "0;1"}


def network() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = nn.Sequential(
            nn.Conv2d(2, 5, 3, bias=False),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.Conv2d(5, 1, 3),
            nn.Flatten(),
            nn.Linear(16, 4),
        )
        return build_network(module.eval().requires_grad_(False), torch.randn(4, 2, 8, 8))


def finish(work: Work):
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


X = torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(5))


def packed(net: Network, settings: QuantSettings, formats=("w4a8", "w16a4", "w8afloat")) -> Packed:
    statistics = finish(collect_statistics(net, lambda: iter([X]), 1))
    allocation = Allocation(
        layers=net.table.names, candidates=tuple(Candidate.parse(f) for f in formats)
    )
    quantization = quantize_nearest(net, allocation, statistics, settings)
    return Packed(quantization, allocation, settings, "nearest", "mine", IDENTITY)


@pytest.fixture(scope="module")
def net():
    return network()


@pytest.fixture
def file(net, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(pack(net, packed(net, QuantSettings())))
    return path


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("scope", ["tensor", "layer_input"])
@pytest.mark.parametrize(
    "formats", [("w4a8", "w16a4", "w8afloat"), ("w2a2", "wfloata3", "float"), ("float",) * 3]
)
def test_what_is_read_back_computes_the_same_bits(net, tmp_path, per_channel, scope, formats):
    settings = QuantSettings(scope=scope, per_channel=per_channel)
    made = packed(net, settings, formats)
    (tmp_path / "m").write_bytes(pack(net, made))
    read = unpack(tmp_path / "m", net, IDENTITY)
    assert (read.settings, read.allocation, read.method) == (settings, made.allocation, "nearest")
    before = net(X, plan_of(net, made.quantization, settings))
    after = net(X, plan_of(net, read.quantization, read.settings))
    assert torch.equal(before, after)
    if formats[0] != "float":
        assert not torch.equal(before, net(X))


def test_values_that_a_method_computed_are_kept(net, tmp_path):
    made = packed(net, QuantSettings())
    layer = net.table.layers[0]
    quantizer = made.quantization.weights[layer.name]
    other = quantizer.values(quantizer.codes(net.weight(layer)).neg().clamp(-8, 7))
    made.quantization.weight_values[layer.name] = other
    (tmp_path / "m").write_bytes(pack(net, made))
    read = unpack(tmp_path / "m", net, IDENTITY)
    assert torch.equal(read.quantization.weight_values[layer.name], other)


def test_values_between_levels_are_refused(net):
    made = packed(net, QuantSettings())
    layer = net.table.layers[0]
    made.quantization.weight_values[layer.name] = net.weight(layer)
    with pytest.raises(QuantizationError, match="must lie on the grid"):
        pack(net, made)


def test_codes_take_the_smallest_integers_and_biases_are_there(file):
    tensors = load(file.read_bytes())
    assert tensors["weight.0.codes"].dtype == torch.int8
    assert tensors["weight.3.codes"].dtype == torch.int16
    assert int(tensors["weight.0.codes"].min()) >= -8
    assert tensors["weight.0.scale"].shape == (5,)
    # The convolution has no bias of its own, its BatchNorm leaves one.
    assert tensors["bias.0"].shape == (5,)
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    assert json.loads(metadata["allocation"])["allocation"]["3"]["weight"] == "int16"


@pytest.mark.parametrize("name", list(IDENTITY))
def test_another_model_is_refused_with_what_differs(net, file, name):
    with pytest.raises(QuantizationError, match=f"its {name} differ"):
        unpack(file, net, IDENTITY | {name: "other"})


def changed(path, edit):
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    edit(tensors, metadata)
    path.write_bytes(save(tensors, metadata))


def put(name, value):
    return lambda tensors, metadata: tensors.update({name: value})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("weight.0.codes", torch.full((5, 2, 3, 3), 8, dtype=torch.int8)), r"\[-8, 7\]"),
        (put("weight.0.codes", torch.zeros(5, 2, 3, dtype=torch.int8)), "must have shape"),
        (put("weight.0.scale", torch.zeros(5)), "scale must be positive"),
        (put("bias.0", torch.ones(5)), "must be the model's own"),
        (lambda tensors, _: tensors.pop("activation.0.scale"), "activation.0.scale"),
        (lambda _, metadata: metadata.pop("settings"), "`--weights`"),
        (lambda _, metadata: metadata.update(schema="9"), "`--weights`"),
    ],
)
def test_a_file_that_was_changed_is_refused(net, file, edit, message):
    changed(file, edit)
    with pytest.raises(QuantizationError, match=message):
        unpack(file, net, IDENTITY)


def test_files_of_another_kind_are_refused(net, tmp_path, file):
    save_file({"x": torch.ones(1)}, tmp_path / "x")
    with pytest.raises(QuantizationError, match="quantize --out-model"):
        unpack(tmp_path / "x", net, IDENTITY)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(QuantizationError, match="readable safetensors"):
        unpack(file, net, IDENTITY)
    with pytest.raises(QuantizationError, match="does not exist"):
        unpack(tmp_path / "none", net, IDENTITY)


def test_a_record_can_be_packed_again(net, file):
    again = pack(net, unpack(file, net, IDENTITY))
    assert load(again).keys() == load(file.read_bytes()).keys()
    assert all(torch.equal(v, load(file.read_bytes())[n]) for n, v in load(again).items())
