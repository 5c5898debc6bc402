"""Every method under ranges that weigh the elements of a weight by their scores."""

from dataclasses import replace

import pytest
import torch

from analysis.errors import QuantizationError
from analysis.ptq import PTQ_METHODS
from analysis.quant.configure import Estimates, quantize_nearest
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.reference.quantizing import quantize, task_of

HMSE = QuantSettings(weight_range="hmse")
# Trained long enough to run, and with scales that stay where they begin.
BRIEF = {
    "eptq": {"steps": 2, "batch_size": 8, "scale_rate": 0.0},
    "adaround": {"iterations": 2},
    "brecq": {"iterations": 2},
}


@pytest.fixture(scope="module")
def task():
    x = toys.batch(32, 3, 8, 8)
    network = toys.built(toys.residual())
    generator = torch.Generator().manual_seed(0)
    scores = {
        layer.name: (3 * torch.randn(layer.weight_shape, generator=generator)).exp().numpy()
        for layer in network.table.layers
    }
    return replace(task_of(network, x, "w3a8", HMSE), element_scores=scores)


@pytest.mark.parametrize("name", PTQ_METHODS.names())
def test_every_method_begins_with_the_scales_that_the_scores_give(task, name):
    wanted, plain = (
        quantize_nearest(task.network, task.allocation, task.statistics, settings, None, scores)
        for settings, scores in ((HMSE, task.element_scores), (QuantSettings(), None))
    )
    found, _ = quantize(task, name, **BRIEF.get(name, {}))
    assert found.weights.keys() == wanted.weights.keys()
    for layer, quantizer in wanted.weights.items():
        # What is left of a weight behind its centre has another range.
        if layer not in found.splits:
            assert torch.equal(found.weights[layer].scale, quantizer.scale)
        assert not torch.equal(quantizer.scale, plain.weights[layer].scale)


@pytest.mark.parametrize("name", PTQ_METHODS.names())
def test_every_method_says_that_scores_are_missing(task, name):
    bare = replace(task, element_scores=None, estimates=Estimates())
    with pytest.raises(QuantizationError, match="needs a score"):
        quantize(bare, name, **BRIEF.get(name, {}))
