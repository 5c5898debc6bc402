import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.models.dataflow import Trace
from analysis.models.network import Network, build_network
from analysis.models.table import layer_name
from analysis.models.vision_ops import import_torchvision
from tests.analysis.models import toys
from tests.analysis.models.toys import TOYS, batch, built, conv, toy
from tests.reference import cifar_resnet20


def reads(network: Network) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(t.produced_by, t.readers, t.also_read_by) for t in network.table.tensors]


def reasons(network: Network) -> dict[str, str]:
    return {s.name: s.reason for s in network.table.skipped}


# Written down by hand: every tensor that layers read, in order.
INPUT, MEAN = "network input", ("mean", ("head",), ())
READ = {
    "residual": [
        (INPUT, ("conv1",), ()),
        ("relu in relu", ("conv2",), ("add",)),
        MEAN,
    ],
    "residual_in_place": [
        (INPUT, ("conv1",), ()),
        ("batch_norm in bn1", ("conv2",), ("add_",)),
        ("add_", ("conv3",), ()),
        MEAN,
    ],
    "add_ignored": [
        (INPUT, ("conv1",), ()),
        ("conv2d in conv1", ("conv2",), ("add_",)),
        ("relu_", ("conv3",), ()),
        MEAN,
    ],
    "positional_inplace": [(INPUT, ("conv1",), ()), ("relu", ("conv2",), ()), MEAN],
    "assigned": [
        (INPUT, ("conv1",), ()),
        ("batch_norm in bn1", ("conv2",), ("setitem_",)),
        ("setitem_", ("conv3",), ()),
        MEAN,
    ],
    "branch": [
        (INPUT, ("stem",), ()),
        ("relu", ("left", "right"), ()),
        ("cat", ("last",), ()),
        MEAN,
    ],
    "dense": [
        (INPUT, ("conv1",), ()),
        ("relu", ("conv2",), ()),
        ("relu", ("conv3",), ()),
        MEAN,
    ],
    "separate_projections": [
        (INPUT, ("embed",), ()),
        ("layer_norm in norm", ("q", "k", "v"), ()),
        ("scaled_dot_product_attention", ("out",), ()),
        MEAN,
    ],
    "self_attention": [
        (INPUT, ("embed",), ()),
        ("conv2d in embed", ("attention.in_proj",), ()),
        ("bmm in attention", ("attention.out_proj",), ()),
        MEAN,
    ],
    "functional": [(INPUT, ("first",), ()), ("relu", ("own.kernel",), ()), MEAN],
    "twice": [(INPUT, ("first",), ()), ("relu", ("again",), ()), ("relu", ("again",), ()), MEAN],
    "chunked": [(INPUT, ("first",), ()), ("conv2d in first", ("second", "third"), ()), MEAN],
    "padded": [
        (INPUT, ("first",), ()),
        ("relu", ("plain",), ("pad",)),
        ("pad", ("ones",), ()),
        MEAN,
    ],
    "transposed": [(INPUT, ("first",), ()), ("conv2d in first", ("up",), ()), MEAN],
    "linear_norm": [(INPUT, ("fc",), ()), MEAN],
}


@pytest.mark.parametrize("name", READ)
def test_every_layer_is_listed_with_the_tensor_it_reads(name):
    network = built(TOYS[name]())
    assert reads(network) == READ[name]
    by_layer = {layer.name: layer.inputs for layer in network.table.layers}
    for tensor in network.table.tensors:
        assert tensor.id == network.table.tensors.index(tensor)
        assert [n for n in by_layer if tensor.id in by_layer[n]] == list(tensor.readers)


GROUPS = {
    "residual": [("conv1",), ("conv2",), ("head",)],
    "branch": [("stem",), ("left", "right"), ("last",), ("head",)],
    "separate_projections": [("embed",), ("q", "k", "v"), ("out",), ("head",)],
    "twice": [("first",), ("again",), ("head",)],
    "chunked": [("first",), ("second", "third"), ("head",)],
    "padded": [("first",), ("plain",), ("ones",), ("head",)],
}


@pytest.mark.parametrize("name", GROUPS)
def test_layers_that_read_one_tensor_form_a_group(name):
    assert list(built(TOYS[name]()).table.groups.values()) == GROUPS[name]


def naive_groups(trace: Trace, network: Network) -> set[frozenset[str]]:
    """Merge layers pairwise until no two groups share a tensor."""
    inputs = {
        layer.name: {trace.source(trace.calls[c].inputs[0]) for c in layer.calls}
        for layer in network.table.layers
    }
    groups = [({name}, set(slots)) for name, slots in inputs.items()]
    merged = True
    while merged:
        merged = False
        for i in range(len(groups)):
            for j in range(i + 1, len(groups)):
                if groups[i][1] & groups[j][1]:
                    groups[i] = (groups[i][0] | groups[j][0], groups[i][1] | groups[j][1])
                    del groups[j]
                    merged = True
                    break
            if merged:
                break
    return {frozenset(names) for names, _ in groups}


@pytest.mark.parametrize("name", TOYS)
def test_groups_agree_with_merging_pair_by_pair(name):
    network = built(TOYS[name]())
    got = {frozenset(names) for names in network.table.groups.values()}
    assert got == naive_groups(network.trace, network)


