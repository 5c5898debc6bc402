import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from analysis.data.digits import load_split
from analysis.errors import OptionError
from analysis.events import Progress
from analysis.models import demo
from analysis.models.network import build_network
from analysis.options import Options, build
from analysis.ptq import PTQ_METHODS, PTQTask
from analysis.ptq.moved import moved_shares
from analysis.ptq.nearest import nearest
from analysis.ptq.student import SoftStep, Student
from analysis.ptq.teacher import Teacher
from analysis.ptq.trained import from_arrays, to_arrays
from analysis.ptq.trainer import Trainer
from analysis.ptq.training import LOGGED, divergence
from analysis.quant.configure import Quantization, plan_of
from analysis.records import QuantSettings
from tests.reference.quantizing import quantize, task_of
from tests.reference.work import finish

SETTINGS = QuantSettings(activation_range="min_max")


@dataclass
class Kept:
    """Parts in memory, as copies, as a store keeps them."""

    arrays: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def load(self, name: str) -> Mapping[str, np.ndarray] | None:
        return self.arrays.get(name)

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays[name] = {key: np.array(value) for key, value in arrays.items()}


def demo_task(n: int, text: str = "w2a8") -> PTQTask:
    """The residual demo network on n digits, its ends in w8a8."""
    pixels = torch.from_numpy(load_split("train")[0][:n].astype(np.float32)) / 255
    x = (pixels - demo.DEMO_MEAN) / demo.DEMO_STD
    network = build_network(demo.load("digits-resnet"), x[:2])
    ends = {network.table.names[0]: "w8a8", network.table.names[-1]: "w8a8"}
    return task_of(network, x, text, SETTINGS, **ends)


@pytest.fixture(scope="module")
def digits() -> PTQTask:
    return demo_task(200)


@pytest.fixture(scope="module")
def task() -> PTQTask:
    return demo_task(64)


def eptq(task: PTQTask, **options: object) -> tuple[Quantization, list[str]]:
    return quantize(task, "eptq", **({"steps": 40, "batch_size": 8} | options))


def same(one: Quantization, other: Quantization) -> bool:
    pairs = [(one.weight_values, other.weight_values), (one.biases, other.biases)]
    tensors = all(torch.equal(a[n], b[n]) for a, b in pairs for n in a.keys() | b.keys())
    return tensors and all(
        torch.equal(a[n].scale, b[n].scale)
        for a, b in ((one.weights, other.weights), (one.activations, other.activations))
        for n in a.keys() | b.keys()
    )


def test_two_bits_that_rounding_to_nearest_loses_are_won_back_on_digits(digits):
    start = finish(nearest(digits, Options()))
    found, notes = eptq(digits, steps=60)
    teacher = Teacher(digits.network, (0,), digits.inputs, digits.n, 0.0)
    rows = torch.arange(175, 200)
    student = Student.of(digits.network, start, SETTINGS)
    before, _ = divergence(student, start, teacher, rows)
    after, agreement = divergence(student, found, teacher, rows)
    assert before > 1.0
    assert after < 0.2
    assert agreement > 0.9
    assert any("not rounded to the nearest level" in note for note in notes)
    assert any(note.startswith("Only 175 samples") for note in notes)
    # Scales of the layers at 8 bits are trained too: their codes stay, others become nearest.
    ends = {name: share for name, share in moved_shares(digits.network, start, found).items()
            if start.weights[name].qmax > 1}  # fmt: skip
    assert len(ends) == 2
    assert max(ends.values()) < 0.2


