from itertools import product

import pytest
import torch
from torch import Tensor

from analysis.errors import QuantizationError
from analysis.options import Options
from analysis.quant.configure import quantize_nearest
from analysis.quant.estimators import RANGE_ESTIMATORS
from analysis.quant.formats import FORMATS
from analysis.quant.hmse import hmse
from analysis.quant.quantizer import symmetric_quantizer
from analysis.quant.ranges import Levels, Samples
from analysis.quant.statistics import weight_samples
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.reference.quantizing import task_of


def draw(rows: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Normal values with scores that differ by orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, count, generator=generator, dtype=torch.float64)
    return values, (2 * torch.randn(rows, count, generator=generator, dtype=torch.float64)).exp()


def levels(bits: int) -> Levels:
    return Levels(*FORMATS[f"int{bits}"].grid(signed=True), symmetric=True)


def limit(name: str, values: Tensor, scores: Tensor | None, bits: int) -> Tensor:
    samples = weight_samples(values, 0, scores)
    return RANGE_ESTIMATORS[name].function(samples, levels(bits), Options())[1]


def weighted_error(values: Tensor, scores: Tensor, high: Tensor, bits: int) -> Tensor:
    """The objective as it is defined, with the quantizer that will be used, (K,)."""
    grid = FORMATS[f"int{bits}"].grid(signed=True)
    quantizer = symmetric_quantizer(high, grid, axis=0)
    return (scores * (values - quantizer(values)).square()).sum(1)


@pytest.mark.parametrize(("bits", "count"), [(2, 9), (3, 144), (8, 144), (4, 5000)])
@pytest.mark.parametrize("level", [1.0, 0.3, 7e-20])
def test_scores_that_are_all_the_same_give_the_range_of_least_squares(bits, count, level):
    values, _ = draw(4, count, seed=count + bits)
    even = torch.full_like(values, level)
    assert torch.equal(limit("hmse", values, even, bits), limit("mse", values, None, bits))


def test_only_the_ratios_of_scores_count():
    values, scores = draw(8, 144, seed=0)
    once, again = (limit("hmse", values, factor * scores, 3) for factor in (1.0, 1024.0))
    assert torch.equal(once, again)


@pytest.mark.parametrize("count", [144, 5000])
def test_outliers_without_a_score_are_ignored(count):
    values, scores = draw(4, count, seed=1)
    outliers = torch.cat([values, torch.full((4, 1), 50.0)], 1)
    ignored = torch.cat([scores, torch.zeros(4, 1)], 1)
    found = limit("hmse", outliers, ignored, 3)
    assert bool((found < 5).all())
    errors = [
        weighted_error(values, scores, high, 3)
        for high in (found, limit("hmse", values, scores, 3))
    ]
    # A row that is a histogram knows its values only within bins, wider ones with an outlier.
    assert torch.allclose(*errors, rtol=1e-9 if count < 4096 else 0.05)


def test_a_row_without_any_score_falls_back_to_least_squares_alone():
    values, scores = draw(3, 144, seed=2)
    scores[1] = 0
    found, plain = limit("hmse", values, scores, 3), limit("mse", values, None, 3)
    assert float(found[1]) == float(plain[1])
    assert bool((found[[0, 2]] != plain[[0, 2]]).all())


def test_scores_on_zeros_alone_do_not_collapse_the_range():
    values, _ = draw(2, 144, seed=3)
    values[:, 0] = 0
    scores = torch.zeros_like(values)
    scores[:, 0] = 1
    assert torch.equal(limit("hmse", values, scores, 3), limit("mse", values, None, 3))


def test_one_element_with_a_score_is_represented_exactly():
    values, _ = draw(4, 30, seed=4)
    scores = torch.zeros_like(values)
    scores[:, 7] = 1
    high = limit("hmse", values, scores, 4)
    assert bool((weighted_error(values, scores, high, 4) < 1e-12).all())


