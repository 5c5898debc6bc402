"""What is said of compressed-tensors and torchao, against what they make of small networks."""

import copy

import pytest
import torch
from torch import Tensor, nn

from analysis.models.vision_ops import import_torchvision
from analysis.quant.backends import BACKENDS
from analysis.quant.formats import FORMATS
from analysis.quant.storage import stored_as
from analysis.records import Allocation, Candidate
from tests.analysis.models.toys import built, toy

import_torchvision()  # compressed-tensors imports it by way of transformers, without its operators
for name in ("compressed_tensors", "torchao"):
    pytest.importorskip(name, reason="needs tests/peers/requirements.txt")


@pytest.fixture(scope="module")
def table():
    """A convolution and a linear layer of 5 rows of 4 weights."""
    return built(toy(lambda m, x: m.first(x), first=nn.Conv2d(3, 4, 3))).table


def kept(table, backend: str, candidate: Candidate):
    chosen = Allocation(layers=table.names, candidates=(candidate,) * len(table.layers))
    return {layer.layer: layer for layer in stored_as(table, chosen, backend).layers}


def compressed(name: str) -> tuple[dict[str, Tensor], float]:
    """State of a compressed network of both layers, and how far it computes from arithmetic."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    bits, steps = FORMATS[name].bits, 2 ** FORMATS[name].bits - 1
    low, high = FORMATS[name].grid(signed=True)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(13, 5, bias=False))
    either = {"num_bits": bits, "type": "int"}
    group = {
        "targets": ["Linear", "Conv2d"],
        "weights": either | {"symmetric": True, "strategy": "channel"},
        "input_activations": either | {"symmetric": False, "strategy": "tensor", "dynamic": False},
        "format": "pack-quantized" if bits <= 8 else "int-quantized",
    }
    config = QuantizationConfig.model_validate(
        {"config_groups": {"g": group}, "quantization_status": "frozen"}
    )
    apply_quantization_config(network, config)
    linear = network[2]
    with torch.no_grad():
        codes = torch.randint(low, high + 1, (5, 13), generator=torch.Generator().manual_seed(bits))
        linear.weight.copy_(codes / 256)
        linear.weight_scale.fill_(1 / 256)
        linear.input_scale.fill_(1 / steps)
        linear.input_zero_point.fill_(low)
        x = 2 * torch.rand(1, 13, generator=torch.Generator().manual_seed(1)) - 0.5
        wanted = (torch.clamp(torch.round(x * steps), 0, steps) / steps) @ (codes / 256).T
        ModelCompressor(quantization_config=config).compress_model(network)
        state = dict(network.state_dict())
        ModelCompressor(quantization_config=config).decompress_model(network)
        return state, float((linear(x) - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", FORMATS)
def test_compressed_tensors_keeps_linear_layers_and_nothing_else(table, name):
    state, error = compressed(name)
    assert error < 2e-5
    found = kept(table, "compressed_tensors", Candidate(name, name))
    assert state["0.weight"].dtype == torch.float32
    assert "0.input_scale" not in state
    assert found["first"].weight.stored == found["first"].activation.stored == "float32"
    head = found["head"]
    assert head.weight.how == head.activation.how == "same"
    values = state.get("2.weight_packed", state.get("2.weight"))
    rows = 5 * -(-13 * head.weight.bits // 32) * 32 if head.weight.bits <= 8 else 65 * 16
    assert 8 * values.numel() * values.element_size() == rows


def test_rows_of_compressed_tensors_are_padded_as_ours(table):
    head = kept(table, "compressed_tensors", Candidate("int3", "int8"))["head"]
    assert head.stored_bits == 5 * 32  # 4 codes of 3 bits


@pytest.mark.parametrize("name", FORMATS)
def test_torchao_keeps_weights_of_linear_layers_in_int8(table, name):
    from torchao.quantization import IntxWeightOnlyConfig, PerAxis, quantize_

    linear = nn.Linear(13, 5)
    weight = kept(table, "torchao", Candidate(name, "int8"))["head"].weight
    bits = FORMATS[name].bits
    if bits > 8:
        with pytest.raises(AssertionError, match="int16"):
            IntxWeightOnlyConfig(weight_dtype=torch.int16, granularity=PerAxis(0))
        assert weight.stored == "float32"
        return
    config = IntxWeightOnlyConfig(weight_dtype=getattr(torch, name), granularity=PerAxis(0))
    quantize_(linear, config)
    assert f"{linear.weight.qdata.dtype}" == f"torch.{weight.stored}"
    assert linear.weight.scale.numel() == 5
    low, high = FORMATS[name].grid(signed=True)
    assert low <= int(linear.weight.qdata.min()) < int(linear.weight.qdata.max()) <= high


def test_torchao_gives_convolutions_other_scales(table):
    from torchao.quantization import FqnToConfig, IntxWeightOnlyConfig, PerAxis, quantize_

    config = IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerAxis(0))
    network = nn.Sequential(nn.Conv2d(8, 4, 3))
    plain = copy.deepcopy(network)
    quantize_(plain, config)
    assert type(plain[0].weight) is nn.Parameter
    quantize_(network, FqnToConfig({"0": config}), filter_fn=None)
    assert network[0].weight.scale.numel() == 36
    assert kept(table, "torchao", Candidate("int4", "int8"))["first"].weight.how == "float"
    assert (
        "one scale per output channel"
        in BACKENDS["torchao"].function(table.layers[0], Candidate("int4", "int8")).weight.reason
    )
