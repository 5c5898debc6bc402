"""Evaluating again after an edit beside the suffix passes that it cannot avoid: `make bench`."""

from itertools import cycle

import pytest
import torch

from analysis.evaluation.accuracy import logits
from analysis.evaluation.checkpoints import Checkpoints
from analysis.models.network import build_network
from analysis.models.replay import Plan
from tests.benchmarks.plain_resnet20 import folded, suffixes
from tests.benchmarks.test_speed import ratio
from tests.reference.cifar_resnet20 import CifarResNet20
from tests.reference.work import finish

N = 128


@pytest.mark.parametrize("memory_mib", [512, 8])
def test_evaluating_after_an_edit_costs_little_more_than_the_suffix_passes(benchmark, memory_mib):
    torch.manual_seed(0)
    model = CifarResNet20().eval().requires_grad_(False)
    x = torch.randn(N, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network = build_network(model, x[:2])
    twin = CifarResNet20().eval()
    twin.load_state_dict(model.state_dict())
    cuts = suffixes(folded(twin), x)
    checkpoints = Checkpoints(memory_mib)
    weights = {layer.calls[0]: network.weight(layer) for layer in network.table.layers}
    scale = cycle((1.01, 0.99))

    def edits():
        for call in weights:
            weights[call] = weights[call] * next(scale)
            finish(
                logits(
                    network,
                    lambda samples: x[samples.start : samples.stop],
                    N,
                    plan=Plan(weights=dict(weights)),
                    batch_size=N,
                    checkpoints=checkpoints,
                )
            )

    def bound():
        with torch.no_grad():
            for cut in cuts:
                cut()

    found = ratio(benchmark, edits, bound, rounds=7)
    print(f"{len(checkpoints.starts)} places in {memory_mib} MiB")
    if memory_mib == 512:
        assert found <= 1.3
