import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.errors import AnalysisError, DataflowError, UnknownNameError
from analysis.models import demo
from analysis.models.network import Network, build_network
from analysis.models.replay import Plan
from tests.analysis.models import toys
from tests.analysis.models.toys import TOYS, batch, built, conv, randomised, toy


def snapshot(module: nn.Module) -> dict[str, object]:
    """Everything a module holds besides its parameters and buffers."""
    found: dict[str, object] = {}
    for name, child in module.named_modules():
        for key, value in vars(child).items():
            found[f"{name}:{key}"] = dict(value) if isinstance(value, dict) else value
    return found


@pytest.mark.parametrize("name", [*TOYS, "digits-mobilenet"])
def test_neither_building_nor_running_changes_the_model(name):
    module = TOYS[name]() if name in TOYS else randomised(demo.load(name))
    shape = (3, 8, 8) if name in TOYS else (1, 16, 16)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    before = snapshot(module)
    example = batch(2, *shape)
    kept = example.clone()
    network = build_network(module, example)
    with torch.no_grad():
        _, prefix = network.capture(example)
        for layer in network.table.layers:
            plan = Plan(weights=dict.fromkeys(layer.calls, network.weight(layer) * 2))
            network(example, plan)
            network.resume(example, prefix, plan)
            network.local(example, prefix, layer.calls[0], plan)
    assert torch.equal(example, kept)
    assert snapshot(module) == before
    after = module.state_dict()
    assert list(after) == list(state)
    assert all(torch.equal(after[key], state[key]) for key in state)
    assert all(p.grad is None for p in module.parameters())


def test_a_model_that_counts_its_passes_keeps_its_buffer_through_resumed_passes():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = conv(), nn.Linear(4, 5)
            self.register_buffer("passes", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.passes.add_(1)
            return self.last(self.first(x).mean((2, 3)))

    network = built(Counting().eval())
    x = batch(seed=2)
    with torch.no_grad():
        plain, prefix = network.capture(x)
        passes = network.module.passes.item()
        layer = network.layer("last")
        plan = Plan(weights={layer.calls[0]: network.weight(layer) * 2})
        assert torch.equal(network.resume(x, prefix, plan), network(x, plan))
        assert torch.equal(network(x), plain)
    assert network.module.passes.item() == passes + 3


def plans_of(network: Network) -> list[Plan]:
    """For every layer, one plan for its weight and one for every reader of what it reads."""
    tensors = network.table.tensors
    found = []
    for layer in network.table.layers:
        weight = dict.fromkeys(layer.calls, network.weight(layer) * 1.5)
        slots = [(tensors[place].call, tensors[place].slot) for place in layer.inputs]
        found += [
            Plan(weights=weight),
            Plan(weights=weight, outputs=dict.fromkeys(slots, lambda t: t * 0.5 + 0.1)),
        ]
    return found


@pytest.mark.parametrize("name", [*TOYS, "digits-vit"])
def test_a_pass_started_from_activations_under_another_plan_equals_the_whole_pass(name):
    if name in TOYS:
        x, network = batch(seed=2), built(TOYS[name]())
    else:
        x = batch(2, 1, 16, 16, seed=2)
        network = build_network(randomised(demo.load(name)), x)
    plans = sorted(plans_of(network), key=lambda plan: plan.first_call)
    plans = plans[:: 1 + len(plans) // 12]
    with torch.no_grad():
        plain, prefix = network.capture(x)
        for place, first in enumerate(plans):
            alone, after = network.capture_from(x, prefix, first)
            assert torch.equal(alone, network(x, first))
            for second in plans[place::2]:
                for both in (first | second, second | first):
                    found = network.resume(x, after, both, start=second.first_call)
                    assert torch.equal(found, network(x, both))
            assert torch.equal(network.resume(x, after, first), alone)
        assert torch.equal(network.resume(x, prefix, Plan()), plain)


def test_activations_before_the_plan_are_shared_and_those_behind_it_are_new():
    network, x = built(toys.branch()), batch(seed=2)
    layer = network.layer("right")
    plan = Plan(weights={layer.calls[0]: network.weight(layer) * 2})
    with torch.no_grad():
        _, prefix = network.capture(x)
        kept = {slot: value.clone() for slot, value in prefix.outputs.items()}
        _, after = network.capture_from(x, prefix, plan)
    assert after.outputs.keys() == prefix.outputs.keys()
    for slot, value in prefix.outputs.items():
        assert torch.equal(value, kept[slot])
        assert (after.outputs[slot] is value) == (slot[0] < layer.calls[0])
    assert len(after.results) == len(prefix.results)


def test_a_network_knows_its_layers_and_classes():
    network = built(toys.branch())
    assert network.num_classes == 5
    assert network.layer("left").name == "left"
    assert torch.equal(network.weight(network.layer("left")), network.module.left.weight)
    assert torch.equal(network.bias(network.layer("left")), network.module.left.bias)
    with pytest.raises(UnknownNameError, match="did you mean `left`"):
        network.layer("lefft")


def test_a_layer_without_bias_has_none():
    network = built(toy(lambda m, x: m.first(x), first=conv(bias=False)))
    assert network.bias(network.layer("first")) is None
    assert not network.weight(network.layer("first")).requires_grad


@pytest.mark.parametrize("part", ["", "relu"])
def test_a_model_with_a_part_in_training_mode_is_refused_and_named(part):
    module = toys.residual()
    module.get_submodule(part).training = True
    with pytest.raises(DataflowError, match=rf"`{part or 'model'}` is in training mode"):
        built(module)


def test_a_batchnorm_in_training_mode_is_refused_before_it_moves_its_statistics():
    module = toys.residual()
    module.bn1.train()
    mean = module.bn1.running_mean.clone()
    with pytest.raises(DataflowError, match=r"`bn1` is in training mode: call `\.eval\(\)`"):
        built(module)
    assert torch.equal(module.bn1.running_mean, mean)


def test_a_model_with_random_outputs_is_refused():
    module = toy(lambda m, x: F.dropout(m.first(x), 0.5, training=True), first=conv())
    with pytest.raises(DataflowError, match=r"same outputs for the same batch, .* deterministic"):
        built(module)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda y: (y, y), "one tensor of logits, got tuple"),
        (lambda y: [y], "one tensor of logits, got list"),
        (lambda y: y.argmax(1), r"logits of shape \(N, C\), .* torch.int64 of shape \(2,\)"),
        (lambda y: y.sum(), r"torch.float32 of shape \(\)"),
        (lambda y: y[:1], r"for a batch of 2 it returned .* \(1, 5\)"),
        (lambda y: y.unsqueeze(2), r"\(2, 5, 1\)"),
    ],
)
def test_outputs_that_are_no_logits_are_refused(end, message):
    class Ended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(192, 5)

        def forward(self, x: Tensor) -> object:
            return end(self.fc(x.flatten(1)))

    with pytest.raises(DataflowError, match=message):
        built(Ended().eval())


