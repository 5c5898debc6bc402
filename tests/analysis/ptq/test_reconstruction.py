"""Laws of AdaRound and BRECQ."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from analysis.events import Progress
from analysis.models.network import build_network
from analysis.options import Options, build
from analysis.ptq import PTQ_METHODS, PTQTask
from analysis.ptq.nearest import nearest
from analysis.ptq.student import Student
from analysis.ptq.unit_log import COLUMNS
from analysis.ptq.units import own_tensors, units_of
from analysis.quant.configure import Quantization, plan_of
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch
from tests.reference.quantizing import quantize, task_of
from tests.reference.work import CountedParts, finish

SETTINGS = QuantSettings(activation_range="min_max")
FEW = {"iterations": 20, "batch_size": 8, "rounding_rate": 0.1}


def block_net() -> nn.Module:
    """A stem, and a residual block that ends behind its addition and ReLU."""

    def body(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.relu(m.stem(x))
        return m.relu(x + m.norm(m.second(m.relu(m.first(x)))))

    return toys.toy(
        body,
        width=8,
        stem=toys.conv(3, 8),
        first=toys.conv(8, 8, groups=4),
        second=toys.conv(8, 8),
        norm=nn.BatchNorm2d(8),
        relu=nn.ReLU(inplace=True),
    )


def chain_net() -> nn.Module:
    """Depthwise and pointwise, no branch: every block holds one layer."""

    def body(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return m.point(torch.relu(m.depth(torch.relu(m.stem(x)))))

    return toys.toy(
        body, width=8, stem=toys.conv(3, 8), depth=toys.conv(8, 8, groups=8), point=toys.conv(8, 8)
    )


NETS = {"block": block_net, "chain": chain_net, "attention": toys.self_attention}


def task(name: str, text: str = "w2a8", scope: str = "tensor", n: int = 32, **other) -> PTQTask:
    torch.manual_seed(0)
    module = NETS[name]() if name in NETS else getattr(toys, name)()
    x = batch(n, 3, 8, 8)
    network = build_network(module, x[:2])
    return task_of(network, x, text, replace(SETTINGS, scope=scope), **other)


def same(one: Quantization, other: Quantization) -> bool:
    assert one.weights.keys() == other.weights.keys()
    scales = [(one.weights[n].scale, other.weights[n].scale) for n in one.weights]
    scales += [(one.activations[i].scale, other.activations[i].scale) for i in one.activations]
    values = [(one.weight_values[n], other.weight_values[n]) for n in one.weight_values]
    return len(values) > 0 and all(torch.equal(a, b) for a, b in (*scales, *values))


def column(found: Quantization, name: str) -> np.ndarray:
    assert found.logged == COLUMNS
    return found.log[:, COLUMNS.index(name)]


@pytest.mark.parametrize("scope", ["tensor", "layer_input"])
@pytest.mark.parametrize("method", ["adaround", "brecq"])
@pytest.mark.parametrize("name", NETS)
def test_no_unit_is_worse_than_rounding_to_nearest_and_codes_stay_near_the_floor(
    name, method, scope
):
    work = task(name, scope=scope)
    found, notes = quantize(work, method, **FEW)
    before, after = column(found, "error_nearest"), column(found, "error_trained")
    taken = column(found, "taken") == 1
    assert (after[taken] < before[taken]).all()
    assert taken.any()
    kept = [note for note in notes if note.startswith("Rounding to nearest is kept")]
    assert bool(kept) == (not taken.all())
    network = work.network
    for layer in network.table.layers:
        own, weight = found.weights[layer.name], network.weight(layer)
        codes = own.codes(found.weight_values[layer.name])
        assert torch.equal(own.values(codes), found.weight_values[layer.name])
        scale, _ = own.shaped(weight)
        inside = (weight / scale).clamp(own.qmin, own.qmax)
        assert float((codes - inside).abs().max()) <= 1 + 1e-5


def test_the_logged_error_is_that_of_the_unit_behind_the_network_before_it():
    work = task("block")
    found, _ = quantize(work, "adaround", **FEW)
    assert column(found, "taken")[-1] == 1
    network, x = work.network, work.inputs(range(28, 32))
    plan = plan_of(network, found, SETTINGS)
    last = network.table.layers[-1].name
    with torch.no_grad():
        wanted, own = network(x), network(x, plan)
        start = finish(nearest(work, Options()))
        mixed = replace(
            found,
            weight_values={
                **found.weight_values,
                last: start.weights[last](network.weight(network.layer(last))),
            },
        )
        nearly = network(x, plan_of(network, mixed, SETTINGS))
    size = float(wanted.norm())
    assert column(found, "error_trained")[-1] == pytest.approx(
        float((own - wanted).norm()) / size, rel=1e-4
    )
    assert column(found, "error_nearest")[-1] == pytest.approx(
        float((nearly - wanted).norm()) / size, rel=1e-4
    )


def test_trained_layer_by_layer_without_weights_and_steps_brecq_is_adaround():
    work = task("block")
    one, _ = quantize(work, "adaround", **FEW)
    other, _ = quantize(
        work, "brecq", **FEW, units="layer", weighting="none", step_rate=0.0, activations="whole"
    )
    assert same(one, other)
    assert np.array_equal(one.log, other.log)


def test_where_every_block_is_a_layer_blocks_make_no_difference():
    work = task("chain")
    plain = {"weighting": "none", "step_rate": 0.0, "activations": "whole"}
    one, _ = quantize(work, "adaround", **FEW)
    other, _ = quantize(work, "brecq", **FEW, **plain)
    assert same(one, other)


def test_scales_of_weights_stay_and_steps_move_only_where_they_are_trained():
    work = task("block", "w3a4")
    start = finish(nearest(work, Options()))
    trained, _ = quantize(work, "brecq", **FEW)
    left, _ = quantize(work, "brecq", **FEW, step_rate=0.0)
    for found in (trained, left):
        for name, own in start.weights.items():
            assert torch.equal(found.weights[name].scale, own.scale)
    units, _ = units_of(work.network, start, "block")
    taken = column(trained, "taken") == 1
    assert taken.sum() > 1
    for unit, moved in zip(units, taken, strict=True):
        for tensor in own_tensors(work.network, unit, "tensor"):
            scale = start.activations[tensor.id].scale
            assert torch.equal(left.activations[tensor.id].scale, scale)
            assert torch.equal(trained.activations[tensor.id].scale, scale) == (not moved)


@pytest.mark.parametrize("method", ["adaround", "brecq"])
def test_an_interrupted_run_goes_on_after_its_last_unit_and_ends_with_the_same(method):
    work = task("block")
    whole, _ = quantize(work, method, **FEW)
    parts = CountedParts()
    options = build(PTQ_METHODS[method].options, FEW)
    cut = PTQ_METHODS[method].function(replace(work, parts=parts), options)
    for event in cut:
        if isinstance(event, Progress) and "unit.0" in parts.arrays and "error" in event.message:
            cut.close()
            break
    assert sorted(parts.arrays) == ["unit.0", "units"]
    resumed, notes = quantize(replace(work, parts=parts), method, **FEW)
    assert any(note.startswith("Goes on after 1 of ") for note in notes)
    assert parts.saved.count("unit.0") == 1
    assert same(whole, resumed)
    assert np.array_equal(whole.log, resumed.log)


def test_a_seed_gives_one_result_and_another_seed_another():
    work = task("block")
    first, _ = quantize(work, "brecq", **FEW, seed=1)
    assert same(first, quantize(work, "brecq", **FEW, seed=1)[0])
    assert not same(first, quantize(work, "brecq", **FEW, seed=2)[0])


@pytest.mark.parametrize("method", ["adaround", "brecq"])
def test_activations_that_do_not_fit_are_computed_again_with_the_same_errors(method):
    work = task("block")
    kept, _ = quantize(work, method, **FEW)
    again, notes = quantize(work, method, **FEW, memory_mib=0)
    assert any("do not fit 0 MiB" in note for note in notes)
    assert column(again, "error_trained") == pytest.approx(column(kept, "error_trained"), rel=0.02)
    for name, quantizer in kept.weights.items():
        codes = [quantizer.codes(each.weight_values[name]) for each in (kept, again)]
        assert float((codes[0] != codes[1]).float().mean()) <= 0.02


def test_the_paths_that_keep_nothing_hold_for_models_whose_code_reads_values():
    module = task("block").network.module
    plain = module.body

    def reading(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        assert float(x.abs().max()) < 1e9
        return plain(m, x)

    module.body = reading
    x = batch(32, 3, 8, 8)
    network = build_network(module, x[:2])
    assert not network.can_resume
    found, notes = quantize(task_of(network, x, "w2a8", SETTINGS), "adaround", **FEW)
    assert any("reads values" in note for note in notes)
    assert column(found, "taken").any()


def test_float_layers_are_left_alone_and_layers_called_twice_are_named():
    work = task("twice", first="wfloata8")
    found, notes = quantize(work, "adaround", **FEW)
    assert "first" not in found.weights
    assert "again" not in found.weight_values
    assert any(note.startswith("Not trained, but rounded to nearest: `again`") for note in notes)


def test_nothing_is_trained_where_no_weight_is_quantized():
    found, notes = quantize(task("block", "wfloata8"), "brecq", **FEW)
    assert not found.weight_values
    assert notes == ["No weight is quantized that can be trained: nothing is trained."]


def test_an_output_that_is_not_finite_ends_the_run_with_the_units_before(monkeypatch):
    work = task("block")
    clean, _ = quantize(work, "adaround", **FEW)
    plain, calls = Student.plan, iter(range(1_000))

    def plan(self: Student, *args):
        if next(calls) == 27:  # in the second unit
            with torch.no_grad():
                self.biases["first"].fill_(float("nan"))
        return plain(self, *args)

    monkeypatch.setattr(Student, "plan", plan)
    found, notes = quantize(work, "adaround", **FEW)
    said = next(note for note in notes if note.startswith("Training stopped"))
    assert "at `first` after 7 of 20 iterations" in said
    assert list(found.weight_values) == ["stem"]
    assert torch.equal(found.weight_values["stem"], clean.weight_values["stem"])


def test_fisher_weights_and_drawn_labels_change_what_is_found():
    work = task("block")
    weighted, _ = quantize(work, "brecq", **FEW, weighting="fisher")
    plain, _ = quantize(work, "brecq", **FEW, weighting="none")
    assert not same(weighted, plain)
    drawn, _ = quantize(work, "brecq", **FEW, weighting="fisher", probes=2)
    assert not np.array_equal(column(weighted, "error_trained"), column(drawn, "error_trained"))


@pytest.mark.parametrize("name", ["adaround", "brecq"])
def test_progress_never_goes_back_while_units_are_trained(name):
    job = task("block")
    finish(nearest(job, Options()))  # its ranges are estimated
    method = PTQ_METHODS[name]
    work = method.function(job, build(method.options, FEW))
    events = [event for event in work if isinstance(event, Progress)]
    whole = events[-1].total
    first = next(at for at, event in enumerate(events) if event.total == whole)
    assert {event.total for event in events[first:]} == {whole}
    done = [event.done for event in events[first:]]
    assert done == sorted(done)
    assert done[-1] == whole
