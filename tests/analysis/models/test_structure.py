import numpy as np
import pytest
import torch

from analysis.models.calls import INPUT
from analysis.models.network import Network, build_network
from analysis.models.structure import FAR, blocks, hops
from analysis.models.vision_ops import import_torchvision
from tests.analysis.models.toys import TOYS, built
from tests.reference import cifar_resnet20

# Written down by hand: what every layer reads through no other layer, and the blocks.
READS = {
    "residual": {"conv1": (), "conv2": ("conv1",), "head": ("conv1", "conv2")},
    "branch": {
        "stem": (),
        "left": ("stem",),
        "right": ("stem",),
        "last": ("left", "right"),
        "head": ("last",),
    },
    "dense": {
        "conv1": (),
        "conv2": ("conv1",),
        "conv3": ("conv1", "conv2"),
        "head": ("conv1", "conv2", "conv3"),
    },
    "twice": {"first": (), "again": ("first", "again"), "head": ("again",)},
    "chunked": {
        "first": (),
        "second": ("first",),
        "third": ("first",),
        "head": ("second", "third"),
    },
    "separate_projections": {
        "embed": (),
        "q": ("embed",),
        "k": ("embed",),
        "v": ("embed",),
        "out": ("q", "k", "v"),
        "head": ("out",),
    },
}
BLOCKS = {
    "residual": [["conv1"], ["conv2"], ["head"]],
    "residual_in_place": [["conv1"], ["conv2"], ["conv3"], ["head"]],
    "branch": [["stem"], ["left", "right"], ["last"], ["head"]],
    "dense": [["conv1"], ["conv2", "conv3"], ["head"]],
    "chunked": [["first"], ["second", "third"], ["head"]],
    "separate_projections": [["embed"], ["q", "k", "v"], ["out"], ["head"]],
}


def grouped(network: Network) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for layer in network.table.layers:
        groups.setdefault(layer.block, []).append(layer.name)
    return list(groups.values())


@pytest.mark.parametrize("name", READS)
def test_a_layer_reads_those_whose_outputs_reach_it_through_no_other(name):
    table = built(TOYS[name]()).table
    assert {layer.name: layer.reads for layer in table.layers} == READS[name]


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_lie_between_tensors_that_everything_passes_through(name):
    assert grouped(built(TOYS[name]())) == BLOCKS[name]


@pytest.mark.parametrize("name", TOYS)
def test_a_block_ends_where_no_path_to_the_output_leads_past_a_tensor(name):
    trace = built(TOYS[name]()).trace

    def reached_without(missing) -> bool:
        found = {INPUT} - {missing}
        for call in trace.calls:
            if found.intersection(call.inputs):
                found |= {(call.index, p) for p in range(len(call.shapes))} - {missing}
        return trace.output in found

    ends = [c.index for c in trace.calls if not reached_without((c.index, 0))]
    # A call's block is the number of such tensors before it; dead ends do not separate blocks.
    expected = tuple(sum(end < call.index for end in ends) for call in trace.calls)
    assert blocks(trace) == expected


def test_residual_blocks_of_a_resnet_are_its_blocks_and_shortcuts_bring_layers_near():
    network = build_network(cifar_resnet20.build().eval(), torch.randn(2, 3, 32, 32))
    stages = [[f"layer{s}.{b}.conv{c}" for c in (1, 2)] for s in (1, 2, 3) for b in (0, 1, 2)]
    assert grouped(network) == [["conv1"], *stages, ["linear"]]
    apart = hops(network.table)
    names = network.table.names
    first, last = names.index("conv1"), names.index("layer3.2.conv1")
    assert apart[first, last] == 1  # along the shortcuts, which have no weights
    assert apart[first, names.index("layer1.0.conv2")] == 2


@pytest.mark.parametrize(
    ("name", "size", "blocks"), [("resnet18", 64, 10), ("mobilenet_v2", 64, 33), ("swin_t", 64, 29)]
)
def test_blocks_of_torchvision_networks_are_those_of_their_papers(name, size, blocks):
    models = import_torchvision().models
    network = build_network(
        getattr(models, name)(weights=None).eval(), torch.randn(2, 3, size, size)
    )
    found = grouped(network)
    assert len(found) == blocks
    if name == "resnet18":
        assert ["layer2.0.conv1", "layer2.0.conv2", "layer2.0.downsample.0"] in found
    if name == "swin_t":
        assert ["features.1.0.attn.qkv", "features.1.0.attn.proj"] in found
        assert ["features.1.0.mlp.0", "features.1.0.mlp.3"] in found


@pytest.mark.parametrize("name", TOYS)
def test_hops_are_shortest_paths(name):
    table = built(TOYS[name]()).table
    count = len(table.layers)
    near = np.eye(count, dtype=bool)
    for i, a in enumerate(table.layers):
        for j, b in enumerate(table.layers):
            shared = set(a.inputs) & set(b.inputs)
            near[i, j] |= a.name in b.reads or b.name in a.reads or bool(shared)
    expected = np.full((count, count), FAR)
    reach = np.eye(count, dtype=int)
    for steps in range(count + 1):
        expected[(reach > 0) & (expected == FAR)] = steps
        reach = ((reach @ near) > 0).astype(int)
    assert np.array_equal(hops(table), expected)
    assert np.array_equal(hops(table), hops(table).T)
