"""Values that are not finite end a method at the layer where they come up, with what was good."""

import pytest
import torch

from analysis.errors import QuantizationError
from analysis.models.network import build_network
from analysis.options import Options
from analysis.ptq import PTQTask
from analysis.ptq.nearest import nearest
from analysis.ptq.student import Student
from analysis.quant.configure import Quantization
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch
from tests.reference.quantizing import quantize, task_of
from tests.reference.work import finish

SETTINGS = QuantSettings(activation_range="min_max")


@pytest.fixture(scope="module")
def task() -> PTQTask:
    x = batch(64, 3, 8, 8)
    return task_of(build_network(toys.overflowing(), x[:2]), x, "w2afloat", SETTINGS)


def small() -> PTQTask:
    x = batch(16, 3, 8, 8)
    return task_of(build_network(toys.residual(), x[:2]), x, "w3a4", SETTINGS)


def finite(found: Quantization) -> bool:
    values = [*found.weight_values.values(), *found.biases.values()]
    return all(bool(value.isfinite().all()) for value in values)


def test_eptq_returns_rounding_to_nearest_where_no_step_can_be_taken(task):
    found, notes = quantize(task, "eptq", steps=3)
    assert not found.weight_values
    assert found.log.shape[0] == 0
    said = next(note for note in notes if note.startswith("Training stopped"))
    assert "after 0 of 3 steps: `third` or its squared error was not finite from" in said
    assert "learning rate" not in said
    assert any(note.startswith("Rounding to nearest is kept") for note in notes)


@pytest.mark.parametrize("method", ["adaround", "brecq"])
def test_units_before_the_overflow_are_kept_and_its_unit_is_named(task, method):
    found, notes = quantize(task, method, iterations=3)
    assert "third" not in found.weight_values
    assert {"first", "second"} <= found.weight_values.keys()
    said = next(note for note in notes if note.startswith("Training stopped"))
    assert said.startswith("Training stopped at `third` after 0 of 3 iterations: its output or")


@pytest.mark.parametrize("method", ["gptq", "gpfq"])
def test_layers_behind_inputs_that_are_not_finite_stay_rounded_to_nearest(
    task, method, monkeypatch
):
    # The weights that these methods find do not overflow themselves: they get those of nearest.
    monkeypatch.setattr(
        f"analysis.ptq.{method}.{method}_weight",
        lambda weight, products, rounded, **_: torch.stack(
            [rounded(column) for column in weight.unbind(-1)], -1
        ),
    )
    found, notes = quantize(task, method)
    assert found.weight_values.keys() == {"first", "second"}
    assert finite(found)
    assert any(note.startswith("Stopped at `third`: what it reads") for note in notes)


def test_a_hessian_that_is_not_positive_definite_names_its_layer(monkeypatch):
    def refuse(*_: object) -> None:
        raise QuantizationError("The damped Hessian must be positive definite.")

    monkeypatch.setattr("analysis.ptq.gptq.inverse_factor", refuse)
    with pytest.raises(QuantizationError, match=r"^`conv1`: The damped Hessian"):
        quantize(small(), "gptq")


@pytest.mark.parametrize("growth", [float("nan"), 1e3, -1e3])
def test_a_scale_that_is_no_longer_positive_ends_a_training_with_what_was_good(growth, monkeypatch):
    task, plain, steps = small(), Student.fix, iter(range(1_000))

    def fix(self: Student, share: float) -> None:
        plain(self, share)
        if next(steps) == 5:
            with torch.no_grad():
                self.weights["conv2"].growth.fill_(growth)

    monkeypatch.setattr(Student, "fix", fix)
    found, notes = quantize(task, "eptq", steps=20, rounding_rate=0.3)
    said = next(note for note in notes if note.startswith("Training stopped"))
    assert said.startswith("Training stopped after 5 of 20 steps: the scale of `conv2` was no ")
    assert len(found.log) == 5
    assert finite(found)


def test_a_step_that_is_no_longer_positive_ends_a_unit(monkeypatch):
    task, plain = small(), Student.fix

    def fix(self: Student, share: float) -> None:
        plain(self, share)
        if share == 1.0 and "conv2" in self.weights:
            for step in self.steps.values():
                with torch.no_grad():
                    step.growth.fill_(-1e3)

    monkeypatch.setattr(Student, "fix", fix)
    found, notes = quantize(task, "brecq", units="layer", iterations=1)
    said = next(note for note in notes if note.startswith("Training stopped"))
    assert said.startswith("Training stopped at `conv2` after 1 of 1 iterations: the step of `")
    assert found.weight_values.keys() == {"conv1"}


def test_only_scales_and_steps_that_a_grid_can_have_are_sound():
    task = small()
    student = Student.of(task.network, finish(nearest(task, Options())), SETTINGS)
    assert student.broken == ""
    with torch.no_grad():
        next(iter(student.steps.values())).growth.fill_(float("inf"))
    assert student.broken == f"the step of `{task.network.table.tensors[0].produced_by}`"
    with torch.no_grad():
        student.weights["head"].growth[0] = float("nan")
    assert student.broken == "the scale of `head`"
