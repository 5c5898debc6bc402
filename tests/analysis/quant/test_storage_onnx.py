"""What is said of ONNX files, against files that the checker and onnxruntime have read."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from onnx import checker

from analysis.quant.backends import BACKENDS
from analysis.quant.formats import FORMATS
from analysis.quant.storage import stored_as
from analysis.records import Allocation, Candidate
from tests.reference.allocation import make_table
from tests.reference.qdq import Case, activation_case, weight_case

OPSETS = {"onnx": 21, "onnx_25": 25}
LAYER = replace(make_table([65]).layers[0], weight_shape=(5, 13), kind="linear")


def computed(case: Case) -> np.ndarray:
    checker.check_model(case.model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        case.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": case.x})[0]


@pytest.mark.parametrize("backend", OPSETS)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("operator", ["Conv", "Gemm"])
def test_weights_compute_exactly_in_the_integer_that_keeps_them(backend, name, operator):
    kept = BACKENDS[backend].function(LAYER, Candidate(name, "int8")).weight
    case = weight_case(kept.stored, FORMATS[name].bits, OPSETS[backend], operator=operator)
    assert computed(case) == pytest.approx(case.y, abs=2e-5)


@pytest.mark.parametrize("backend", OPSETS)
@pytest.mark.parametrize("name", FORMATS)
def test_activations_compute_exactly_behind_a_clip(backend, name):
    kept = BACKENDS[backend].function(LAYER, Candidate("int8", name)).activation
    case = activation_case(kept.stored, FORMATS[name].bits, OPSETS[backend], clip=True)
    assert computed(case) == pytest.approx(case.y, abs=1e-6)


@pytest.mark.parametrize("backend", OPSETS)
@pytest.mark.parametrize("name", FORMATS)
def test_without_a_clip_only_wider_activations_go_wrong(backend, name):
    kept = BACKENDS[backend].function(LAYER, Candidate("int8", name)).activation
    case = activation_case(kept.stored, FORMATS[name].bits, OPSETS[backend], clip=False)
    worst = float(np.abs(computed(case) - case.y).max())
    if kept.how == "wider":
        assert worst > 1
        assert "Clip" in kept.reason
    else:
        assert worst < 1e-6


@pytest.mark.parametrize(
    ("kind", "bits", "opset"), [("int2", 2, 21), ("int4", 4, 19), ("int16", 16, 19)]
)
def test_integers_that_an_opset_lacks_are_refused(kind, bits, opset):
    with pytest.raises(Exception, match="DequantizeLinear"):
        computed(weight_case(kind, bits, opset, operator="Gemm"))
    with pytest.raises(Exception, match="QuantizeLinear"):
        computed(activation_case(f"u{kind}", bits, opset, clip=True))


@pytest.mark.parametrize("backend", OPSETS)
@pytest.mark.parametrize("name", FORMATS)
def test_the_size_is_that_of_the_file_s_weights(backend, name):
    table = replace(make_table([65]), layers=(LAYER,))
    candidate = Candidate(name, "int8")
    allocation = Allocation(layers=table.names, candidates=(candidate,))
    (layer,) = stored_as(table, allocation, backend).layers
    case = weight_case(layer.weight.stored, FORMATS[name].bits, OPSETS[backend], operator="Gemm")
    (codes,) = (i for i in case.model.graph.initializer if i.name == "codes")
    assert layer.stored_bits == 8 * len(codes.raw_data)