def test_a_shared_layer_joins_the_groups_of_all_the_tensors_it_reads():
    def body(m, x):
        a, b = F.relu(m.a(x)), F.relu(m.b(x))
        return m.shared(a) + m.shared(b) + m.only_a(a) + m.only_b(b)

    network = built(toy(body, a=conv(), b=conv(), shared=conv(4), only_a=conv(4), only_b=conv(4)))
    assert list(network.table.groups.values()) == [
        ("a", "b"),
        ("shared", "only_a", "only_b"),
        ("head",),
    ]


def test_a_module_that_is_called_twice_is_one_layer_with_two_tensors():
    network = built(toys.twice())
    again = network.layer("again")
    assert len(again.calls) == len(again.inputs) == 2
    assert again.inputs[0] != again.inputs[1]
    assert again.num_weights == 4 * 4 * 9
    assert again.macs == 2 * 4 * 4 * 9 * 64


def test_a_tensor_that_is_only_taken_as_a_shape_is_not_read_for_its_values():
    def body(m, x):
        y = F.relu(m.first(x))
        bias = m.gate(y.mean((2, 3), keepdim=True)).expand_as(y)
        return m.last(y) * bias

    network = built(toy(body, first=conv(), gate=nn.Conv2d(4, 4, 1), last=conv(4)))
    assert {t.produced_by: t.also_read_by for t in network.table.tensors}["relu"] == ("mean",)


@pytest.mark.parametrize(
    ("name", "layer", "params", "reason"),
    [
        ("cross_attention", "attention", 48 + 12, "read in parts"),
        ("standardised", "second", 144 + 4, "read by `reshape`"),
        ("tokens", "position", 256, "table lookup"),
        ("tokens", "norm", 8, "normalisation"),
        ("unused", "spare", 148, "not read by any call"),
        ("dense", "bn3", 16, "follows `cat`"),
        ("view_in_place", "conv3", 148, "changed in place"),
    ],
)
def test_what_keeps_its_float_weights_is_skipped_with_a_reason(name, layer, params, reason):
    network = built(TOYS[name]())
    assert reason in reasons(network)[layer]
    assert {s.name: s.num_params for s in network.table.skipped}[layer] == params
    assert layer not in network.table.names


@pytest.mark.parametrize("name", TOYS)
def test_every_parameter_after_folding_is_a_layer_s_or_skipped(name):
    table = built(TOYS[name]()).table
    accounted = sum(layer.num_params for layer in table.layers)
    accounted += sum(s.num_params for s in table.skipped)
    assert accounted == table.params_after_folding


@pytest.mark.parametrize(
    ("parameter", "layer"),
    [
        ("blocks.0.fc.weight", "blocks.0.fc"),
        ("attn.in_proj_weight", "attn.in_proj"),
        ("own.kernel", "own.kernel"),
    ],
)
def test_a_layer_is_named_after_the_module_that_owns_its_weight(parameter, layer):
    assert layer_name(parameter) == layer


def test_macs_of_three_layers_agree_with_a_hand_count():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 8 x 4 x 4 outputs of 3 x 9 products
        nn.Conv2d(8, 8, 3, padding=1, groups=4),  # 8 x 4 x 4 outputs of 2 x 9 products
        nn.Flatten(),
        nn.Linear(128, 5),
    ).eval()
    network = built(module, n=3)
    assert [layer.macs for layer in network.table.layers] == [128 * 27, 128 * 18, 128 * 5]
    assert [layer.output_shape for layer in network.table.layers] == [(8, 4, 4), (8, 4, 4), (5,)]


def test_macs_of_a_transposed_convolution_count_every_input_times_its_weights():
    # 4 x 8 x 8 inputs, each spread over 3 channels of 2 x 2.
    assert built(toys.transposed()).layer("up").macs == 4 * 64 * 3 * 4


def test_macs_of_a_linear_layer_on_tokens_count_every_token():
    assert built(toys.separate_projections()).layer("q").macs == 64 * 4 * 4


def test_resnet20_has_the_published_number_of_layers_and_parameters():
    torch.manual_seed(0)
    table = build_network(cifar_resnet20.build().eval(), batch(2, 3, 32, 32)).table
    assert len(table.layers) == 20
    assert len(table.groups) == 20
    assert table.params_before_folding == 269_722
    assert table.params_after_folding == 269_034
    assert table.skipped == ()
    assert sum(layer.macs for layer in table.layers) == 40_551_040
    assert [layer.name for layer in table.layers if layer.pinned] == ["conv1", "linear"]


def test_resnet18_at_224_pixels_takes_the_published_multiply_accumulates():
    torch.manual_seed(0)
    module = import_torchvision().models.resnet18(weights=None).eval()
    table = build_network(module, batch(1, 3, 224, 224)).table
    assert sum(layer.macs for layer in table.layers) == 1_814_073_344
    assert len(table.layers) == 21
    assert table.params_before_folding == 11_689_512
    # A stride-2 block's convolution and shortcut read one tensor.
    assert [names for names in table.groups.values() if len(names) > 1] == [
        (f"layer{i}.0.conv1", f"layer{i}.0.downsample.0") for i in (2, 3, 4)
    ]


def test_the_first_and_the_last_called_layer_are_pinned():
    pinned = [layer.name for layer in built(toys.branch()).table.layers if layer.pinned]
    assert pinned == ["stem", "head"]


def test_the_table_does_not_depend_on_the_size_of_the_observed_batch():
    for name, make in TOYS.items():
        torch.manual_seed(0)
        two = built(make(), n=2).table
        torch.manual_seed(0)
        assert built(make(), n=5).table == two, name
