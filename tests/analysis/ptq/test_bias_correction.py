import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.data.digits import load_split
from analysis.models import demo
from analysis.models.network import NOTHING, Network, build_network
from analysis.models.recalibrated import Gaussian
from analysis.models.rectifiers import Clip, clip_of
from analysis.options import build
from analysis.ptq import PTQ_METHODS, PTQTask
from analysis.ptq.bias_correction import clipped_mean
from analysis.quant.configure import Quantization, plan_of
from analysis.recalibration import RECALIBRATIONS, RecalibrationTask
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, conv, randomised, toy
from tests.reference.quantizing import quantize, task_of
from tests.reference.recalibration import clipped_gaussian_mean, means_at
from tests.reference.work import finish

PER_TENSOR = QuantSettings(per_channel=False, activation_range="min_max")


def digits(split: str, n: int) -> Tensor:
    pixels = torch.from_numpy(load_split(split)[0][:n].astype(np.float32)) / 255
    return (pixels - demo.DEMO_MEAN) / demo.DEMO_STD


def corrected(task: PTQTask, **options: object) -> tuple[Quantization, str]:
    """Return the quantization and all notes as one text."""
    found, notes = quantize(task, "bias_correction", **options)
    return found, "\n".join(notes)


def divergence(network: Network, plan, x: Tensor) -> float:
    with torch.no_grad():
        log_p, log_q = (F.log_softmax(network(x, p).double(), 1) for p in (NOTHING, plan))
    return float((log_p.exp() * (log_p - log_q)).sum(1).mean())


@pytest.mark.parametrize("scope", ["tensor", "layer_input"])
@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_afterwards_no_channel_s_mean_is_off_on_the_calibration_set(name, scope):
    x = digits("calibration", 60)
    network = build_network(demo.load(name), x[:2])
    settings = replace(PER_TENSOR, scope=scope, weight_range="min_max")
    task = task_of(network, x, "w4a4", settings)
    result, notes = corrected(task, batch_size=25)
    assert notes.startswith(
        f"{len(network.table.layers)} biases corrected by the mean errors on 60"
    )
    assert notes.splitlines()[1:] == [
        "Only 60 samples are learnt from, fewer than 256: what they teach may not carry over. Use "
        "more calibration samples."
    ]
    plain = finish(PTQ_METHODS["nearest"].function(task, PTQ_METHODS["nearest"].options()))
    assert set(result.biases) == set(network.table.names)
    for layer in network.table.names:
        wanted = means_at(network, layer, NOTHING, [x[:30], x[30:]])
        before = means_at(network, layer, plan_of(network, plain, settings), [x])
        after = means_at(network, layer, plan_of(network, result, settings), [x])
        assert float((before - wanted).abs().max()) > 1e-2
        torch.testing.assert_close(after, wanted, rtol=0, atol=1e-5)


def test_one_linear_layer_gains_what_rounding_takes_from_its_mean():
    module = nn.Sequential(nn.Linear(3, 2)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[7.0, 0.4, -2.6], [1.0, 2.3, 3.0]]))
    network = build_network(module, batch(2, 3))
    x = batch(50, 3, seed=2) + torch.tensor([0.0, 1.0, 2.0])
    settings = replace(PER_TENSOR, weight_range="min_max")
    result, _ = corrected(task_of(network, x, "w4afloat", settings))
    # The step is 7 / 7 = 1.
    off = torch.tensor([[0.0, -0.4, -0.4], [0.0, -0.3, 0.0]])
    expected = module[0].bias.detach() - off @ x.mean(0)
    torch.testing.assert_close(result.biases["0"], expected)


def test_the_note_tells_the_largest_shift_in_deviations_of_its_channel():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).eval()
    x = batch(50, 3, 2, 2, seed=4) + 1
    network = build_network(module, x[:2])
    result, notes = corrected(task_of(network, x, "w3afloat", PER_TENSOR))
    shift = (result.biases["1"] - module[1].bias).abs()
    with torch.no_grad():
        relative = shift / module(x).std(0)
    assert notes.splitlines()[0] == (
        "1 bias corrected by the mean errors on 50 calibration samples: by "
        f"{float(relative.max()):.2g} standard deviations of the channel at most (channel "
        f"{int(relative.argmax())} of `1`), by {float(relative.median()):.2g} in the median."
    )


def test_a_network_in_float_says_that_no_bias_was_corrected():
    x = batch(6, 3, 8, 8, seed=3)
    network = build_network(toys.residual(), x[:2])
    for estimate in ("empirical", "analytic"):
        assert corrected(task_of(network, x, "float", PER_TENSOR), estimate=estimate)[1] == (
            "No bias was corrected."
        )


