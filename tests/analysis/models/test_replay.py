from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.errors import DataflowError
from analysis.models import demo
from analysis.models.dataflow import observe
from analysis.models.network import NOTHING, Network, build_network
from analysis.models.replay import Plan, run
from analysis.models.vision_ops import import_timm, import_torchvision
from tests.analysis.models import toys
from tests.analysis.models.toys import TOYS, batch, built, conv, randomised, toy

IMAGE = (3, 32, 32)


def coarse(value: Tensor) -> Tensor:
    return torch.round(value * 4) / 4


def model(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    kind, _, rest = name.partition(":")
    if kind == "toy":
        return TOYS[rest](), (3, 8, 8)
    if kind == "demo":
        return randomised(demo.load(rest)), (1, 16, 16)
    if kind == "timm":
        size = {"img_size": 32, "depth": 3} if rest.startswith("vit") else {}
        return randomised(import_timm().create_model(rest, **size)), IMAGE
    return randomised(import_torchvision().models.get_model(rest, weights=None)), IMAGE


def network_of(name: str) -> tuple[Network, tuple[int, ...]]:
    module, shape = model(name)
    return build_network(module, batch(2, *shape)), shape


@pytest.mark.parametrize("name", TOYS)
def test_replaying_every_call_as_it_was_gives_the_plain_outputs(name):
    module = TOYS[name]()
    trace = observe(module, batch())
    x = batch(3, 3, 8, 8, seed=2)
    with torch.no_grad():
        expected = module(x)
        got = run(module, trace, x, Plan())
    if name.endswith("_attention"):  # plainly called, it takes another kernel
        torch.testing.assert_close(got, expected)
    else:
        assert torch.equal(got, expected)


@pytest.mark.parametrize(
    "name", ["torchvision:resnet18", "timm:mobilenetv3_small_050", "timm:vit_tiny_patch16_224"]
)
def test_replaying_a_published_network_gives_the_plain_outputs_bit_for_bit(name):
    module, shape = model(name)
    trace = observe(module, batch(2, *shape))
    x = batch(3, *shape, seed=2)
    with torch.no_grad():
        assert torch.equal(run(module, trace, x, Plan()), module(x))


@pytest.mark.parametrize("name", ["branch", "twice", "functional", "self_attention", "transposed"])
def test_a_substituted_weight_gives_what_a_model_with_that_weight_gives(name):
    module = TOYS[name]()
    network = built(module)
    x = batch(seed=2)
    for layer in network.table.layers:
        if layer.folded:
            continue
        changed = network.weight(layer) * 0.5 + 0.01
        with torch.no_grad():
            got = network(x, Plan(weights=dict.fromkeys(layer.calls, changed)))
            own = module.get_parameter(layer.weight_name)
            kept = own.clone()
            own.copy_(changed)
            expected = network.module(x)
            own.copy_(kept)
            assert not torch.allclose(network(x), expected)
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("bias", [True, False])
def test_a_bias_can_be_substituted_where_there_is_one_and_where_there_is_none(bias):
    network = built(toy(lambda m, x: m.first(x), first=conv(bias=bias)))
    x, value = batch(seed=2), torch.tensor([1.0, -2.0, 3.0, 0.5])
    first = network.module.first
    with torch.no_grad():
        features = F.conv2d(x, first.weight, value, padding=1).flatten(2).mean(2)
        got = network(x, Plan(biases={0: value}))
        torch.testing.assert_close(got, network.module.head(features))


def test_a_transformed_tensor_is_seen_by_every_reader_and_an_input_by_its_call_alone():
    module = toys.residual()
    trace = observe(module, batch())
    x = batch(seed=2)

    def by_hand(residual, convolved) -> Tensor:
        y = F.relu(module.bn1(module.conv1(x)))
        z = module.bn2(module.conv2(convolved(y)))
        return module.head(F.relu(residual(y) + z).flatten(2).mean(2))

    def same(y: Tensor) -> Tensor:
        return y

    with torch.no_grad():
        everywhere = run(module, trace, x, Plan(outputs={(2, 0): coarse}))
        alone = run(module, trace, x, Plan(inputs={3: coarse}))
        assert torch.equal(everywhere, by_hand(coarse, coarse))
        assert torch.equal(alone, by_hand(same, coarse))
        assert not torch.equal(everywhere, alone)


def test_the_network_input_can_be_transformed_for_every_reader():
    module = toy(lambda m, x: m.left(x) + m.right(x), left=conv(), right=conv())
    network = built(module)
    x = batch(seed=2)
    with torch.no_grad():
        assert torch.equal(network(x, Plan(outputs={(-1, 0): coarse})), module(coarse(x)))


def test_a_transform_of_an_in_place_result_reaches_code_that_ignores_the_returned_tensor():
    module = toys.add_ignored()
    trace = observe(module, batch())
    x = batch(seed=2)
    add = next(c.index for c in trace.calls if c.name == "add_")
    with torch.no_grad():
        y = module.conv1(x)
        y = F.relu(coarse(module.conv2(y) + y))
        expected = module.head(module.conv3(y).flatten(2).mean(2))
        assert torch.equal(run(module, trace, x, Plan(outputs={(add, 0): coarse})), expected)


def test_a_single_part_of_a_split_can_be_transformed():
    module = toys.chunked()
    trace = observe(module, batch())
    x = batch(seed=2)
    with torch.no_grad():
        a, b = module.first(x).chunk(2, 1)
        c = module.second(a)
        expected = module.head(torch.cat([module.third(coarse(b)), c], 1).flatten(2).mean(2))
        assert torch.equal(run(module, trace, x, Plan(outputs={(1, 1): coarse})), expected)


RESUMED = [f"toy:{name}" for name in TOYS] + [
    "demo:digits-vit",
    "torchvision:resnet18",
    "timm:mobilenetv3_small_050",
    "timm:vit_tiny_patch16_224",
]


@pytest.mark.parametrize("name", RESUMED)
def test_a_pass_started_in_the_middle_equals_the_full_pass_bit_for_bit(name):
    network, shape = network_of(name)
    x = batch(3, *shape, seed=2)
    with torch.no_grad():
        plain, prefix = network.capture(x)
        assert torch.equal(plain, network(x))
        plans = [
            Plan(weights=dict.fromkeys(layer.calls, network.weight(layer) * 0.9))
            for layer in network.table.layers
        ]
        if name.startswith("toy"):
            plans += [Plan(outputs={(t.call, t.slot): coarse}) for t in network.table.tensors]
            plans += [Plan(inputs={layer.calls[-1]: coarse}) for layer in network.table.layers]
        for plan in plans:
            assert torch.equal(network.resume(x, prefix, plan), network(x, plan))
        assert torch.equal(network.resume(x, prefix, NOTHING), plain)


def test_a_pass_started_in_the_middle_executes_only_what_follows():
    network = built(toys.branch())
    x = batch(seed=2)
    executed: list[int] = []

    def seen(index: int):
        def transform(value: Tensor) -> Tensor:
            executed.append(index)
            return value

        return transform

    with torch.no_grad():
        _, prefix = network.capture(x)
        last = network.layer("last").calls[0]
        network.resume(x, prefix, Plan(outputs={(i, 0): seen(i) for i in range(last, last + 3)}))
    assert executed == [last, last + 1, last + 2]
    assert network.can_resume


def test_a_prefix_serves_many_passes_unchanged():
    network = built(toys.add_ignored())
    x = batch(seed=2)
    with torch.no_grad():
        plain, prefix = network.capture(x)
        kept = {slot: value.clone() for slot, value in prefix.outputs.items()}
        for layer in network.table.layers * 2:
            plan = Plan(weights=dict.fromkeys(layer.calls, network.weight(layer) * 2))
            network.resume(x, prefix, plan)
        assert all(torch.equal(prefix.outputs[slot], kept[slot]) for slot in kept)
        assert torch.equal(network.resume(x, prefix, NOTHING), plain)


@pytest.mark.parametrize("name", ["toy:add_ignored", "toy:view_in_place", "demo:digits-mobilenet"])
def test_the_local_result_of_a_layer_is_its_own_function_of_what_it_reads(name):
    network, shape = network_of(name)
    x = batch(3, *shape, seed=2)
    read: dict[int, Tensor] = {}

    def reader(call: int):
        def transform(value: Tensor) -> Tensor:
            read[call] = value.clone()
            return value

        return transform

    with torch.no_grad():
        _, prefix = network.capture(x)
        calls = [layer.calls[0] for layer in network.table.layers]
        network(x, Plan(inputs={c: reader(c) for c in calls}))
        for layer in network.table.layers:
            call = layer.calls[0]
            own = network.module.get_submodule(layer.name)
            weight, bias = network.weight(layer), network.bias(layer)
            for scale in (1.0, 0.5):
                plan = NOTHING if scale == 1 else Plan(weights={call: weight * scale})
                got = network.local(x, prefix, call, plan)
                if isinstance(own, nn.Linear):
                    expected = F.linear(read[call], weight * scale, bias)
                else:
                    expected = own._conv_forward(read[call], weight * scale, bias)
                torch.testing.assert_close(got, expected)


def _two_ways(first, second):
    def body(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        return first(m, y) if x.mean() > 0 else second(m, y)

    return body


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (lambda m, y: F.relu(y), lambda m, y: y.sigmoid(), "is `sigmoid` where `relu`"),
        (lambda m, y: y, lambda m, y: F.relu(y), "is `relu` where `flatten`"),
        (lambda m, y: m.a(y), lambda m, y: m.b(y), "`conv2d`, does not read `a.weight`"),
    ],
)
def test_control_flow_that_depends_on_the_data_is_refused_naming_the_call(first, second, message):
    network = build_network(
        toy(_two_ways(first, second), first=conv(), a=conv(4), b=conv(4)), batch().abs()
    )
    x = batch(seed=2).abs()
    with torch.no_grad():
        assert torch.equal(network(x), network.module(x))
        _, prefix = network.capture(x)
        assert not network.can_resume
        with pytest.raises(DataflowError, match=message):
            network(-x)
        with pytest.raises(DataflowError, match="depends on the data"):
            network.resume(-x, prefix, NOTHING)


