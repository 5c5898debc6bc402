"""What is said of OpenVINO, against files that it has read and run."""

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason="needs tests/peers/requirements.txt")

from analysis.quant.backends import BACKENDS  # noqa: E402
from analysis.quant.formats import FORMATS  # noqa: E402
from analysis.records import Candidate  # noqa: E402
from tests.reference.allocation import make_table  # noqa: E402
from tests.reference.qdq import Case, activation_case, weight_case  # noqa: E402

(LAYER,) = make_table([65]).layers


def computed(case: Case) -> np.ndarray:
    core = openvino.Core()
    model = core.read_model(case.model.SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([case.x])[0]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("operator", ["Conv", "Gemm"])
def test_weights_compute_exactly_in_the_integer_that_keeps_them(name, operator):
    kept = BACKENDS["openvino"].function(LAYER, Candidate(name, "int8")).weight
    case = weight_case(kept.stored, FORMATS[name].bits, 21, operator=operator)
    assert computed(case) == pytest.approx(case.y, abs=2e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_activations_compute_exactly_behind_a_clip(name):
    bits = FORMATS[name].bits
    kept = BACKENDS["openvino"].function(LAYER, Candidate("int8", name)).activation
    step = 2 / (2**bits - 1)
    # Of 16 bits, float32 has hardly room for the place between two steps.
    allowed = 1e-6 if bits < 16 else 1.01 * step
    case = activation_case(kept.stored, bits, 21, clip=True)
    assert computed(case) == pytest.approx(case.y, abs=allowed)


def test_integers_of_2_bits_are_refused():
    for case in (
        weight_case("int2", 2, 25, operator="Gemm"),
        activation_case("uint2", 2, 25, clip=True),
    ):
        with pytest.raises(RuntimeError, match=r"(?i)unsupported"):
            computed(case)