def test_every_rounding_is_decided_and_the_log_says_so(task):
    found, _ = eptq(task)
    log = dict(zip(LOGGED, found.log.T, strict=True))
    assert log["step"].tolist() == list(range(1, 41))
    assert log["undecided"][-1] == 0.0
    assert log["fixed"][-1] == 1.0
    assert (np.diff(log["fixed"]) >= 0).all()
    for name, quantizer in found.weights.items():
        values = found.weight_values[name]
        assert torch.equal(quantizer.values(quantizer.codes(values)), values)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activations": "drop"},
        {"optimizer": "radam", "weighting": "none"},
        {"weighting": "fisher", "regularizer": 0.1, "hardening": "last"},
    ],
    ids=["defaults", "drop", "radam unweighted", "fisher and regularizer"],
)
def test_an_interrupted_training_goes_on_and_ends_with_the_same(task, options):
    whole, _ = eptq(task, **options)
    parts = Kept()
    method = PTQ_METHODS["eptq"]
    cut = method.function(
        replace(task, parts=parts), build(method.options, {"steps": 40, "batch_size": 8} | options)
    )
    for event in cut:
        if isinstance(event, Progress) and event.total == 40 and event.done >= 23:
            cut.close()
            break
    assert parts.arrays
    resumed, notes = eptq(replace(task, parts=parts), **options)
    assert any(note.startswith("Goes on after") for note in notes)
    assert same(whole, resumed)
    assert np.array_equal(whole.log, resumed.log)


def test_a_seed_gives_one_result_and_another_seed_another(task):
    first, _ = eptq(task, seed=1, steps=10)
    assert same(first, eptq(task, seed=1, steps=10)[0])
    assert not same(first, eptq(task, seed=2, steps=10)[0])


def test_outputs_that_are_kept_and_outputs_computed_again_teach_the_same(task):
    for options in ({"steps": 10}, {"weighting": "fisher", "steps": 5}):
        kept, _ = eptq(task, **options)
        again, notes = eptq(task, memory_mib=0, **options)
        assert sum("computed again for every batch" in note for note in notes) == len(options)
        assert same(kept, again)


def test_a_training_that_makes_it_worse_returns_rounding_to_nearest():
    task = demo_task(64, "w8a8")
    start = finish(nearest(task, Options()))
    found, notes = eptq(task, bias_rate=1.0, scale_rate=1.0, steps=5)
    assert any(note.startswith("Rounding to nearest is kept") for note in notes)
    with torch.no_grad():
        x = task.inputs(range(8))
        network = task.network
        one = network(x, plan_of(network, found, SETTINGS))
        assert torch.equal(one, network(x, plan_of(network, start, SETTINGS)))


def test_without_a_rate_for_roundings_every_code_is_the_nearest_on_the_first_grid(task):
    start = finish(nearest(task, Options()))
    found, _ = eptq(task, rounding_rate=0.0, steps=5)
    for layer in task.network.table.layers:
        codes = found.weights[layer.name].codes(found.weight_values[layer.name])
        assert torch.equal(codes, start.weights[layer.name].codes(task.network.weight(layer)))


