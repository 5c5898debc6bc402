import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import QuantizationError
from analysis.models.network import Network, build_network
from analysis.quant.statistics import BINS, collect_statistics, weight_samples
from tests.reference.work import finish


class Exact(nn.Module):
    """Small whole numbers throughout, so that no order of summation rounds."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(5, 4)
        self.third = nn.Linear(4, 3)
        for p in self.parameters():
            p.data = torch.randint(-2, 3, p.shape, generator=generator).float()

    def forward(self, x):
        return self.third(self.second(self.first(x).relu()))


def collect(network: Network, x: torch.Tensor, size: int):
    batches = x.split(size)
    return finish(collect_statistics(network, lambda: batches, len(batches)))


def exact_network() -> tuple[Network, torch.Tensor, list[np.ndarray]]:
    model = Exact().eval()
    x = torch.randint(-3, 4, (50, 6), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        hidden = model.first(x).relu()
        tensors = [x, hidden, model.second(hidden)]
    return build_network(model, x[:2]), x, [t.numpy() for t in tensors]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_histograms_equal_those_of_numpy_over_several_batches(size):
    network, x, tensors = exact_network()
    found = collect(network, x, size)
    assert found.n == 50
    for i, values in enumerate(tensors):
        assert (found.low[i], found.high[i]) == (values.min(), values.max())
        assert found.zeros[i] == (values == 0).sum()
        expected, edges = np.histogram(values[values != 0], BINS, (values.min(), values.max()))
        # Values on an edge between two bins may fall to either side.
        assert found.counts[i].sum() == expected.sum()
        shifted = np.abs(np.cumsum(found.counts[i]) - np.cumsum(expected))
        assert shifted.max() <= max(np.isin(values, edges).sum(), 0)


def test_the_batch_size_does_not_matter():
    network, x, _ = exact_network()
    one, many = collect(network, x, 1), collect(network, x, 50)
    for name in ("n", "low", "high", "zeros", "counts"):
        assert np.array_equal(getattr(one, name), getattr(many, name))


def test_the_histogram_of_ordinary_values_equals_that_of_numpy():
    layer = nn.Linear(64, 3)
    x = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    x[x.abs() < 0.05] = 0
    found = collect(build_network(layer.eval(), x[:2]), x, 90)
    values = x.numpy().astype(np.float64)
    expected, _ = np.histogram(values[values != 0], BINS, (values.min(), values.max()))
    assert np.abs(np.cumsum(found.counts[0]) - np.cumsum(expected)).max() <= 2
    assert found.counts[0].sum() + found.zeros[0] == values.size


@pytest.mark.parametrize("value", [0.0, 2.5, -1.25])
def test_a_constant_tensor_has_one_value(value):
    found = collect(
        build_network(nn.Linear(4, 3).eval(), torch.rand(2, 4)), torch.full((9, 4), value), 4
    )
    assert (found.low[0], found.high[0]) == (value, value)
    samples = found.samples(0)
    assert set(samples.values[samples.counts > 0].tolist()) == {value}
    assert float(samples.counts.sum()) == 36


def test_negative_tensors_keep_their_extremes_exactly():
    x = -torch.rand(40, 4, generator=torch.Generator().manual_seed(3)) - 0.1
    samples = collect(build_network(nn.Linear(4, 3).eval(), x[:2]), x, 16).samples(0)
    assert float(samples.low) == float(x.min())
    assert float(samples.high) == float(x.max())
    assert float(samples.counts.sum()) == x.numel()


def test_samples_hold_zeros_and_extremes_exactly_and_everything_else_within_its_bin():
    network, x, tensors = exact_network()
    found = collect(network, x, 20)
    for i, values in enumerate(tensors):
        samples = found.samples(i)
        assert float(samples.counts.sum()) == values.size
        assert bool((samples.counts >= 0).all())
        assert float(samples.counts[0, 0]) == (values == 0).sum()
        assert (float(samples.low), float(samples.high)) == (values.min(), values.max())
        mean = float((samples.values * samples.counts).sum() / samples.counts.sum())
        assert abs(mean - values.mean()) <= float(samples.width.max())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_an_activation_that_is_not_finite_is_refused_by_name(bad):
    network, x, _ = exact_network()
    network.module.second.bias.data[2] = bad
    name = network.table.tensors[2].produced_by
    with pytest.raises(QuantizationError, match="must be finite") as error:
        collect(network, x, 20)
    assert f"`{name}`" in str(error.value)


def test_an_empty_calibration_set_is_refused():
    network, _, _ = exact_network()
    with pytest.raises(QuantizationError, match="at least one sample"):
        finish(collect_statistics(network, lambda: (), 0))


def test_progress_counts_both_passes():
    network, x, _ = exact_network()
    events = list(collect_statistics(network, lambda: x.split(20), 3))
    assert [(e.done, e.total) for e in events] == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("axis", [0, 1, None])
def test_rows_of_a_weight_follow_its_output_channels(axis):
    weight = torch.randn(3, 4, 2, 2)
    samples = weight_samples(weight, axis)
    rows = [weight] if axis is None else list(weight.unbind(axis))
    assert len(samples.values) == len(rows)
    for found, row in zip(samples.values, rows, strict=True):
        assert sorted(found.tolist()) == sorted(row.flatten().double().tolist())


def test_long_rows_become_histograms_with_exact_zeros_and_extremes():
    weight = torch.randn(3, 9000, generator=torch.Generator().manual_seed(0))
    weight[0, :4000] = 0
    weight[1] = 0.75
    weight[2] = weight[2].abs() + 0.1
    samples = weight_samples(weight, 0)
    assert samples.counts.sum(1).tolist() == [9000.0] * 3
    assert samples.counts[:, 0].tolist() == [4000.0, 0.0, 0.0]
    assert bool((samples.counts >= 0).all())
    assert torch.equal(samples.low, weight.amin(1).double())
    assert torch.equal(samples.high, weight.amax(1).double())
    for row, counts in zip(weight.double(), samples.counts, strict=True):
        own = row[row != 0].numpy()
        if own.min() < own.max():
            expected, _ = np.histogram(own, BINS, (own.min(), own.max()))
            found = counts[3:].clone()
            found[0] += counts[1]
            found[-1] += counts[2]
            assert np.array_equal(found.numpy(), expected)