@pytest.mark.parametrize(("bits", "count"), [*product([2, 3, 4], [27, 144, 576])])
def test_no_limit_of_a_fine_grid_is_better_by_more_than_a_hundredth(bits, count):
    values, scores = draw(16, count, seed=bits * count)
    found = weighted_error(values, scores, limit("hmse", values, scores, bits), bits)
    extreme = values.abs().amax(1)
    tried = [
        weighted_error(values, scores, extreme * share, bits)
        for share in torch.linspace(0.03, 1.1, 1000, dtype=torch.float64)
    ]
    assert bool((found <= 1.01 * torch.stack(tried).amin(0)).all())


@pytest.mark.parametrize(("bits", "count"), [*product([2, 3, 4, 8], [3, 27, 576])])
@pytest.mark.parametrize("seed", [0, 1])
def test_by_its_own_measure_it_is_never_worse_than_least_squares(bits, count, seed):
    values, scores = draw(32, count, seed)
    found, plain = (
        weighted_error(values, scores, limit(name, values, scores, bits), bits)
        for name in ("hmse", "mse")
    )
    # Scales are rounded to float32 in the quantizer, not in the search.
    assert bool((found <= plain * (1 + 1e-5)).all())
    if bits < 8 and count > 3:
        assert float(found.sum()) < 0.95 * float(plain.sum())


def test_scores_of_a_long_row_are_summed_in_its_bins():
    values, scores = draw(2, 5000, seed=5)
    values[:, :10] = 0
    samples = weight_samples(values, 0, scores)
    share = scores / scores.amax(1, keepdim=True)
    assert samples.scores.shape == samples.counts.shape
    assert torch.allclose(samples.scores.sum(1), share.sum(1))
    assert torch.allclose(samples.scores[:, 0], share[:, :10].sum(1))
    assert samples.scores[0, 2] == share[0, int(values[0].argmax())]
    bare = weight_samples(values, 0)
    assert torch.equal(samples.counts, bare.counts)
    assert bare.scores is None


def test_values_without_scores_are_refused():
    values, _ = draw(2, 30, seed=6)
    with pytest.raises(QuantizationError, match="needs a score of every element"):
        hmse(Samples.of(values), levels(4), Options())


def test_rows_do_not_see_the_scores_of_others():
    values, scores = draw(5, 144, seed=7)
    together = limit("hmse", values, scores, 3)
    for i in range(5):
        alone = limit("hmse", values[i : i + 1], scores[i : i + 1], 3)
        assert float(alone) == float(together[i])


def test_the_scores_reach_the_layer_that_they_belong_to():
    x = toys.batch(4, 3, 8, 8)
    network = toys.built(toys.residual())
    plain = QuantSettings()
    task = task_of(network, x, "w3a8", plain)
    generator = torch.Generator().manual_seed(0)
    scores = {
        layer.name: (3 * torch.randn(layer.weight_shape, generator=generator)).exp().numpy()
        for layer in network.table.layers
    }
    weighted = QuantSettings(weight_range="hmse")
    found, least = (
        quantize_nearest(network, task.allocation, task.statistics, settings, scores=scores)
        for settings in (weighted, plain)
    )
    for layer in network.table.layers:
        weight = network.weight(layer)
        own = torch.from_numpy(scores[layer.name])
        errors = [
            float((own * (weight - made.weights[layer.name](weight)).square()).sum())
            for made in (found, least)
        ]
        assert errors[0] < errors[1]
    for tensor, quantizer in least.activations.items():
        assert torch.equal(found.activations[tensor].scale, quantizer.scale)
    with pytest.raises(QuantizationError, match="needs a score"):
        quantize_nearest(network, task.allocation, task.statistics, weighted)


def test_activations_have_no_scores_and_refuse():
    x = toys.batch(4, 3, 8, 8)
    network = toys.built(toys.residual())
    settings = QuantSettings(activation_range="hmse")
    task = task_of(network, x, "w3a8", settings)
    with pytest.raises(QuantizationError, match="needs a score"):
        quantize_nearest(network, task.allocation, task.statistics, settings)
