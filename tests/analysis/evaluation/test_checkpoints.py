from threading import Thread

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.evaluation.accuracy import logits
from analysis.evaluation.checkpoints import Checkpoints, first_difference
from analysis.models import demo
from analysis.models.network import build_network
from analysis.models.replay import Plan
from analysis.quant.quantizer import Quantizer
from tests.analysis.models import toys
from tests.analysis.models.toys import TOYS, batch, built, randomised
from tests.reference.work import finish

N, BATCH = 7, 3  # the last batch is smaller


def quantizer(scale: float, axis: int | None = None) -> Quantizer:
    return Quantizer(torch.tensor([scale]), torch.zeros(1), -8, 7, axis)


def plan_with(network, steps: dict[str, float], activations: float = 0.05) -> Plan:
    """Every layer's weight on a grid of its own, every tensor that layers read on one grid."""
    weights = {}
    for layer in network.table.layers:
        value = quantizer(steps[layer.name])(network.weight(layer))
        weights |= dict.fromkeys(layer.calls, value)
    slots = [(tensor.call, tensor.slot) for tensor in network.table.tensors]
    return Plan(weights=weights, outputs=dict.fromkeys(slots, quantizer(activations)))


def evaluated(network, x, plan, checkpoints=None):
    work = logits(
        network,
        lambda samples: x[samples.start : samples.stop],
        len(x),
        plan=plan,
        batch_size=BATCH,
        checkpoints=checkpoints,
    )
    return finish(work)


def case(name):
    if name in TOYS:
        return built(TOYS[name]()), batch(N, 3, 8, 8, seed=2)
    x = batch(N, 1, 16, 16, seed=2)
    return build_network(randomised(demo.load(name)), x[:2]), x


@pytest.mark.parametrize("name", [*TOYS, "digits-resnet", "digits-vit"])
def test_an_edit_anywhere_gives_the_logits_of_a_whole_pass(name):
    network, x = case(name)
    checkpoints = Checkpoints(memory_mib=64)
    steps = dict.fromkeys(network.table.names, 0.02)
    order = np.random.default_rng(0).permutation(len(steps))[:8]
    for number in [*order, *order[:2]]:
        steps[network.table.names[number]] *= 1.5
        plan = plan_with(network, steps)
        found = evaluated(network, x, plan, checkpoints)
        np.testing.assert_array_equal(found, evaluated(network, x, plan))
    changed = plan_with(network, steps, activations=0.04)
    found = evaluated(network, x, changed, checkpoints)
    np.testing.assert_array_equal(found, evaluated(network, x, changed))


