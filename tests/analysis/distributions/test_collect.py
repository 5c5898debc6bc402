import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.distributions.collect import collect_distributions
from analysis.errors import QuantizationError
from analysis.events import Progress
from analysis.models.demo import load
from analysis.models.network import NOTHING, build_network
from analysis.models.replay import Plan
from analysis.quant.configure import plan_of, quantize_nearest
from analysis.quant.statistics import collect_statistics
from analysis.records import Allocation, Candidate, QuantSettings
from analysis.records.distributions import (
    INPUT,
    POST_ACTIVATION,
    PRE_ACTIVATION,
    ROLES,
    WEIGHT,
)
from tests.analysis.models import toys
from tests.analysis.models.toys import TOYS, batch, built, conv, toy
from tests.reference.distributions import check, layer_tensors, rows
from tests.reference.work import finish


def collect(network, x, size=100, plan=NOTHING, **more):
    batches = x.split(size)
    return finish(collect_distributions(network, lambda: batches, len(batches), plan=plan, **more))


def quantized(network, x, scope="tensor"):
    settings = QuantSettings(weight_range="min_max", activation_range="min_max", scope=scope)
    names = network.table.names
    allocation = Allocation(layers=names, candidates=(Candidate.parse("w4a4"),) * len(names))
    statistics = finish(collect_statistics(network, lambda: [x], 1))
    made = quantize_nearest(network, allocation, statistics, settings)
    return made, plan_of(network, made, settings)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet", "digits-vit"])
