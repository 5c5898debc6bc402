"""Where memory does not suffice for a batch it is computed in parts, with a note; else an end."""

import re

import pytest
import torch
from torch import Tensor

from analysis.models.network import build_network
from analysis.ptq import PTQTask
from analysis.ptq.layer_inputs import Unfolding
from analysis.ptq.unit_samples import UnitSamples
from analysis.ptq.unit_training import add_gradients
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch
from tests.reference.quantizing import quantize, task_of

EXHAUSTED = [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
FEW = {"iterations": 12, "batch_size": 16}


@pytest.fixture(scope="module")
def task() -> PTQTask:
    x = batch(24, 3, 8, 8)
    network = build_network(toys.residual(), x[:2])
    return task_of(network, x, "w3a4", QuantSettings(activation_range="min_max"))


@pytest.mark.parametrize("error", EXHAUSTED)
@pytest.mark.parametrize("method", ["adaround", "brecq"])
def test_units_are_trained_in_halves_of_their_batches(task, method, error, monkeypatch):
    options = FEW | ({"activations": "whole", "step_rate": 0.0} if method == "brecq" else {})
    whole, _ = quantize(task, method, **options)
    plain = UnitSamples.errors

    def errors(self: UnitSamples, rows: Tensor, plan) -> Tensor:
        if torch.is_grad_enabled() and len(rows) > 5:
            raise error
        return plain(self, rows, plan)

    monkeypatch.setattr(UnitSamples, "errors", errors)
    found, notes = quantize(task, method, **options)
    said = [note for note in notes if note.startswith("Memory did not suffice: batches of ")]
    sizes = [re.search(r"(\d+) samples at a time", note)[1] for note in said]
    assert sizes == ["8", "4"] * len(found.log)
    assert "`conv1`" in said[0]
    assert found.log == pytest.approx(whole.log, rel=0.05, abs=0.05)


def test_gradients_of_parts_add_up_to_those_of_the_batch(task):
    class Squares:
        """Errors (B,) of a parameter, one per sample."""

        def errors(self, rows: Tensor, plan: object) -> Tensor:
            return (value * targets[rows]).square()

    class Nothing:
        def plan(self, seen: object) -> object:
            return None

        def then(self, other: object) -> object:
            return other

    value, targets = torch.tensor(3.0, requires_grad=True), torch.arange(7.0)
    rows, gradients = torch.tensor([0, 2, 3, 5, 6]), []
    for part in (1, 2, 5):
        value.grad = None
        error = add_gradients(Nothing(), Squares(), Nothing(), rows, part, None)
        assert error == pytest.approx(9 * (0 + 4 + 9 + 25 + 36) / 5)
        gradients.append(float(value.grad))
    assert gradients == pytest.approx([6 * (0 + 4 + 9 + 25 + 36) / 5] * 3)


def test_a_unit_that_memory_does_not_hold_for_one_sample_ends_with_its_name(task, monkeypatch):
    def errors(*_: object) -> Tensor:
        raise RuntimeError("CUDA out of memory.")

    monkeypatch.setattr(UnitSamples, "errors", errors)
    with pytest.raises(MemoryError, match="step of `conv1` needs more memory for one sample"):
        quantize(task, "adaround", **FEW)


def test_other_errors_in_a_unit_are_not_taken_for_exhausted_memory(task, monkeypatch):
    def errors(*_: object) -> Tensor:
        raise RuntimeError("something else")

    monkeypatch.setattr(UnitSamples, "errors", errors)
    with pytest.raises(RuntimeError, match="something else"):
        quantize(task, "adaround", **FEW)


@pytest.mark.parametrize("error", EXHAUSTED)
@pytest.mark.parametrize("method", ["gptq", "gpfq"])
def test_inputs_are_unfolded_in_parts_and_give_the_same_weights(task, method, error, monkeypatch):
    whole, _ = quantize(task, method, batch_size=16)
    plain = Unfolding.rows

    def rows(self: Unfolding, z: Tensor) -> Tensor:
        if self.places is not None and len(z) > 5:
            raise error
        return plain(self, z)

    monkeypatch.setattr(Unfolding, "rows", rows)
    found, notes = quantize(task, method, batch_size=16)
    said = [note for note in notes if note.startswith("Memory did not suffice: inputs of `conv1`")]
    assert [re.search(r"(\d+) samples at a time", note)[1] for note in said] == ["8", "4"]
    for name, values in whole.weight_values.items():
        torch.testing.assert_close(found.weight_values[name], values)


@pytest.mark.parametrize("method", ["gptq", "gpfq"])
def test_products_that_memory_does_not_hold_end_with_their_size(task, method, monkeypatch):
    def rows(*_: object) -> Tensor:
        raise RuntimeError("CUDA out of memory.")

    monkeypatch.setattr(Unfolding, "rows", rows)
    with pytest.raises(MemoryError, match="Products of the 27 inputs of `conv1` must fit"):
        quantize(task, method)
