import numpy as np
import pytest
import torch
from torch import nn

from analysis.initialization.initializers import INITIALIZERS
from analysis.initialization.networks import build_lab_network, initialize
from analysis.initialization.quantizing import (
    SETTINGS,
    QuantizedFigures,
    batches,
    default_quantizations,
    measure_quantized,
    paper_quantization,
)
from analysis.models.network import Network, build_network
from analysis.quant.configure import quantize_nearest
from analysis.quant.statistics import ActivationStatistics, collect_statistics
from analysis.records import Allocation, Candidate
from analysis.records.initialization import APP, PAPER, RECIPES
from tests.reference.initialization import outputs_of_layers, quantized_twin, small_data
from tests.reference.work import finish

DATA = small_data(evaluation=60)


def prepared(name: str, seed: int = 0) -> tuple[Network, ActivationStatistics]:
    model = build_lab_network(name)
    initialize(model, INITIALIZERS["he_normal"], torch.Generator().manual_seed(seed))
    return with_statistics(model, DATA.calibration_x)


def with_statistics(model: nn.Module, x: torch.Tensor) -> tuple[Network, ActivationStatistics]:
    network = build_network(model.eval(), x)
    return network, finish(collect_statistics(network, lambda: [x], 1))


def figures(network: Network, statistics: ActivationStatistics, *bits: int) -> QuantizedFigures:
    return measure_quantized(network, statistics, DATA.evaluation_x, DATA.evaluation_y, bits)


@pytest.mark.parametrize("name", ["separable_residual", "regular_nobn"])
def test_the_default_recipe_is_the_apps_with_the_ends_at_eight_bits(name):
    network, statistics = prepared(name)
    names = network.table.names
    for bits, found in zip((8, 3), default_quantizations(network, statistics, (8, 3)), strict=True):
        chosen = [
            Candidate.parse("w8a8" if layer in (names[0], names[-1]) else f"w{bits}a{bits}")
            for layer in names
        ]
        allocation = Allocation(layers=names, candidates=tuple(chosen))
        wanted = quantize_nearest(network, allocation, statistics, SETTINGS)
        for own, other in (
            (found.weights, wanted.weights),
            (found.activations, wanted.activations),
        ):
            assert set(own) == set(other)
            for place, quantizer in own.items():
                twin = other[place]
                assert (quantizer.qmin, quantizer.qmax, quantizer.axis) == (
                    (twin.qmin, twin.qmax, twin.axis)
                )
                assert torch.allclose(quantizer.scale, twin.scale, rtol=1e-5)
                assert torch.equal(quantizer.zero_point, twin.zero_point)


def test_the_papers_recipe_covers_every_tensor_from_its_smallest_to_its_largest_value():
    network, statistics = prepared("regular")
    found = paper_quantization(network, statistics, 4)
    for layer in network.table.layers:
        weight, quantizer = network.weight(layer), found.weights[layer.name]
        assert quantizer.scale.item() == pytest.approx((weight.max() - weight.min()).item() / 15)
        assert (quantizer(weight) - weight).abs().max() <= quantizer.scale.item() * 1.01
        assert not quantizer.clipped(weight).any()
    for tensor in network.table.tensors:
        quantizer = found.activations[tensor.id]
        low, high = statistics.low[tensor.id], statistics.high[tensor.id]
        assert quantizer.scale.item() == pytest.approx((high - min(low, 0)) / 15)


