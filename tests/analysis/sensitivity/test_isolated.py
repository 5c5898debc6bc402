import pytest
import torch
from torch import nn

from analysis.records import Candidate, QuantSettings
from analysis.sensitivity.isolated import IsolatedPlans
from tests.reference.sensitivity import SETTINGS, demo_task, isolated_logits, make_task


def plans_of(task) -> IsolatedPlans:
    return IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)


def test_only_the_layer_itself_is_quantized():
    task = demo_task("digits-resnet", 2, "w4a8")
    plans = plans_of(task)
    for layer in task.network.table.layers:
        found = plans.quantization(layer, task.candidates[0])
        assert set(found.weight_values) == {layer.name}
        assert set(found.activations) == set(layer.inputs)


def test_float_parts_of_a_candidate_are_left_alone():
    task = demo_task("digits-resnet", 2, "w4afloat", "wfloata4", "float")
    plans, layer = plans_of(task), task.network.table.layers[3]
    weight, activation, nothing = (plans.quantization(layer, c) for c in task.candidates)
    assert (list(weight.weight_values), weight.activations) == ([layer.name], {})
    assert (activation.weight_values, list(activation.activations)) == ({}, list(layer.inputs))
    assert (nothing.weight_values, nothing.activations) == ({}, {})
    x = task.inputs(range(2))
    with torch.no_grad():
        assert torch.equal(task.network(x, plans.plan(layer, task.candidates[2])), task.network(x))


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_on_layer_inputs_no_other_reader_of_the_tensor_is_quantized(name):
    settings = QuantSettings(
        scope="layer_input", weight_range="min_max", activation_range="min_max"
    )
    task = demo_task(name, 2, "w3a4", settings=settings)
    plans, x = plans_of(task), task.inputs(range(2))
    with torch.no_grad():
        for layer in task.network.table.layers:
            found = task.network(x, plans.plan(layer, task.candidates[0]))
            expected = isolated_logits(task, layer, task.candidates[0])
            assert torch.allclose(found, expected, atol=2e-3, rtol=2e-3)


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = self.a(x).relu()
        return self.c(x + self.b(x))


@pytest.mark.parametrize("scope", ["tensor", "layer_input"])
def test_an_addition_sees_the_quantized_tensor_in_one_scope_only(scope):
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    settings = QuantSettings(scope=scope, weight_range="min_max", activation_range="min_max")
    model = Skip().eval()
    task = make_task(model, x, "wfloata3", settings=settings)
    plans, layer = plans_of(task), task.network.layer("b")
    (q,) = plans.quantization(layer, task.candidates[0]).activations.values()
    with torch.no_grad():
        h = model.a(x).relu()
        expected = model.c((q(h) if scope == "tensor" else h) + model.b(q(h)))
        found = task.network(x, plans.plan(layer, task.candidates[0]))
        assert torch.allclose(found, expected, atol=1e-6)
        _, prefix = task.network.capture(x)
        local = task.network.local(
            x, prefix, layer.calls[0], plans.local(layer, task.candidates[0])
        )
        assert torch.allclose(local, model.b(q(h)), atol=1e-6)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.b(self.a(self.a(x).relu()))


def test_a_layer_called_twice_has_one_weight_and_a_quantizer_for_each_input():
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    model = Twice().eval()
    task = make_task(model, x, "w3a3")
    plans, layer = plans_of(task), task.network.layer("a")
    found = plans.quantization(layer, Candidate.parse("w3a3"))
    assert len(layer.calls) == len(found.activations) == 2
    weight, (first, second) = found.weight_values["a"], found.activations.values()
    with torch.no_grad():
        f = nn.functional
        h = f.linear(first(x), weight, model.a.bias).relu()
        expected = model.b(f.linear(second(h), weight, model.a.bias))
        assert torch.allclose(task.network(x, plans.plan(layer, task.candidates[0])), expected)


def test_quantized_weights_are_computed_once_while_they_fit(monkeypatch):
    task = demo_task("digits-resnet", 2, "w4a8")
    plans, layer = plans_of(task), task.network.table.layers[0]
    values = [plans.quantization(layer, task.candidates[0]).weight_values for _ in range(2)]
    assert values[0][layer.name] is values[1][layer.name]
    monkeypatch.setattr("analysis.sensitivity.isolated._KEEP_BYTES", 0)
    plans = plans_of(task)
    again = [plans.quantization(layer, task.candidates[0]).weight_values for _ in range(2)]
    assert again[0][layer.name] is not again[1][layer.name]
    assert torch.equal(again[0][layer.name], values[0][layer.name])
    assert SETTINGS.per_channel