class Convolutions(TorchDispatchMode):
    """Counts what is really computed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten.convolution.default
        return function(*args, **(kwargs or {}))


def test_only_calls_behind_the_edit_are_executed():
    network, x = case("digits-resnet")
    checkpoints = Checkpoints(memory_mib=64)
    steps = dict.fromkeys(network.table.names, 0.02)
    counts = []
    for edited in (None, network.table.names[-1], network.table.names[0], None):
        if edited is not None:
            steps[edited] *= 1.5
        with Convolutions() as computed:
            evaluated(network, x, plan_with(network, steps), checkpoints)
        counts.append(computed.count)
    batches = -(-N // BATCH)
    convolutions = sum(len(layer.weight_shape) == 4 for layer in network.table.layers)
    assert counts == [batches * convolutions, 0, batches * convolutions, 0]


def test_an_evaluation_that_was_left_half_way_leaves_no_wrong_activations():
    network, x = case("digits-resnet")
    checkpoints = Checkpoints(memory_mib=64)
    steps = dict.fromkeys(network.table.names, 0.02)
    evaluated(network, x, plan_with(network, steps), checkpoints)
    other = plan_with(network, dict.fromkeys(steps, 0.05))
    work = logits(
        network,
        lambda samples: x[samples.start : samples.stop],
        N,
        plan=other,
        batch_size=BATCH,
        checkpoints=checkpoints,
    )
    next(work)
    work.close()
    for plan in (plan_with(network, steps | {"head": 0.03}), other):
        found = evaluated(network, x, plan, checkpoints)
        np.testing.assert_array_equal(found, evaluated(network, x, plan))


def kept_bytes(checkpoints: Checkpoints) -> int:
    tensors = {
        id(value): value.numel() * value.element_size()
        for _, prefix in checkpoints._batches.values()
        for value in prefix.outputs.values()
    }
    return sum(tensors.values())


@pytest.mark.parametrize("share", [1.0, 0.6, 0.3, 0.0])
def test_what_is_kept_fits_into_the_memory(share):
    network, x = case("digits-resnet")
    steps = dict.fromkeys(network.table.names, 0.02)
    plenty = Checkpoints(memory_mib=64)
    evaluated(network, x, plan_with(network, steps), plenty)
    whole = kept_bytes(plenty)
    limited = Checkpoints(memory_mib=share * whole / 2**20)
    evaluated(network, x, plan_with(network, steps), limited)
    assert kept_bytes(limited) <= share * whole
    assert set(limited.starts) <= set(plenty.starts)
    assert bool(limited.starts) == (share > 0)
    plan = plan_with(network, steps | {network.table.names[-2]: 0.04})
    np.testing.assert_array_equal(evaluated(network, x, plan, limited), evaluated(network, x, plan))


def test_another_network_or_another_number_of_samples_starts_anew():
    first, x = built(toys.branch()), batch(N, 3, 8, 8)
    second = built(randomised(toys.branch(), seed=5))
    checkpoints = Checkpoints(memory_mib=64)
    for network, samples in ((first, x), (second, x), (second, x[:5]), (first, x)):
        plan = plan_with(network, dict.fromkeys(network.table.names, 0.02))
        found = evaluated(network, samples, plan, checkpoints)
        np.testing.assert_array_equal(found, evaluated(network, samples, plan))


def test_a_second_thread_evaluates_without_them():
    network = built(toys.branch())
    checkpoints, seen = Checkpoints(memory_mib=64), []

    def other():
        with checkpoints.over(network, N) as mine:
            seen.append(mine)

    with checkpoints.over(network, N):
        thread = Thread(target=other)
        thread.start()
        thread.join()
    other()
    assert seen == [None, checkpoints]


def test_the_first_difference_of_two_plans_is_the_first_call_with_another_number():
    value = torch.ones(2)
    plan = Plan(weights={3: value, 7: value}, outputs={(5, 0): quantizer(0.1)})
    same = Plan(weights={3: value.clone(), 7: value}, outputs={(5, 0): quantizer(0.1)})
    assert first_difference(plan, same) > 1 << 30
    assert first_difference(plan, Plan(weights={3: value, 7: value})) == 5
    assert first_difference(plan, Plan(weights={3: value + 1, 7: value})) == 3
    assert first_difference(same, Plan(same.weights, outputs={(5, 0): quantizer(0.2)})) == 5
    assert first_difference(same, Plan(same.weights, outputs={(5, 0): quantizer(0.1, 1)})) == 5
    assert first_difference(Plan(), Plan(outputs={(-1, 0): quantizer(0.1)})) == -1
    assert first_difference(Plan(), Plan(biases={4: value})) == 4
    assert first_difference(Plan(), Plan(inputs={6: quantizer(0.1)})) == 6
    assert first_difference(Plan(), Plan(skip=frozenset({2}))) == 2
    # Two functions may differ even where they are written alike.
    assert first_difference(Plan(inputs={1: lambda t: t}), Plan(inputs={1: lambda t: t})) == 1


def test_a_model_whose_code_reads_values_is_evaluated_whole():
    class Reads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = toys.conv(), torch.nn.Linear(4, 5)

        def forward(self, x):
            y = self.first(x)
            return self.head(y.mean((2, 3)) * (2.0 if float(y.detach().abs().sum()) >= 0 else 1.0))

    network, x = built(Reads().eval()), batch(N, 3, 8, 8)
    assert not network.can_resume
    checkpoints = Checkpoints(memory_mib=64)
    for scale in (0.02, 0.03):
        plan = plan_with(network, dict.fromkeys(network.table.names, scale))
        found = evaluated(network, x, plan, checkpoints)
        np.testing.assert_array_equal(found, evaluated(network, x, plan))
    assert checkpoints.starts == ()
    assert not checkpoints._batches