@pytest.mark.parametrize("recipe", RECIPES)
def test_errors_are_those_of_a_network_quantized_by_hand(recipe):
    network, statistics = prepared("separable_nobn")
    found = figures(network, statistics, 4)
    quantization = (
        paper_quantization(network, statistics, 4)
        if recipe == PAPER
        else default_quantizations(network, statistics, (4,))[0]
    )
    names, row = network.table.names, RECIPES.index(recipe)
    inputs = {layer.name: layer.inputs[0] for layer in network.table.layers}
    exact = outputs_of_layers(network.module, DATA.evaluation_x, names)
    whole = quantized_twin(network.module, quantization, inputs, names)
    together = outputs_of_layers(whole, DATA.evaluation_x, names)
    for place, name in enumerate(names):
        variance = exact[name].var(correction=0)
        one = quantized_twin(network.module, quantization, inputs, [name])
        alone = outputs_of_layers(one, DATA.evaluation_x, [name])[name]
        wanted = ((alone - exact[name]) ** 2).mean() / variance
        assert found.isolated[row, 0, place] == pytest.approx(wanted.item(), rel=1e-3)
        wanted = ((together[name] - exact[name]) ** 2).mean() / variance
        assert found.accumulated[row, 0, place] == pytest.approx(wanted.item(), rel=1e-3)
    with torch.no_grad():
        logits, floats = whole(DATA.evaluation_x), network.module(DATA.evaluation_x)
    p = floats.softmax(1)
    assert found.correct[row, 0] == (logits.argmax(1) == DATA.evaluation_y).sum().item()
    assert found.qce[row, 0] == pytest.approx(
        -(p * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-4
    )
    assert found.float_entropy == pytest.approx(-(p * p.log()).sum(1).mean().item(), rel=1e-4)


def test_one_quantized_tensor_has_a_twelfth_of_its_squared_step_as_error():
    model = nn.Linear(10, 10, bias=False)
    model.weight.data = torch.eye(10)  # on every grid from 0 to 1
    x = torch.rand(4000, 10, generator=torch.Generator().manual_seed(0))
    network, statistics = with_statistics(model, x)
    for bits in (8, 6, 4):
        found = measure_quantized(network, statistics, x, torch.zeros(4000).long(), (bits,))
        step = x.max().item() / (2**bits - 1)
        wanted = step**2 / 12 / x.var(correction=0).item()
        row = RECIPES.index(PAPER)
        assert found.isolated[row, 0, 0] == pytest.approx(wanted, rel=0.02)
        assert found.accumulated[row, 0, 0] == found.isolated[row, 0, 0]


def test_sixteen_bits_are_as_good_as_float_where_nothing_is_clipped():
    network, statistics = prepared("regular")
    x = DATA.calibration_x
    found = measure_quantized(network, statistics, x, torch.zeros(len(x)).long(), (16,))
    row = RECIPES.index(PAPER)
    assert found.accumulated[row].max() < 1e-6
    assert found.qce[row, 0] == pytest.approx(found.float_entropy, rel=1e-4)


def test_fewer_bits_cost_more_and_errors_grow_on_the_way():
    network, statistics = prepared("separable")
    found = figures(network, statistics, 8, 4, 2)
    assert (np.diff(found.isolated[RECIPES.index(PAPER)], axis=0) > 0).all()
    assert (found.qce >= found.float_entropy - 1e-6).all()
    accumulated, isolated = found.accumulated[0, 0], found.isolated[0, 0]
    assert accumulated[0] == isolated[0]
    assert accumulated[-2] > 2 * isolated[-2]


def test_scale_moved_from_one_layer_to_the_next_changes_ranges_and_not_relative_errors():
    network, statistics = prepared("regular_nobn")
    before = figures(network, statistics, 8, 4)
    model = network.module
    with torch.no_grad():
        # A power of two: every rounding stays what it was.
        model.units[1].conv.weight *= 4
        model.units[1].conv.bias *= 4
        model.units[2].conv.weight /= 4
    after = figures(*with_statistics(model, DATA.calibration_x), 8, 4)
    row = RECIPES.index(PAPER)
    assert after.accumulated[row] == pytest.approx(before.accumulated[row], rel=1e-4)
    assert after.isolated[row] == pytest.approx(before.isolated[row], rel=1e-4)


def test_batches_do_not_change_the_figures(monkeypatch):
    network, statistics = prepared("separable")
    whole = figures(network, statistics, 4)
    monkeypatch.setattr("analysis.initialization.quantizing.BATCH", 17)
    assert [len(x) for x, _ in batches(DATA.evaluation_x, DATA.evaluation_y)] == [17, 17, 17, 9]
    parts = figures(network, statistics, 4)
    assert parts.correct.tolist() == whole.correct.tolist()
    for name in ("qce", "isolated", "accumulated", "float_entropy"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-4), name


def test_the_defaults_lose_less_than_the_papers_recipe_at_four_bits():
    network, statistics = prepared("separable")
    found = figures(network, statistics, 4)
    assert (
        found.isolated[RECIPES.index(APP), 0].mean()
        < found.isolated[RECIPES.index(PAPER), 0].mean()
    )
