from dataclasses import replace

import pytest
import torch
from torch import Tensor

from analysis.curvature.jacobian import linearise
from analysis.models.network import NOTHING
from analysis.models.replay import Plan
from analysis.quant.configure import fake_quantized
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, built

IMAGE = (3, 32, 32)


def coarse(value: Tensor) -> Tensor:
    return torch.round(value * 4) / 4


def add_one(value: Tensor) -> Tensor:
    return value + 1.0


def doubled(value: Tensor) -> Tensor:
    return value * 2.0


def test_of_two_plans_in_turn_the_transforms_of_a_tensor_follow_each_other():
    a, b, x = torch.zeros(1), torch.ones(1), torch.tensor([3.0])
    first = Plan(
        weights={1: a, 2: a}, inputs={4: add_one}, outputs={(5, 0): add_one, (6, 0): add_one}
    )
    second = Plan(
        weights={2: b}, biases={3: b}, skip=frozenset([7]), inputs={4: doubled, 8: doubled},
        outputs={(5, 0): doubled, (9, 0): doubled},
    )  # fmt: skip
    both = first.then(second)
    assert (both.weights, both.biases, both.skip) == ({1: a, 2: b}, {3: b}, {7})
    assert both.outputs[5, 0](x).item() == both.inputs[4](x).item() == 8.0
    assert second.then(first).outputs[5, 0](x).item() == 7.0
    assert (both.outputs[6, 0], both.outputs[9, 0], both.inputs[8]) == (add_one, doubled, doubled)
    assert (first | second).outputs[5, 0] is doubled
    assert both.first_call == 1


@pytest.mark.parametrize("run_under", ["call", "resume", "capture_from", "local", "user's module"])
def test_what_a_network_does_to_a_tensor_comes_before_what_a_plan_does(run_under):
    plain = built(toys.residual())
    network = replace(plain, plan=plain.plan | Plan(outputs={(2, 0): add_one}))
    extra = Plan(outputs={(2, 0): coarse, (0, 0): doubled})
    x = batch(seed=2)
    with torch.no_grad():
        expected = plain(x, extra | Plan(outputs={(2, 0): lambda z: coarse(z + 1.0)}))
        assert not torch.allclose(expected, plain(x, extra))
        assert not torch.allclose(expected, network(x))
        _, prefix = network.capture(x)
        if run_under == "call":
            got = network(x, extra)
        elif run_under == "resume":
            got = network.resume(x, prefix, extra)
        elif run_under == "capture_from":
            got, _ = network.capture_from(x, prefix, extra)
        elif run_under == "user's module":
            with fake_quantized(network, extra) as module:
                got = module(x)
        else:
            got = network.local(x, prefix, 3, Plan(inputs={3: coarse}))
            expected = plain.module.conv2(coarse(plain.capture(x)[1].outputs[2, 0] + 1.0))
            expected = plain.module.bn2(expected) if 4 in plain.plan.skip else expected
    torch.testing.assert_close(got, expected)


def test_gradients_and_jacobians_are_those_of_the_network_with_its_own_transforms():
    plain = built(toys.residual())
    half = Plan(outputs={(2, 0): lambda z: z.clamp_max(0.3)})
    network = replace(plain, plan=plain.plan | half)
    x, call = batch(seed=2), plain.layer("conv1").calls[0]
    for extra in (NOTHING, Plan(outputs={(2, 0): doubled})):
        graph = linearise(network, [call], x, extra)
        (got,) = graph.pull_back(torch.ones_like(graph.logits), keep=False)

        def after(z, extra=extra) -> Tensor:
            z = z.clamp_max(0.3)
            return z * 2.0 if extra.outputs else z

        other = linearise(plain, [call], x, Plan(outputs={(2, 0): after}))
        (expected,) = other.pull_back(torch.ones_like(other.logits), keep=False)
        torch.testing.assert_close(graph.logits, other.logits)
        torch.testing.assert_close(got, expected)