def test_a_shorter_pass_is_refused_with_both_counts():
    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.fc(x)
            return y * 2 if (x > 0).all() else y

    module = Ends().eval()
    trace = observe(module, torch.ones(2, 3))
    count = len(trace.calls)
    with pytest.raises(DataflowError, match=f"made {count - 1} calls where {count} were observed"):
        run(module, trace, -torch.ones(2, 3), Plan())


def test_samples_of_another_shape_are_refused():
    network = built(toys.branch())
    with pytest.raises(DataflowError, match=r"observed shape \(3, 8, 8\), got .* \(2, 3, 9, 8\)"):
        network(batch(2, 3, 9, 8))


def test_of_two_plans_in_one_the_later_wins_and_the_rest_adds_up():
    a, b = torch.zeros(1), torch.ones(1)
    both = Plan(weights={1: a, 2: a}, skip=frozenset([7])) | Plan(weights={2: b}, biases={3: b})
    assert both.weights == {1: a, 2: b}
    assert both.biases == {3: b}
    assert both.skip == {7}


@pytest.mark.parametrize(
    ("plan", "first"),
    [
        (Plan(weights={4: torch.ones(1)}, outputs={(2, 1): coarse}), 2),
        (Plan(inputs={5: coarse}, biases={9: torch.ones(1)}), 5),
        (Plan(outputs={(-1, 0): coarse}), -1),
        (Plan(skip=frozenset([3])), 3),
    ],
)
def test_the_first_changed_call_of_a_plan_is_the_least_of_its_places(plan, first):
    assert plan.first_call == first


def test_a_plan_that_changes_nothing_starts_after_every_call():
    assert NOTHING.first_call > 10**9


def test_gradients_reach_substituted_weights_and_the_model_s_own_stay_out_of_it():
    network = built(toys.residual())
    layer = network.layer("conv2")
    weight = network.weight(layer).clone().requires_grad_()
    network(batch(seed=2), Plan(weights={layer.calls[0]: weight})).sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    assert network.module.conv2.weight.grad is None


def test_two_threads_under_different_plans_get_what_each_gets_alone():
    network, shape = network_of("demo:digits-resnet")
    x = batch(4, *shape, seed=2)
    with torch.no_grad():
        _, prefix = network.capture(x)
    layers = network.table.layers
    plans = [
        Plan(weights={layer.calls[0]: network.weight(layer) * 0.9}) for layer in layers[::3]
    ] + [Plan(outputs={(t.call, t.slot): coarse}) for t in network.table.tensors[::3]]

    def both(plan: Plan) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return network(x, plan), network.resume(x, prefix, plan)

    alone = [both(plan) for plan in plans]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(both, plans * 6))
    for (full, resumed), (expected, _) in zip(together, alone * 6, strict=True):
        assert torch.equal(full, expected)
        assert torch.equal(resumed, expected)
