import pytest
import torch

from analysis.options import Options
from analysis.ptq.nearest import nearest
from analysis.ptq.units import own_tensors, units_of
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, built
from tests.reference.quantizing import task_of
from tests.reference.work import finish

SETTINGS = QuantSettings(activation_range="min_max", weight_range="min_max")


def units(make, kind: str, **other: str):
    network = built(make())
    task = task_of(network, batch(4, 3, 8, 8), "w4a8", SETTINGS, **other)
    found, reasons = units_of(network, finish(nearest(task, Options())), kind)
    return network, found, reasons


def test_layers_come_in_order_and_end_behind_their_activation_function():
    network, found, reasons = units(toys.residual, "layer")
    assert [unit.name for unit in found] == ["`conv1`", "`conv2`", "`head`"]
    ends = [network.trace.calls[unit.stop].name.strip("_") for unit in found]
    assert ends == ["relu", "conv2d", "linear"]  # the second is added to its input first
    assert [unit.start for unit in found] == [unit.layers[0].calls[0] for unit in found]
    assert not reasons


def test_a_residual_block_ends_behind_its_addition():
    network, found, _ = units(toys.residual, "block")
    assert [unit.name for unit in found] == ["`conv1`", "`conv2`", "`head`"]
    ends = [network.trace.calls[unit.stop].name.strip("_") for unit in found]
    assert ends == ["relu", "relu", "linear"]
    names = [call.name for call in network.trace.calls[found[1].start : found[1].stop + 1]]
    assert "add" in names


def test_layers_of_one_block_are_one_unit():
    def body(m, x):
        x = m.stem(x)
        return torch.relu(x + m.second(torch.relu(m.first(x))))

    def make():
        return toys.toy(body, stem=toys.conv(), first=toys.conv(4), second=toys.conv(4))

    _, found, _ = units(make, "block")
    assert [unit.name for unit in found] == ["`stem`", "`first` to `second`", "`head`"]
    calls = [layer.calls[0] for layer in found[1].layers]
    assert found[1].start <= calls[0] < calls[1] < found[1].stop


def test_layers_without_a_quantized_weight_are_in_no_unit():
    _, found, reasons = units(toys.residual, "layer", conv2="wfloata8")
    assert [unit.name for unit in found] == ["`conv1`", "`head`"]
    assert not reasons


@pytest.mark.parametrize("kind", ["layer", "block"])
def test_a_layer_that_is_called_twice_is_left_out_with_the_reason(kind):
    _, found, reasons = units(toys.twice, kind)
    assert [unit.name for unit in found] == ["`first`", "`head`"]
    assert reasons["again"].startswith("it is called 2 times")


@pytest.mark.parametrize("scope", ["tensor", "layer_input"])
@pytest.mark.parametrize("kind", ["layer", "block"])
@pytest.mark.parametrize("make", [toys.residual, toys.self_attention, toys.padded])
def test_every_quantized_tensor_is_a_blocks_own_once_at_most(make, kind, scope):
    network, found, _ = units(make, kind)
    own = [tensor.id for unit in found for tensor in own_tensors(network, unit, scope)]
    assert len(own) == len(set(own))
    if kind == "block" or scope == "layer_input":
        read = {i for unit in found for layer in unit.layers for i in layer.inputs}
        assert read <= set(own) or scope == "tensor"