def test_the_size_of_batches_does_not_matter():
    x = digits("calibration", 40)
    network = build_network(demo.load("digits-mobilenet"), x[:2])
    task = task_of(network, x, "w4afloat", PER_TENSOR)
    one, _ = corrected(task, batch_size=7)
    other, _ = corrected(task, batch_size=40)
    for name in network.table.names:
        torch.testing.assert_close(one.biases[name], other.biases[name], rtol=1e-4, atol=1e-4)


def test_outputs_come_nearer_to_the_float_network_s_on_the_mean_of_settings():
    x, unseen = digits("calibration", 100), digits("evaluation", 300)
    network = build_network(demo.load("digits-mobilenet"), x[:2])
    found = {"nearest": [], "empirical": [], "analytic": []}
    for estimator in ("min_max", "mse", "percentile"):
        settings = replace(PER_TENSOR, weight_range=estimator)
        task = task_of(network, x, "w4a8", settings)
        nearest = PTQ_METHODS["nearest"]
        made = {
            "nearest": finish(nearest.function(task, nearest.options())),
            "empirical": corrected(task)[0],
            "analytic": corrected(task, estimate="analytic")[0],
        }
        for name, result in made.items():
            found[name].append(divergence(network, plan_of(network, result, settings), unseen))
    means = {name: sum(values) / len(values) for name, values in found.items()}
    assert means["empirical"] < means["nearest"]
    assert all(math.isfinite(v) for v in means.values())


def test_what_is_in_float_throughout_stays_untouched():
    x = batch(6, 3, 8, 8, seed=3)
    network = build_network(toys.residual(), x[:2])
    for estimate in ("empirical", "analytic"):
        result, _ = corrected(task_of(network, x, "float", PER_TENSOR), estimate=estimate)
        assert result.biases == {}
    result, _ = corrected(task_of(network, x, "float", PER_TENSOR, conv2="w2afloat"))
    assert set(result.biases) == {"conv2", "head"}
    result, _ = corrected(
        task_of(network, x, "float", PER_TENSOR, conv2="w2afloat"), estimate="analytic"
    )
    assert set(result.biases) == {"conv2"}


def test_a_layer_without_a_bias_gets_one_and_a_layer_called_twice_is_named():
    x = batch(12, 3, 8, 8, seed=3)
    module = toy(
        lambda m, x: m.again(F.relu(m.again(F.relu(m.first(x))))),
        first=conv(bias=False), again=conv(4),
    )  # fmt: skip
    network = build_network(module, x[:2])
    task = task_of(network, x, "w3a8", PER_TENSOR)
    result, notes = corrected(task)
    assert (
        notes.splitlines()[2]
        == "Not bias-corrected: `again`: it is called 2 times and one bias cannot be right for all."
    )
    assert set(result.biases) == {"first", "head"}
    assert network.bias(network.layer("first")) is None
    after = means_at(network, "first", plan_of(network, result, PER_TENSOR), [x])
    wanted = means_at(network, "first", NOTHING, [x])
    torch.testing.assert_close(after, wanted, rtol=0, atol=1e-5)


def test_behind_a_mean_that_is_not_finite_no_bias_is_changed_and_the_layer_is_said():
    x = batch(64, 3, 8, 8)
    settings = QuantSettings(activation_range="min_max")
    task = task_of(build_network(toys.overflowing(), x[:2]), x, "w2afloat", settings)
    result, notes = corrected(task)
    assert set(result.biases) == {"first", "second"}
    assert all(bias.isfinite().all() for bias in result.biases.values())
    assert "Stopped at `third`: the mean of its output is not finite. Its bias and" in notes


# --- analytic ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0), (-math.inf, 2.0), (0.0, 0.3)]
)
def test_the_mean_of_a_clipped_gaussian_is_that_of_many_points_under_its_density(low, high):
    cases = [(-3.0, 0.5), (-0.2, 1.0), (0.0, 2.0), (1.0, 1.0), (5.5, 1.5), (40.0, 3.0), (0.7, 0.0)]
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in zip(*cases, strict=True))
    got = clipped_mean(Gaussian(mean, std), clip_of(low, high))
    expected = [clipped_gaussian_mean(m, s, low, high) for m, s in cases]
    assert got.tolist() == pytest.approx(expected, abs=1e-5)
    shaped = Clip(torch.full((7, 1, 1), low), torch.full((7, 1, 1), high))
    assert torch.equal(clipped_mean(Gaussian(mean, std), shaped), got)
    assert torch.equal(clipped_mean(Gaussian(mean, std), None), mean)


