"""What a method changed in every layer: closed forms, the stored step, its words."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.errors import OptionError
from analysis.events import Started, result
from analysis.options import build
from analysis.ptq import PTQ_METHODS
from analysis.ptq.moved import moved_shares
from analysis.quant.configure import Quantization
from analysis.quant.quantizer import Quantizer
from analysis.records import FLOAT, Allocation, Candidate, Recovery
from analysis.workflow import recovering
from analysis.workflow.recovery_words import sentences, setting
from analysis.workspace import calibration_inputs
from cache.codec import decode, encode
from tests.reference.work import finish

STEPS = 4


def recovery_of(**changes: object) -> Recovery:
    values = {
        "method": "eptq",
        "layers": ("stem", "conv", "fc"),
        "weights": np.array([10, 30, 60]),
        "moved": np.array([0.2, 0.1, np.nan]),
        "before": np.array([0.1, 0.2, 0.4]),
        "after": np.array([0.01, 0.4, 0.04]),
        "n": 5,
        "calibration": "0123456789",
        "seconds": 1.0,
    }
    return Recovery(**(values | changes))


def quantizer(step: float) -> Quantizer:
    return Quantizer(torch.tensor([step]), torch.zeros(1), -4, 3)


def allocation_of(table, **formats: str) -> Allocation:
    usual = Candidate(FLOAT, FLOAT)
    chosen = [
        Candidate(formats[n], FLOAT) if n in formats else usual
        for n in (name.replace(".", "_") for name in table.names)
    ]
    return Allocation(layers=table.names, candidates=tuple(chosen))


def test_the_record_is_kept_with_its_nan():
    found = recovery_of()
    again = decode(Recovery, *encode(found))
    assert np.array_equal(again.moved, found.moved, equal_nan=True)
    assert np.array_equal(again.gain, found.gain)


def test_the_share_of_all_weights_leaves_out_what_stays_float():
    assert recovery_of().share == pytest.approx((2 + 3) / 40)
    assert np.isnan(recovery_of(moved=np.full(3, np.nan)).share)


def test_gains_are_in_decibels():
    assert recovery_of().gain == pytest.approx([10, 10 * np.log10(0.5), 10])
    assert np.isnan(recovery_of(after=np.array([0.0, 0.2, 0.4])).gain[0])


def test_codes_that_rounding_to_nearest_does_not_give_are_counted(workspace, study):
    network = workspace.live(study).network
    first, second, third = network.table.layers
    own, wider = quantizer(0.1), quantizer(0.13)
    nearest = own.codes(network.weight(second))
    changed = nearest.flatten().clone()
    changed[:5] = torch.where(changed[:5] == 3, 2.0, changed[:5] + 1)
    changed = changed.view_as(nearest)
    start = Quantization(weights=dict.fromkeys((first.name, second.name, third.name), own))
    found = Quantization(
        weights={first.name: own, second.name: wider},
        weight_values={second.name: wider.values(changed)},
    )
    # The trained scale has other codes next to the float weights; it is no rounding.
    assert (wider.codes(network.weight(second)) != nearest).any()
    shares = moved_shares(network, start, found)
    assert shares == {first.name: 0.0, second.name: 5 / changed.numel()}


def test_a_layer_quantized_alone_has_the_error_computed_by_hand(workspace, study):
    loaded = workspace.live(study)
    network = loaded.network
    first, second, last = network.table.layers
    found = Quantization(weights={second.name: quantizer(0.05)})
    weight, bias = network.weight(second), network.bias(second)
    rounded = found.weights[second.name](weight)
    x = calibration_inputs(loaded)(range(study.calibration.n))
    read = F.relu(F.conv2d(x, network.weight(first), network.bias(first)))
    z, own = F.conv2d(read, weight, bias), F.conv2d(read, rounded, bias)
    plan = workflow.recipe.plan_of(network, found, workflow.recipe.DEFAULTS)
    numbers = range(study.calibration.n)
    errors = finish(recovering.output_errors(network, [plan], calibration_inputs(loaded), numbers))[
        0
    ]
    by_hand = (own - z).double().square().sum() / (z - z.mean(0)).double().square().sum()
    assert errors[0] == 0
    assert errors[1] == pytest.approx(by_hand.item(), rel=1e-4)
    # What the second layer did wrong is still there in the last one.
    pooled = [F.relu(each).mean((2, 3)) @ network.weight(last).T for each in (z, own)]
    far = (pooled[1] - pooled[0]).square().sum() / (pooled[0] - pooled[0].mean(0)).square().sum()
    assert errors[2] == pytest.approx(far.item(), rel=1e-3)


def test_an_output_that_does_not_vary_has_no_relative_error(workspace, study):
    loaded = workspace.live(study)
    one = calibration_inputs(loaded)(range(1))
    errors = finish(
        recovering.output_errors(
            loaded.network,
            [loaded.network.plan],
            lambda r: one.expand(len(r), -1, -1, -1),
            range(40),
        )
    )
    assert np.isnan(errors).all()


@pytest.mark.parametrize("n", [1, 5, 256, 257, 1000])
def test_samples_are_spread_over_the_whole_set(n):
    numbers = recovering.spread(n)
    assert len(numbers) <= recovering.SAMPLES
    assert n - 1 - numbers[-1] < numbers.step
    assert len(numbers) >= min(n, recovering.SAMPLES // 2)


@pytest.mark.parametrize("method", ["gptq", "eptq", "bias_correction"])
def test_every_method_is_compared_and_the_answer_is_stored(workspace, study, method):
    table = workspace.live(study).network.table
    kind = PTQ_METHODS[method].options
    options = build(kind, {"steps": STEPS} if method == "eptq" else {})
    allocation = uniform_allocation(table, Candidate.parse("w3a8"), pin_first_last=False)
    recipe = workflow.Recipe(allocation, method, options)
    step = workflow.recovery(workspace, study, recipe)
    found = result(step.events(workspace.store))
    assert found.layers == table.names
    assert np.isfinite(found.moved).all()
    assert (found.before > 0).all()
    assert (found.after > 0).all()
    assert method != "gptq" or found.share > 0
    assert method != "bias_correction" or found.share == 0
    again = next(iter(step.events(workspace.store)))
    assert isinstance(again, Started)
    assert again.cached
    assert "--recovery" in step.command


def test_an_allocation_in_float_has_nothing_that_moved(workspace, study):
    table = workspace.live(study).network.table
    recipe = workflow.Recipe(allocation_of(table), "gptq")
    found = result(workflow.recovery(workspace, study, recipe).events(workspace.store))
    assert np.isnan(found.moved).all()
    assert found.before.tolist() == [0, 0, 0]
    assert "No weight is quantized" in sentences(found)[0]


def test_rounding_to_nearest_has_nothing_to_be_compared_with(workspace, study):
    table = workspace.live(study).network.table
    with pytest.raises(OptionError, match="choose another method"):
        workflow.recovery(workspace, study, workflow.Recipe(allocation_of(table)))


def test_sentences_name_the_layers_that_moved_gained_and_lost():
    said = sentences(recovery_of())
    assert said[0].startswith("12.5 % of the weights")
    assert "`stem` (20 %)" in said[0]
    assert said[1].startswith("The output of 2 of 3 layers is nearer")
    assert "from 40 % to 4 %" in said[2]
    assert "1 layer is farther from float, `conv`: 20 % before, 40 % after" in said[3]
    assert "accumulated" in setting(recovery_of())


def test_what_nothing_changed_is_said_so():
    same = np.array([0.1, 0.2, 0.3])
    said = sentences(recovery_of(before=same, after=same, moved=np.zeros(3)))
    assert said == [
        "Every weight is rounded to the level nearest to it, as rounding to nearest does.",
        "Every layer's output is as far from float as rounded to nearest.",
    ]


def test_one_sample_tells_no_variance_and_that_is_said():
    unknown = np.full(3, np.nan)
    said = sentences(recovery_of(before=unknown, after=unknown, n=1))
    assert "one sample does not tell: use more calibration samples." in said[-1]
