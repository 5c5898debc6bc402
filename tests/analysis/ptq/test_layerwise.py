"""What methods that go layer by layer share: biases that are corrected on the way."""

import pytest
import torch
from torch.nn import functional as F

from analysis.models.network import NOTHING, build_network
from analysis.quant.configure import plan_of
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, conv, toy
from tests.analysis.ptq.test_gptq import digits, run
from tests.reference.quantizing import quantize, task_of
from tests.reference.recalibration import means_at


@pytest.mark.parametrize("method", ["gptq", "gpfq"])
def test_corrected_biases_leave_no_channel_s_mean_off_on_the_calibration_set(method):
    task = digits("digits-mobilenet", 60, "w2a8")
    network, x = task.network, task.inputs(range(60))
    plain, _ = run(task, method)
    found, notes = run(task, method, correct_biases=True, batch_size=25)
    assert not plain.biases
    assert set(found.biases) == set(network.table.names)
    assert "18 of 18 biases corrected by their mean errors." in notes
    for layer in network.table.names[1::4]:
        wanted = means_at(network, layer, NOTHING, [x])
        off, after = (
            means_at(network, layer, plan_of(network, each, task.settings), [x])
            for each in (plain, found)
        )
        torch.testing.assert_close(after, wanted, rtol=0, atol=1e-3)
        assert float((off - wanted).abs().max()) > 2e-2


def test_at_two_bits_a_depthwise_network_needs_them_for_gptq():
    task = digits("digits-mobilenet", 100, "w2a8")
    x = task.inputs(range(100))
    plain, _ = run(task, "gptq")
    found, _ = run(task, "gptq", correct_biases=True)
    kept = []
    with torch.no_grad():
        wanted = task.network(x, NOTHING).argmax(1)
        for each in (plain, found):
            logits = task.network(x, plan_of(task.network, each, task.settings))
            kept.append(float((logits.argmax(1) == wanted).double().mean()))
    assert kept[0] < 0.5
    assert kept[1] > 0.9


def test_later_layers_are_rounded_behind_the_corrected_ones():
    task = digits("digits-resnet", 60, "w2a8")
    names = task.network.table.names
    plain, _ = run(task, "gptq")
    found, _ = run(task, "gptq", correct_biases=True)
    same = [torch.equal(plain.weight_values[n], found.weight_values[n]) for n in names]
    assert same[0]
    assert not same[-1]


def test_a_layer_called_twice_is_named():
    x = batch(12, 3, 8, 8, seed=3)
    module = toy(
        lambda m, x: m.again(F.relu(m.again(F.relu(m.first(x))))),
        first=conv(bias=False), again=conv(4),
    )  # fmt: skip
    task = task_of(build_network(module, x[:2]), x, "w3a8", QuantSettings())
    found, notes = quantize(task, "gpfq", correct_biases=True)
    said = [note for note in notes if "corrected" in note]
    assert "again" not in found.biases
    assert f"{len(found.biases)} of" in said[0]


def test_corrected_biases_are_finite_where_outputs_overflow():
    x = batch(64, 3, 8, 8)
    settings = QuantSettings(activation_range="min_max")
    task = task_of(build_network(toys.overflowing(), x[:2]), x, "w2afloat", settings)
    found, _ = quantize(task, "gptq", correct_biases=True)
    assert all(bias.isfinite().all() for bias in found.biases.values())
    plan = plan_of(task.network, found, settings)
    with torch.no_grad():
        assert task.network(x, plan).isfinite().all()
