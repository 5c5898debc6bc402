"""Every metric under ranges that weigh the elements of a weight by their scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.errors import QuantizationError
from analysis.quant.configure import estimate_weight
from analysis.records import QuantSettings
from analysis.sensitivity import METRICS
from analysis.sensitivity.isolated import IsolatedPlans
from analysis.sensitivity.task import SensitivityTask
from tests.analysis.models import toys
from tests.reference.sensitivity import make_task
from tests.reference.work import finish

HMSE = QuantSettings(weight_range="hmse")
# Of candidates these read the formats' bits, or ranges of least squared error, or nothing.
BLIND = ("limpq_proxy", "orthogonality", "parameter_count", "random", "size_only")


@pytest.fixture(scope="module")
def plain():
    x = toys.batch(4, 3, 8, 8)
    labels = np.arange(4) % 3
    torch.manual_seed(0)
    return make_task(toys.residual(), x, "w2a8", settings=QuantSettings(), labels=labels)


def weighted(task: SensitivityTask, spread: float) -> SensitivityTask:
    generator = torch.Generator().manual_seed(0)
    scores = {
        layer.name: (spread * torch.randn(layer.weight_shape, generator=generator)).exp().numpy()
        for layer in task.network.table.layers
    }
    return replace(task, settings=HMSE, element_scores=scores)


def values(task: SensitivityTask, name: str):
    method = METRICS[name]
    return finish(method.function(task, method.options())).values


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_that_reads_ranges_sees_the_scores_and_misses_them_where_there_are_none(
    plain, name
):
    found, least = values(weighted(plain, 3.0), name), values(plain, name)
    bare = replace(plain, settings=HMSE)
    if name in BLIND:
        assert np.array_equal(found, least)
        assert np.array_equal(values(bare, name), least)
        return
    assert found.shape == least.shape
    # The accuracy of four samples has no room for a difference.
    assert name == "accuracy_drop" or not np.array_equal(found, least)
    with pytest.raises(QuantizationError, match="needs a score"):
        values(bare, name)


@pytest.mark.parametrize("name", ["layer_mse", "output_kl", "gradient_l1"])
def test_even_scores_give_a_metric_what_least_squares_gives(plain, name):
    assert np.array_equal(values(weighted(plain, 0.0), name), values(plain, name))


def test_isolated_plans_round_a_weight_on_the_grid_of_its_own_scores(plain):
    task = weighted(plain, 3.0)
    plans = IsolatedPlans.of(task)
    for layer in task.network.table.layers:
        for candidate in task.candidates:
            own = task.element_scores[layer.name]
            wanted = estimate_weight(task.network, layer, candidate.weight, HMSE, own)
            weight = task.network.weight(layer)
            found = plans.quantization(layer, candidate).weight_values[layer.name]
            assert torch.equal(found, wanted(weight))
            assert torch.equal(task.weight_quantizer(layer, candidate.weight).scale, wanted.scale)