def test_every_role_of_every_layer_is_what_hooks_on_the_folded_model_see(name):
    x = torch.randn(12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    network = build_network(load(name), x[:2])
    found, expected = collect(network, x, 5), layer_tensors(network, x)
    assert found.layers == network.table.names
    assert [(p.layer, p.role) for p in found.places] == [
        (layer, role) for layer in found.layers for role in ROLES
    ]
    assert {(p.layer, p.role) for p in found.places if p.tensor >= 0} == set(expected)
    for (layer, role), values in expected.items():
        exact = 0.0 if role == WEIGHT else 1e-5
        check(found.of(layer, role), values, rtol=1e-4, ends=exact)


def test_what_one_layer_gives_out_and_another_reads_is_measured_once():
    found = collect(built(toys.residual()), batch(6, 3, 8, 8))
    assert found.place("conv1", POST_ACTIVATION).tensor == found.place("conv2", INPUT).tensor
    assert found.place("conv1", POST_ACTIVATION).tensor >= 0
    numbers = [place.tensor for place in found.places if place.tensor >= 0]
    assert list(dict.fromkeys(numbers)) == list(range(len(found.tensors)))
    assert found.place("conv2", POST_ACTIVATION).reason == (
        "its output is added to another tensor first"
    )
    assert found.of("conv1", PRE_ACTIVATION).title == "output of conv1"
    assert found.of("conv1", WEIGHT).title == "conv1.weight"
    assert found.of("conv1", INPUT).title == "network input"


@pytest.mark.parametrize("name", TOYS)
def test_every_place_has_a_tensor_of_the_right_channels_or_a_reason(name):
    network = built(TOYS[name](), 3)
    found = collect(network, batch(7, 3, 8, 8), 3)
    for place in found.places:
        layer = network.layer(place.layer)
        if place.tensor < 0:
            assert place.role == POST_ACTIVATION
            assert place.reason
            continue
        channels = found.tensors[place.tensor].channels.shape[1]
        if place.role == WEIGHT or place.role == PRE_ACTIVATION:
            assert channels == layer.weight_shape[layer.channel_axis]
    assert found.n == 7


def test_projections_of_an_attention_are_described_per_feature():
    network = built(toys.self_attention(), 3)
    found = collect(network, batch(5, 3, 8, 8), 2)
    for layer, role, channels in [
        ("attention.in_proj", INPUT, 4),
        ("attention.in_proj", PRE_ACTIVATION, 12),
        ("attention.out_proj", INPUT, 4),
        ("attention.out_proj", PRE_ACTIVATION, 4),
    ]:
        assert found.of(layer, role).channels.shape == (7, channels)


def test_all_calls_of_a_layer_are_taken_together():
    def body(m, x):
        return F.relu(m.again(F.relu(m.again(F.relu(m.first(x))))))

    model, x = toy(body, first=conv(), again=conv(4)), batch(4, 3, 8, 8)
    found = collect(built(model), x, 3)
    with torch.no_grad():
        read = [F.relu(model.first(x))]
        made = [model.again(read[0])]
        read.append(F.relu(made[0]))
        made.append(model.again(read[1]))
        active = [F.relu(z) for z in made]
    for role, tensors in ((INPUT, read), (PRE_ACTIVATION, made), (POST_ACTIVATION, active)):
        check(found.of("again", role), rows(torch.cat(tensors), 1), rtol=1e-4, ends=1e-5)
    half = collect(built(toys.twice()), x)
    assert "`mean` reads" in half.place("again", POST_ACTIVATION).reason


def exact_model():
    """Small whole numbers throughout, so that no order of summation rounds."""

    def body(m, x):
        return F.relu(m.second(F.relu(m.first(x))))

    model = toy(body, first=conv(), second=conv(4))
    generator = torch.Generator().manual_seed(3)
    for p in model.parameters():
        p.data = torch.randint(-2, 3, p.shape, generator=generator).float()
    return model, torch.randint(-3, 4, (30, 3, 8, 8), generator=generator).float()


def test_neither_batches_nor_the_order_of_samples_matter():
    model, x = exact_model()
    network = built(model)
    whole = collect(network, x)
    for other in (collect(network, x, 1), collect(network, x, 7), collect(network, x.flip(0), 11)):
        assert other.places == whole.places
        for mine, theirs in zip(other.tensors, whole.tensors, strict=True):
            assert (mine.start, mine.width, mine.zeros) == (
                theirs.start,
                theirs.width,
                theirs.zeros,
            )
            assert np.array_equal(mine.counts, theirs.counts)
            assert np.array_equal(mine.channels[[0, 1, 5, 6]], theirs.channels[[0, 1, 5, 6]])
            np.testing.assert_allclose(mine.channels, theirs.channels, rtol=1e-5, atol=1e-6)


def test_the_model_is_left_as_it_was():
    model = toys.residual()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network, x = built(model), batch(4, 3, 8, 8)
    logits = network(x)
    work = collect_distributions(network, lambda: x.split(1), 4)
    next(work)
    work.close()
    collect(network, x)
    assert torch.equal(network(x), logits)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_quantized_tensors_are_seen_as_their_readers_see_them():
    network, x = built(toys.residual()), batch(6, 3, 8, 8)
    made, plan = quantized(network, x)
    found = collect(network, x, 4, plan, title="w4a4")
    assert found.network == "w4a4"
    for layer in network.table.layers:
        quantizer = made.activations[layer.inputs[0]]
        seen = found.of(layer.name, INPUT)
        step, grid = float(quantizer.scale), seen.per_channel("high")
        assert seen.range <= step * 15 * (1 + 1e-6)
        np.testing.assert_allclose(grid / step, np.round(grid / step), atol=1e-4)
        weight = made.weights[layer.name](network.weight(layer))
        check(found.of(layer.name, WEIGHT), rows(weight, layer.channel_axis))
    assert np.count_nonzero(found.of("conv2", INPUT).counts) <= 16
    assert np.count_nonzero(collect(network, x).of("conv2", INPUT).counts) > 16
    # What is quantized where it is made is seen by every place that names it.
    assert found.place("conv1", POST_ACTIVATION).tensor == found.place("conv2", INPUT).tensor


def test_quantized_inputs_of_one_layer_alone_are_not_what_the_other_readers_see():
    network, x = built(toys.residual()), batch(6, 3, 8, 8)
    _, plan = quantized(network, x, scope="layer_input")
    found = collect(network, x, 4, plan)
    assert np.count_nonzero(found.of("conv2", INPUT).counts) <= 16
    assert np.count_nonzero(found.of("conv1", POST_ACTIVATION).counts) > 16


def test_a_plan_that_clips_a_tensor_is_seen_and_changes_the_rest():
    model, x = toys.functional(), batch(5, 3, 8, 8)
    network = built(model)
    (tensor,) = [t for t in network.table.tensors if "own.kernel" in t.readers]
    clip = Plan(outputs={(tensor.call, tensor.slot): lambda z: z.clamp_max(0.25)})
    found = collect(network, x, plan=clip)
    with torch.no_grad():
        hidden = F.relu(model.first(x)).clamp_max(0.25)
        check(found.of("own.kernel", INPUT), rows(hidden, 1), ends=1e-6)
        check(
            found.of("own.kernel", PRE_ACTIVATION), rows(model.own(hidden), 1), rtol=1e-4, ends=1e-5
        )


def test_a_tensor_that_is_not_finite_does_not_stop_the_others():
    network, x = built(toys.functional()), batch(5, 3, 8, 8)
    (tensor,) = [t for t in network.table.tensors if "own.kernel" in t.readers]
    broken = Plan(outputs={(tensor.call, tensor.slot): lambda z: z * float("nan")})
    found = collect(network, x, plan=broken)
    for layer, role in [
        ("first", POST_ACTIVATION),
        ("own.kernel", INPUT),
        ("own.kernel", PRE_ACTIVATION),
    ]:
        assert found.place(layer, role).reason == "holds NaN"
        assert found.of(layer, role) is None
    for layer, role in [("first", INPUT), ("first", PRE_ACTIVATION), ("own.kernel", WEIGHT)]:
        assert found.of(layer, role) is not None


def test_transposed_convolutions_have_their_outputs_as_channels():
    network, x = built(toys.transposed()), batch(3, 3, 8, 8)
    found = collect(network, x)
    layer = network.layer("up")
    assert layer.channel_axis == 1
    check(found.of("up", WEIGHT), rows(network.weight(layer), 1))
    assert found.of("up", POST_ACTIVATION).channels.shape == (7, 3)


def test_one_dimensional_convolutions_have_their_channels_before_time():
    model = nn.Sequential(nn.Conv1d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 4)).eval()
    x = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(0))
    found = collect(build_network(model, x[:2]), x, 2)
    with torch.no_grad():
        hidden = model[1](model[0](x))
    check(found.of("0", INPUT), rows(x, 1))
    check(found.of("0", POST_ACTIVATION), rows(hidden, 1), rtol=1e-4, ends=1e-6)
    assert found.place("3", INPUT).tensor == found.place("0", POST_ACTIVATION).tensor


def test_progress_counts_batches_and_the_record_says_where_it_comes_from():
    network, x = built(toys.residual()), batch(5, 3, 8, 8)
    work = collect_distributions(network, lambda: x.split(2), 3, calibration="abc")
    events = list(work)
    assert [(e.done, e.total) for e in events if isinstance(e, Progress)] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    found = collect(network, x, calibration="abc")
    assert (found.n, found.calibration, found.network) == (5, "abc", "float")
    assert found.seconds > 0


def test_an_empty_calibration_set_is_refused():
    with pytest.raises(QuantizationError, match="at least one sample"):
        finish(collect_distributions(built(toys.residual()), lambda: [], 0))