def test_progress_is_that_of_the_steps_from_the_beginning(task):
    method = PTQ_METHODS["eptq"]
    events = list(method.function(task, build(method.options, {"steps": 20})))
    shares = [event.done / event.total for event in events if isinstance(event, Progress)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert len(set(shares)) > 2


def test_a_training_of_nothing_is_refused(task):
    rates = dict.fromkeys(["rounding_rate", "bias_rate", "scale_rate", "step_rate"], 0.0)
    with pytest.raises(OptionError, match="above 0"):
        eptq(task, **rates)


def test_a_training_towards_nothing_is_refused(task):
    with pytest.raises(OptionError, match="both weights are 0"):
        eptq(task, reconstruction=0.0)


def test_the_logits_alone_can_be_trained_towards(task):
    found, _ = eptq(task, reconstruction=0.0, logits=2.0)
    log = dict(zip(LOGGED, found.log.T, strict=True))
    assert log["loss"] == pytest.approx(2.0 * log["logits_kl"])
    assert log["held_out_kl"][-1] < 0.3 * log["held_out_kl"][0]


def test_a_loss_that_is_not_finite_ends_the_training_with_the_last_good_state(task, monkeypatch):
    network = task.network
    second = network.table.names[1]
    plain = Student.plan
    calls = iter(range(1_000))

    def plan(self: Student, seen=SoftStep.__call__):
        if next(calls) == 7:
            with torch.no_grad():
                self.biases[second].fill_(float("nan"))
        return plain(self, seen)

    monkeypatch.setattr(Student, "plan", plan)
    found, notes = eptq(task, steps=20)
    said = next(note for note in notes if note.startswith("Training stopped"))
    assert f"after 7 of 20 steps: `{second}`" in said
    assert all(value.isfinite().all() for value in found.weight_values.values())
    assert len(found.log) == 7


@pytest.mark.parametrize("exhausted", [MemoryError(), RuntimeError("CUDA out of memory.")])
def test_a_batch_that_memory_does_not_hold_is_computed_in_halves(task, monkeypatch, exhausted):
    whole, _ = eptq(task, batch_size=16, steps=8)
    plain = Trainer._part

    def part(self: Trainer, rows: torch.Tensor, *others):
        if len(rows) > 5:
            raise exhausted
        return plain(self, rows, *others)

    monkeypatch.setattr(Trainer, "_part", part)
    found, notes = eptq(task, batch_size=16, steps=8)
    said = [note for note in notes if note.startswith("Memory did not suffice")]
    assert [re.search(r"(\d+) samples at a time", note)[1] for note in said] == ["8", "4"]
    assert found.log[0, 1:5] == pytest.approx(whole.log[0, 1:5], rel=1e-4)
    assert found.log[-1, 1] == pytest.approx(whole.log[-1, 1], rel=0.5)


def test_a_sample_that_memory_does_not_hold_ends_the_training(task, monkeypatch):
    def part(self: Trainer, *others):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Trainer, "_part", part)
    with pytest.raises(MemoryError, match="one sample"):
        eptq(task)


def test_other_errors_are_not_taken_for_exhausted_memory(task, monkeypatch):
    def part(self: Trainer, *others):
        raise RuntimeError("something else")

    monkeypatch.setattr(Trainer, "_part", part)
    with pytest.raises(RuntimeError, match="something else"):
        eptq(task)


def test_the_regularizer_drives_roundings_to_their_ends(task):
    options = {"hardening": "last", "activations": "whole", "rounding_rate": 0.3}
    plain = eptq(task, **options)[0]
    found = eptq(task, **options, regularizer=100.0)[0]
    free, driven = (dict(zip(LOGGED, each.log.T, strict=True)) for each in (plain, found))
    assert (free["indecision"] == 0.0).all()  # not part of the loss, not computed
    assert (driven["indecision"][:30] > 0.0).all()
    assert driven["undecided"][-2] < 0.5 * free["undecided"][-2]
    assert driven["loss"] == pytest.approx(driven["reconstruction"] + 100.0 * driven["indecision"])
    for log in (free, driven):
        assert log["fixed"].tolist() == [0.0] * 39 + [1.0]
        assert log["undecided"][-1] == 0.0


def test_arrays_hold_a_trained_quantization_bit_for_bit(task):
    found, _ = eptq(task)
    start = finish(nearest(task, Options()))
    arrays = {name: np.array(array) for name, array in to_arrays(task.network, found).items()}
    back = from_arrays(task.network, start, arrays)
    with torch.no_grad():
        x = task.inputs(range(8))
        one = task.network(x, plan_of(task.network, found, SETTINGS))
        other = task.network(x, plan_of(task.network, back, SETTINGS))
    assert torch.equal(one, other)


def test_nothing_is_trained_where_no_weight_is_quantized(task):
    network = task.network
    plain = task_of(network, task.inputs(range(task.n)), "wfloata8", SETTINGS)
    found, notes = eptq(plain)
    assert not found.weights
    assert notes == ["No weight is quantized: nothing is trained."]
