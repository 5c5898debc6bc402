"""Coarse and fine: what is split, what is left whole, and what the notes say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.data.digits import load_split
from analysis.events import result
from analysis.models import demo
from analysis.models.network import build_network
from analysis.options import build
from analysis.ptq import PTQ_METHODS
from analysis.ptq.coarse_fine import CoarseFineOptions
from analysis.quant.configure import Quantization, plan_of
from analysis.quant.intervals import weight_quantizer
from analysis.quant.split import centre_of
from analysis.records import Candidate, QuantSettings
from analysis.workflow.recovery_words import sentences
from tests.analysis.models import toys
from tests.analysis.models.toys import batch
from tests.reference.merged import PER_TENSOR, X, merged, run
from tests.reference.quantizing import quantize, task_of


def error(found: Quantization, name: str) -> float:
    network = merged()
    weight = network.weight(network.layer(name))
    value = found.weight_values.get(name)
    value = found.weights[name](weight) if value is None else value
    return float((value - weight).double().square().sum())


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_weight_is_the_sum_of_both_parts_and_each_lies_on_its_grid(per_channel):
    settings = QuantSettings(per_channel=per_channel, activation_range="min_max")
    found, _ = run(settings=settings)
    assert set(found.splits) == {"stem", "merged", "depthwise"}
    for name, split in found.splits.items():
        weight, fine = merged().weight(merged().layer(name)), found.weights[name]
        coarse = torch.zeros_like(weight)
        centre_of(coarse)[:] = split.coarse_codes * split.coarse.scale.view(-1, 1, 1, 1)
        assert torch.equal(split.centre(), coarse)
        assert torch.equal(split.codes, fine.codes(weight - coarse))
        assert (fine.qmin, fine.qmax) == (-8, 7)
        assert len(fine.scale) == len(split.coarse.scale) == (len(weight) if per_channel else 1)
        expected = fine.scale.view(-1, 1, 1, 1) * split.codes + coarse
        assert torch.equal(found.weight_values[name], expected)


def test_layers_without_a_centre_are_rounded_to_nearest_and_named():
    found, notes = run(fc="wfloata8", depthwise="wfloata8")
    task = task_of(merged(), X, "w4a8", PER_TENSOR, fc="wfloata8", depthwise="wfloata8")
    plain, _ = quantize(task, "nearest")
    assert set(found.splits) == set(found.weight_values) == {"stem", "merged"}
    assert set(found.weights) == set(plain.weights) == {"stem", "merged", "even", "point"}
    for name in ("even", "point"):
        assert torch.equal(found.weights[name].scale, plain.weights[name].scale)
    assert (
        "Not split, but rounded to nearest: `even`, `point`: only a convolution whose kernel is "
        "odd and larger than 1 has a centre tap to split off." in notes
    )
    assert not any("`fc`" in note or "`depthwise`" in note for note in notes)
    assert found.activations.keys() == plain.activations.keys()


@pytest.mark.parametrize("name", ["merged", "depthwise"])
@pytest.mark.parametrize("text", ["w3a8", "w4a8", "w8a8"])
def test_merged_kernels_come_much_nearer_to_float(name, text):
    found, _ = run(text)
    plain, _ = quantize(task_of(merged(), X, text, PER_TENSOR), "nearest")
    assert error(found, name) < 0.1 * error(plain, name)


def test_the_network_comes_nearer_to_the_float_one():
    own = {"merged": "w4afloat", "depthwise": "w4afloat"}
    found, _ = run("float", **own)
    plain, _ = quantize(task_of(merged(), X, "float", PER_TENSOR, **own), "nearest")
    network = merged()
    with torch.no_grad():
        z = network(X)
        far = [
            float((network(X, plan_of(network, each, PER_TENSOR)) - z).square().sum())
            for each in (plain, found)
        ]
    assert far[1] < 0.1 * far[0]


def test_a_split_must_lower_the_error_or_be_worth_its_bits():
    plain, _ = quantize(task_of(merged(), X, "w4a8", PER_TENSOR), "nearest")
    always, _ = run()
    gains = {
        n: 10 * np.log10(error(plain, n) / error(always, n))
        for n in ("stem", "merged", "depthwise")
    }
    better, _ = run(split="where_better")
    worth, notes = run(split="where_worth")
    assert set(better.splits) == {n for n, gain in gains.items() if gain > 0}
    # 8 bits a tap are 8/9 of a bit per weight of a 3x3 kernel, 8/25 of a 5x5 one.
    least = {"stem": 8 / 9, "merged": 8 / 9, "depthwise": 8 / 25}
    assert set(worth.splits) == {n for n, gain in gains.items() if gain > 6.0206 * least[n]}
    assert set(worth.splits) == {"merged", "depthwise"}
    assert any("`stem`: as many bits more for its format" in note for note in notes)
    assert CoarseFineOptions().split == "where_better"


def test_scores_of_single_weights_count_in_the_fine_part_too():
    settings = QuantSettings(weight_range="hmse", activation_range="min_max")
    network, generator = merged(), np.random.default_rng(5)
    scores = {
        layer.name: generator.exponential(size=layer.weight_shape) for layer in network.table.layers
    }
    task = replace(task_of(network, X, "w3a8", settings), element_scores=scores)
    found, _ = quantize(task, "coarse_fine", split="always")
    plain, _ = run("w3a8", QuantSettings(activation_range="min_max"))
    for name, split in found.splits.items():
        rest = network.weight(network.layer(name)) - split.centre()
        expected = weight_quantizer(rest, 0, "int3", settings, scores[name])
        assert torch.equal(found.weights[name].scale, expected.scale)
    assert not torch.equal(found.weights["merged"].scale, plain.weights["merged"].scale)


def test_a_weight_on_its_grid_already_is_split_only_if_asked():
    network = build_network(toys.residual(), batch(2, 3, 8, 8))
    layer = next(each for each in network.table.layers if each.kind == "conv2d")
    with torch.no_grad():
        weight = network.weight(layer)
        weight.copy_((weight / weight.abs().max() * 7).round())
        weight.view(-1)[0] = 7
    assert torch.equal(network.weight(layer), weight)
    task = task_of(network, X, "w4a8", PER_TENSOR)
    found, notes = quantize(task, "coarse_fine")
    assert layer.name not in found.splits
    assert any(f"`{layer.name}`" in n and "would not fall" in n for n in notes)
    found, _ = quantize(task, "coarse_fine", split="always")
    assert layer.name in found.splits


def test_the_notes_count_what_the_parts_add():
    _, notes = run()
    table = merged().table
    taps = 6 * 3 + 6 * 6 + 6
    kib = (8 * taps + 32 * 18) / 8192
    macs = (6 * 3 + 6 * 6 + 6) * 64
    share = macs / sum(layer.macs for layer in table.layers)
    assert notes[0].startswith("3 weights split into centre taps of 8 bits and the rest")
    assert notes[1] == (
        f"The centre taps add {kib:.3g} KiB (8 bits each, and a scale per output channel) and "
        f"{macs:,} multiply-accumulates per sample, {share:.1%} of those of all layers."
    )
    assert notes[2].startswith("2 of them win more than the bits")
    assert run("wfloata8")[1] == ["No weight was split."]


def test_both_parts_have_a_range_in_the_record():
    found, _ = run()
    roles = [(r.role, r.format) for r in found.ranges if r.name == "merged"]
    assert roles[:2] == [("coarse weight", "int8"), ("weight", "int4")]
    (fine,) = (r for r in found.ranges if (r.name, r.role) == ("merged", "weight"))
    assert fine.scale == pytest.approx(found.weights["merged"].scale.numpy())
    names = [(r.name, r.role) for r in found.ranges if r.role != "activation"]
    assert len(set(names)) == len(names) == 6 + 3


def test_a_configuration_counts_both_parts_and_its_recovery_says_so(workspace, study):
    table = workspace.live(study).network.table
    allocation = uniform_allocation(table, Candidate.parse("w4a8"), pin_first_last=False)
    options = build(PTQ_METHODS["coarse_fine"].options, {"split": "always"})
    recipe = workflow.Recipe(allocation, "coarse_fine", options, PER_TENSOR)
    plain, made = (
        result(workflow.quantize(workspace, study, each, name=each.method).events(workspace.store))
        for each in (workflow.Recipe(allocation, settings=PER_TENSOR), recipe)
    )
    split = [layer for layer in table.layers if layer.kind == "conv2d"]
    assert {r.name for r in made.ranges if r.role == "coarse weight"} == {n.name for n in split}
    added = sum(8 * layer.num_weights // 9 for layer in split)
    assert (made.costs.size_mib - plain.costs.size_mib) * 2**23 == pytest.approx(added)
    more = sum(layer.macs // 9 * 8 * 8 for layer in split)
    assert made.costs.bops - plain.costs.bops == pytest.approx(more)
    found = result(workflow.recovery(workspace, study, recipe).events(workspace.store))
    assert found.split == tuple(layer.name for layer in split)
    assert found.share == 0
    said = sentences(found)
    assert said[0] == "Every weight is rounded to the level nearest to it on its grid."
    assert f"{len(split)} weights are the sum of two parts" in said[1]


def test_digits_mobilenet_comes_nearer_to_float_at_three_bits():
    pixels = torch.from_numpy(load_split("train")[0][:64].astype(np.float32)) / 255
    x = (pixels - demo.DEMO_MEAN) / demo.DEMO_STD
    unseen = torch.from_numpy(load_split("evaluation")[0][:200].astype(np.float32)) / 255
    unseen = (unseen - demo.DEMO_MEAN) / demo.DEMO_STD
    network = build_network(demo.load("digits-mobilenet"), x[:2])
    ends = {network.table.names[0]: "w8a8", network.table.names[-1]: "w8a8"}
    settings = QuantSettings(per_channel=False, weight_range="mse")
    task = task_of(network, x, "w3a8", settings, **ends)
    (plain, _), (found, _) = quantize(task, "nearest"), quantize(task, "coarse_fine")
    wanted = network(unseen).log_softmax(1)
    before, after = (
        F.kl_div(
            network(unseen, plan_of(network, each, settings)).log_softmax(1),
            wanted,
            log_target=True,
            reduction="batchmean",
        )
        for each in (plain, found)
    )
    assert len(found.splits) == 6
    assert after < 0.9 * before
