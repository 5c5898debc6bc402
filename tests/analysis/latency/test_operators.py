"""One-operator models against torch, and times that belong to them."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch.nn import functional as F

from analysis.errors import AnalysisError, DataflowError
from analysis.latency.operators import Operator, example, model_of
from analysis.latency.settings import INT8, MEASURED, UNTOUCHED, TimingOptions
from analysis.latency.timing import measured_rows, measured_table, operator_of, time_operator
from analysis.records import Candidate
from tests.analysis.models.toys import TOYS, built

FEW = TimingOptions(repeats=5, warm_up=1)
# Kind, input, weight, output, and the torch call that has these shapes.
CASES = {
    "plain": ("conv2d", (3, 8, 8), (4, 3, 3, 3), (4, 8, 8), {"padding": 1}),
    "valid": ("conv2d", (3, 8, 8), (4, 3, 3, 3), (4, 6, 6), {}),
    "strided": ("conv2d", (3, 9, 9), (4, 3, 3, 3), (4, 4, 4), {"stride": 2}),
    "pointwise": ("conv2d", (3, 8, 8), (4, 3, 1, 1), (4, 4, 4), {"stride": 2}),
    "depthwise": ("conv2d", (6, 8, 8), (6, 1, 3, 3), (6, 8, 8), {"padding": 1, "groups": 6}),
    "patches": ("conv2d", (3, 8, 8), (4, 3, 4, 4), (4, 2, 2), {"stride": 4}),
    "sequence": ("conv1d", (3, 10), (4, 3, 5), (4, 10), {"padding": 2}),
    "up": ("conv_transpose2d", (4, 8, 8), (4, 3, 2, 2), (3, 16, 16), {"stride": 2}),
    "linear": ("linear", (7, 5), (6, 5), (7, 6), {}),
}


def ran(operator, int8):
    model = model_of(operator, int8=int8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = example(operator, int8=int8)
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    return session.run(None, {"x": x})[0], x, constants


@pytest.mark.parametrize("name", CASES)
def test_a_float_operator_computes_what_torch_computes(name):
    kind, inputs, weight, outputs, options = CASES[name]
    operator = Operator(kind, inputs, weight, outputs)
    y, x, constants = ran(operator, int8=False)
    w = torch.from_numpy(constants["w"].copy())
    own = w.T if kind == "linear" else w
    expected = getattr(F, kind)(torch.from_numpy(x), own, **options).numpy()
    assert y.shape == expected.shape
    assert expected.shape[-len(outputs) :] == outputs
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"up"}))
def test_an_int8_operator_computes_on_the_grids(name):
    kind, inputs, weight, outputs, options = CASES[name]
    y, x, c = ran(Operator(kind, inputs, weight, outputs), int8=True)
    assert y.dtype == np.uint8
    wide = torch.from_numpy(c["w"].astype(np.float64))
    own = wide.T if kind == "linear" else wide
    sums = getattr(F, kind)(torch.from_numpy(x.astype(np.float64)) - 128, own, **options)
    exact = sums.numpy() * 0.02 * 0.01 / 0.05 + 128
    assert np.abs(y - np.clip(np.round(exact), 0, 255)).max() <= 1  # ties in float32


@pytest.mark.parametrize("inputs", [(8, 8), (4, 8, 8)])
def test_shapes_that_no_convolution_has_are_refused(inputs):
    with pytest.raises(DataflowError, match="one vector per pixel"):
        model_of(Operator("conv2d", inputs, (4, 3, 3, 3), (4, 8, 8)), int8=False)


@pytest.mark.parametrize("size", range(1, 13))
def test_a_stride_and_a_padding_lead_to_every_size(size):
    for made in range(1, size + 1):
        for kernel in (1, 2, 3, 7):
            operator = Operator("conv1d", (1, size), (1, 1, kernel), (1, made))
            y, _, _ = ran(operator, int8=False)
            assert y.shape == (1, 1, made)


def test_a_transposed_convolution_has_no_int8_form():
    kind, inputs, weight, outputs, _ = CASES["up"]
    with pytest.raises(DataflowError, match="no int8 form"):
        model_of(Operator(kind, inputs, weight, outputs), int8=True)


def test_only_what_has_kernels_can_be_timed():
    operator = Operator(*CASES["plain"][:4])
    ns, spread = time_operator(operator, INT8, FEW)
    assert ns > 0 <= spread
    with pytest.raises(AnalysisError, match="Only w8a8 and float"):
        time_operator(operator, Candidate("int4", "int8"), FEW)


@pytest.mark.parametrize("name", ["chunked", "transposed", "self_attention", "twice"])
def test_every_layer_is_timed_or_named(name):
    network = built(TOYS[name]())
    layers = network.table.layers
    rows = [row for layer in layers for row in measured_rows(network, layer, FEW)]
    found = measured_table(network, rows, FEW)
    timed = {(row.layer, row.candidate) for row in found.rows}
    for layer in layers:
        for candidate in MEASURED:
            named = any(f"`{layer.name}`" in n and candidate.text in n for n in found.notes)
            assert ((layer.name, candidate) in timed) != named
    assert "1 thread" in found.source


def test_a_layer_that_is_called_twice_takes_the_time_of_both_calls():
    network = built(TOYS["twice"]())
    layer = network.layer("again")
    rows = {row.candidate: row for row in measured_rows(network, layer, FEW)}
    assert rows[UNTOUCHED].ns % 2 == 0 == rows[INT8].spread_ns % 2


def test_an_operator_has_the_shapes_of_one_sample():
    two, five = (built(TOYS["self_attention"](), n) for n in (2, 5))
    for name in two.table.names:
        assert operator_of(two, two.layer(name)) == operator_of(five, five.layer(name))
    assert operator_of(two, two.layer("embed")).inputs == (3, 8, 8)