def gaussian_network(between: nn.Module, second: nn.Module) -> tuple[nn.Module, Tensor]:
    """A BatchNorm that gives Gaussian channels, and images of noise that it does so for."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), between, second, nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )  # fmt: skip
    with torch.no_grad():
        module[0].weight.copy_(torch.eye(4)[:, :, None, None])
        module[1].weight.copy_(torch.tensor([1.0, 2.0, 0.5, 3.0]))
        module[1].bias.copy_(torch.tensor([0.5, -1.0, 2.0, 4.0]))
    return module.eval(), batch(400, 4, 12, 12, seed=3)


@pytest.mark.parametrize(
    "between",
    [nn.ReLU(), nn.ReLU6(), nn.Identity(), nn.Sequential(nn.ReLU(), nn.AvgPool2d(2))],
    ids=["relu", "relu6", "linear", "pooled"],
)
@pytest.mark.parametrize("padding", [0, 1])
def test_on_gaussian_outputs_the_analytic_correction_is_the_empirical_one(between, padding):
    module, x = gaussian_network(between, nn.Conv2d(4, 5, 3, padding=padding))
    network = build_network(module, x[:2])
    task = task_of(network, x, "float", PER_TENSOR, **{"3": "w3afloat"})
    empirical, _ = corrected(task)
    analytic, notes = corrected(task, estimate="analytic")
    shift = float((analytic.biases["3"] - network.bias(network.layer("3"))).abs().max())
    # The second layer has no BatchNorm to say how far its channels vary.
    assert notes == f"1 bias corrected by what the folded BatchNorms say: by {shift:.3g} at most."
    change = empirical.biases["3"] - network.bias(network.layer("3"))
    assert float(change.abs().max()) > 0.1
    torch.testing.assert_close(analytic.biases["3"], empirical.biases["3"], rtol=0, atol=0.01)


def test_analytic_names_the_layers_whose_input_is_not_a_batchnorm_s():
    x = digits("calibration", 20)
    network = build_network(demo.load("digits-resnet"), x[:2])
    result, said = corrected(task_of(network, x, "w4a8", PER_TENSOR), estimate="analytic")
    done, notes = said.split("\n", 1)
    assert f"{len(result.biases)} biases corrected" in done
    assert "standard deviations of the channel at most" in done
    assert "`conv1`" in notes  # reads the image
    assert "`layer1.1.conv1`" in notes  # reads the result of an addition
    assert "its input does not come from a BatchNorm or its ReLU" in notes
    assert {n for n in network.table.names if f"`{n}`" in notes} == (
        set(network.table.names) - set(result.biases)
    )
    assert {"layer1.0.conv1", "layer1.0.conv2", "layer2.1.conv2"} <= set(result.biases)


# --- after recalibrations ------------------------------------------------------------------------


@pytest.mark.parametrize("estimate", ["empirical", "analytic"])
def test_it_works_behind_equalization_absorption_and_bounds(estimate):
    x = digits("calibration", 60)
    module = randomised(demo.load("digits-mobilenet"))
    with torch.no_grad():
        for i in range(5):  # channels that stay above zero, for absorption
            norm = module.get_submodule(f"blocks.{i}.depthwise.1")
            norm.bias.copy_(torch.linspace(-1, 5, len(norm.bias)) * norm.weight.abs())
    network = current = build_network(module, x[:2])
    logits = []
    for name, options in (
        ("equalization", {}),
        ("absorption", {"source": "minimum"}),
        ("bounded_relu", {"percent": 99.5}),
    ):
        method = RECALIBRATIONS[name]
        task = RecalibrationTask(current, lambda r: x[r.start : r.stop], len(x), 25)
        changed = finish(method.function(task, build(method.options, options)))
        assert any(
            not torch.equal(changed.weight(a), current.weight(a))
            or not torch.equal(changed.bias(a), current.bias(a))
            for a in network.table.layers
        ) == (name != "bounded_relu")
        current = changed
        with torch.no_grad():
            logits.append(current(x))
    with torch.no_grad():
        wanted = network(x)
    largest = float(wanted.abs().max())
    assert float((logits[0] - wanted).abs().max()) < 1e-4 * largest
    assert float((logits[1] - wanted).abs().max()) < 1e-4 * largest
    assert not torch.allclose(logits[2], logits[1])
    result, _ = corrected(task_of(current, x, "w8a8", PER_TENSOR), estimate=estimate)
    plan = plan_of(current, result, PER_TENSOR)
    with torch.no_grad():
        assert current(x, plan).isfinite().all()
    assert divergence(current, plan, x) < 0.05
    if estimate == "empirical":
        for layer in ("blocks.2.depthwise.0", "fc"):
            after = means_at(current, layer, plan, [x])
            torch.testing.assert_close(
                after, means_at(current, layer, NOTHING, [x]), rtol=0, atol=1e-5
            )
    else:
        assert "blocks.2.project.0" in result.biases