def test_a_model_without_layers_is_refused():
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).relu()

    with pytest.raises(DataflowError, match="at least one convolution or linear layer"):
        built(Sum().eval())


def test_a_model_that_cannot_take_the_batch_is_refused_with_its_own_words():
    with pytest.raises(
        DataflowError, match=r"batches of shape \(2, 1, 8, 8\), it failed: .*channel"
    ):
        build_network(toys.branch(), batch(2, 1, 8, 8))


def test_a_model_that_writes_into_its_input_is_refused():
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x -= 0.5
        return m.first(x)

    module, example = toy(body, first=conv()), batch()
    kept = example.clone()
    with pytest.raises(DataflowError, match="must not change its input"):
        build_network(module, example)
    assert torch.equal(example, kept)


def test_a_model_that_relies_on_an_in_place_activation_is_refused():
    def body(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        F.relu(y, inplace=True)
        return m.last(y)

    module = toy(body, first=conv(), last=conv(4))
    with pytest.raises(DataflowError, match="`inplace=True` changing a tensor that is read again"):
        built(module)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_batch_that_is_not_finite_is_refused(value):
    example = batch()
    example[1, 2, 3, 4] = value
    with pytest.raises(DataflowError, match="example batch must be finite"):
        build_network(toys.residual(), example)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["conv1.weight", "bn1.weight", "head.bias"])
def test_weights_that_are_not_finite_are_refused_by_name(name, value):
    module = toys.residual()
    with torch.no_grad():
        module.get_parameter(name).view(-1)[0] = value
    with pytest.raises(DataflowError, match=f"Weights must be finite, `{name}` hold"):
        built(module)


@pytest.mark.parametrize(
    ("buffer", "value", "hint"),
    [
        ("bn1.running_mean", float("nan"), "`bn1.running_mean` hold such values"),
        ("bn1.running_var", -5.0, "Check the weights"),
    ],
)
def test_statistics_that_make_the_logits_not_finite_are_not_blamed_on_folding(buffer, value, hint):
    module = toys.residual()
    module.get_buffer(buffer)[0] = value
    with pytest.raises(DataflowError, match=rf"Logits must be finite, 10 of 10 .*{hint}"):
        built(module)


def test_weights_so_large_that_the_logits_overflow_are_said_to_do_so():
    module = toys.branch()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1e20)
    with pytest.raises(
        DataflowError, match=r"Logits must be finite.* the first of them from conv2d"
    ):
        built(module)


def test_an_infinite_mask_in_a_buffer_is_allowed():
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.out = nn.Linear(192, 5), nn.Linear(5, 5)
            self.register_buffer("mask", torch.tensor([0, 0, 0, 0, -float("inf")]))

        def forward(self, x: Tensor) -> Tensor:
            return self.out((self.fc(x.flatten(1)) + self.mask).softmax(1))

    assert built(Masked().eval()).table.names == ("fc", "out")


def test_an_empty_batch_is_refused():
    with pytest.raises(AnalysisError, match="at least one sample"):
        build_network(toys.residual(), batch()[:0])


def test_a_model_whose_logits_are_all_zero_is_built():
    module = toys.residual()
    with torch.no_grad():
        module.head.weight.zero_()
        module.head.bias.zero_()
    network = built(module)
    assert torch.equal(network(batch()), torch.zeros(2, 5))


def test_the_digest_names_the_table():
    assert build_network(toys.branch(), batch(), digest="abc").table.model == "abc"
