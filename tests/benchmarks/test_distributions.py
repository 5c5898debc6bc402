"""Distributions beside the passes that they look into, and of one large tensor: `make bench`."""

import json
from time import perf_counter

import pytest
import torch

from analysis.distributions.collect import collect_distributions
from analysis.distributions.streaming import binned, weight_distribution
from analysis.models.network import build_network
from analysis.models.vision_ops import import_torchvision
from analysis.workflow.distributing import BATCH
from tests.benchmarks.test_speed import ratio
from tests.reference.work import finish

VALUES, SECONDS, BYTES = 10_000_000, 0.15, 20_000
IMAGES = 64


@pytest.mark.parametrize("kind", ["normal", "relu"])
def test_ten_million_values_are_described_at_once_and_take_little_on_the_wire(benchmark, kind):
    x = torch.randn(VALUES, generator=torch.Generator().manual_seed(0))
    x = x.relu_() if kind == "relu" else x
    times = []

    def describe():
        begin = perf_counter()
        found = weight_distribution(x, None, "values")
        times.append(perf_counter() - begin)
        return found

    found = benchmark.pedantic(describe, rounds=7, warmup_rounds=1)
    edges, counts = binned(found, 256)
    sent = json.dumps(
        {
            "start": edges[0],
            "width": edges[1] - edges[0],
            "counts": counts.astype(int).tolist(),
            "statistics": found.statistics.tolist(),
        }
    )
    best = min(times[1:])
    print(f"\n{kind}: {best * 1e3:.0f} ms (bound {SECONDS * 1e3:.0f} ms), {len(sent)} bytes")
    assert best <= SECONDS
    assert len(sent) <= BYTES
    assert counts.sum() == VALUES


def test_looking_at_every_tensor_of_resnet18_costs_less_than_half_a_pass(benchmark):
    torch.manual_seed(0)
    model = import_torchvision().models.resnet18(weights=None).eval().requires_grad_(False)
    x = torch.randn(IMAGES, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    network, batches = build_network(model, x[:2]), x.split(BATCH)

    def plain():
        with torch.no_grad():
            for part in batches:
                model(part)

    found = ratio(
        benchmark,
        lambda: finish(collect_distributions(network, lambda: batches, len(batches))),
        plain,
        rounds=5,
    )
    assert found <= 1.5
