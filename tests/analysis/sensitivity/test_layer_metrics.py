from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from analysis.quant.configure import estimate_weight
from analysis.records import QuantSettings
from analysis.sensitivity import METRICS
from tests.reference.outputs import outputs_with
from tests.reference.sensitivity import demo_task, local_errors, make_task
from tests.reference.work import finish

LAYER_INPUT = QuantSettings(scope="layer_input", weight_range="min_max", activation_range="min_max")


def scores(task, metric, **options):
    method = METRICS[metric]
    return finish(method.function(task, method.options(**options)))


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_isolated_errors_are_those_on_float_inputs(name):
    task = demo_task(name, 3, "w2a8", "w4a4")
    rows = local_errors(task)
    found = scores(task, "layer_mse")
    assert np.allclose(found.values, rows.mean(0), rtol=1e-3, atol=1e-10)
    power = np.array([float(z.double().square().mean()) for z in outputs_with(task, None)])
    ratio = scores(task, "layer_sqnr")
    assert np.allclose(ratio.values, rows.mean(0) / power[:, None], rtol=1e-3, atol=1e-10)


def test_accumulated_errors_are_those_of_the_wholly_quantized_network():
    task = demo_task("digits-mobilenet", 3, "w3a4", settings=LAYER_INPUT)
    found = scores(task, "layer_mse", protocol="accumulated")
    plain, quantized = (outputs_with(task, c) for c in (None, task.candidates[0]))
    expected = [
        float((a - b).double().square().mean()) for a, b in zip(plain, quantized, strict=True)
    ]
    assert np.allclose(found.values[:, 0], expected, rtol=2e-2, atol=1e-6)
    assert "do not add up" in found.notes[0]


@pytest.mark.parametrize("protocol", ["isolated", "accumulated"])
@pytest.mark.parametrize("metric", ["layer_mse", "layer_sqnr"])
def test_the_batch_size_and_the_order_of_samples_do_not_matter(metric, protocol):
    task = demo_task("digits-vit", 4, "w4a6")
    one, many = (scores(task, metric, protocol=protocol, batch_size=b) for b in (1, 4))
    assert np.allclose(one.values, many.values, rtol=1e-2, atol=1e-9)
    order = [2, 0, 3, 1]
    x = task.inputs(range(4))[order]
    shuffled = replace(task.samples, inputs=lambda r: x[r.start : r.stop])
    permuted = scores(replace(task, samples=shuffled), metric, protocol=protocol)
    assert np.allclose(permuted.per_sample, many.per_sample[order], rtol=1e-2, atol=1e-9)


def test_a_layer_of_zeros_has_no_noise():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    nn.init.zeros_(body[2].weight)
    nn.init.zeros_(body[2].bias)
    task = make_task(body.eval(), torch.randn(4, 6), "w3a4")
    for metric in ("layer_mse", "layer_sqnr", "weight_mse"):
        found = scores(task, metric)
        assert found.layers == ("0", "2", "4")
        assert found.values[1, 0] == 0.0
        assert found.values[0, 0] > 0


def test_weight_error_is_that_of_the_quantizer_and_reads_no_sample():
    task = demo_task("digits-resnet", 2, "w2a8", "w4a8", "wfloata8")
    samples = replace(task.samples, inputs=lambda numbers: pytest.fail("a sample was read"))
    found = scores(replace(task, samples=samples), "weight_mse")
    for i, layer in enumerate(task.network.table.layers):
        for c, bits in enumerate(("int2", "int4")):
            weight = task.network.weight(layer)
            quantizer = estimate_weight(task.network, layer, bits, task.settings)
            expected = float((quantizer(weight) - weight).square().mean())
            assert found.values[i, c] == pytest.approx(expected, rel=1e-4)
    assert (found.values[:, 2] == 0).all()
    assert found.n == 0
