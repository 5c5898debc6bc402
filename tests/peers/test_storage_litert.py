"""What is said of LiteRT, against models of one operator that it has run."""

from dataclasses import replace

import numpy as np
import pytest

for name in ("ai_edge_litert", "flatbuffers"):
    pytest.importorskip(name, reason="needs tests/peers/requirements.txt")

from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from analysis.quant.backends import BACKENDS  # noqa: E402
from analysis.records import Candidate  # noqa: E402
from tests.peers.litert_models import case  # noqa: E402
from tests.reference.allocation import make_table  # noqa: E402

(PLAIN,) = make_table([65]).layers
LAYERS = {
    "FULLY_CONNECTED": replace(PLAIN, kind="linear", weight_shape=(4, 16)),
    "CONV_2D": replace(PLAIN, kind="conv2d", weight_shape=(4, 8, 3, 3)),
    "DEPTHWISE_CONV_2D": replace(PLAIN, kind="conv2d", weight_shape=(8, 1, 3, 3)),
}
WEIGHTS, ACTIVATIONS = ("int2", "int4", "int8", "int16"), ("int8", "int16", "float")


def off(operator: str, weight: str, activation: str, **more: int) -> float:
    """Worst error in steps of the output, of floats relative to the largest value."""
    made = case(operator, weight, activation, **more)
    interpreter = Interpreter(model_content=made.content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], made.x)
    interpreter.invoke()
    y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    worst = float(np.abs(y * np.float64(made.scale) - made.y).max())
    return worst / (made.scale if activation != "float" else float(np.abs(made.y).max()))


def computes(operator: str, weight: str, activation: str) -> bool:
    try:
        worst = off(operator, weight, activation)
    except (RuntimeError, ValueError):
        return False
    return worst < (0.05 if activation == "float" else 1.1)


@pytest.mark.parametrize("operator", LAYERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_weights_are_kept_exactly_where_the_kernel_computes_with_them(operator, weight, activation):
    kept = BACKENDS["litert"].function(LAYERS[operator], Candidate(weight, activation)).weight
    assert (kept.how == "same") == computes(operator, weight, activation)
    if kept.how == "wider":
        assert computes(operator, kept.stored, activation)


@pytest.mark.parametrize("operator", LAYERS)
def test_beside_integer_weights_float_activations_are_rounded(operator):
    assert 1e-4 < off(operator, "int8", "float") < 0.05


@pytest.mark.parametrize("operator", LAYERS)
def test_activations_of_16_bits_must_have_zero_point_0(operator):
    with pytest.raises(RuntimeError, match="zero_point != 0"):
        off(operator, "int8", "int16", zero_point=-32768)
