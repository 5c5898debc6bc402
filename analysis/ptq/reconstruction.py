"""Reconstruction: one layer or block after the other is trained towards its float outputs."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from analysis.events import Note, Progress, Work, held_at
from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.notes import left_out
from analysis.options import Options
from analysis.ptq.frontier import Frontier
from analysis.ptq.nearest import nearest
from analysis.ptq.student import Student
from analysis.ptq.task import PTQTask
from analysis.ptq.trained import from_arrays, to_arrays
from analysis.ptq.training import stopped
from analysis.ptq.unit_log import COLUMNS, said
from analysis.ptq.unit_samples import UnitSamples
from analysis.ptq.unit_training import Course, train_unit
from analysis.ptq.units import Unit, own_tensors, units_of
from analysis.ptq.wording import mebibytes
from analysis.quant.configure import Quantization, plan_of

_BATCH = 64


def reconstruct(task: PTQTask, course: Course) -> Work[Quantization]:
    r"""Round to nearest, then train one unit after the other behind the quantized ones before it.

    The loss of a batch is the mean of :math:`\sum_i w_i (\hat z_i - z_i)^2` over the elements of
    the unit's output, behind the activation function that follows; :math:`\hat z` is what the unit
    makes of inputs from the quantized network, z what the float network has there. Roundings are
    fixed one after the other, the surest first, until all are decided. An eighth of the samples, at
    most 128, is held out: a unit whose error there (on all samples, where none is held out) is not
    below that of rounding to nearest stays rounded to nearest. A loss that is no longer finite ends
    the training with the units before.

    Finished units are kept in the task's parts, so that an interrupted run ends with the same.
    """
    found = yield from held_at(nearest(task, Options()), 0, 1)
    units, reasons = units_of(task.network, found, course.units)
    if not units:
        yield Note("No weight is quantized that can be trained: nothing is trained.")
        yield from left_out("trained, but rounded to nearest", reasons)
        return found
    work = _Reconstruction(task, course, found, units)
    yield from work.resume()
    whole = len(units) * course.iterations
    yield from held_at(work.weigh(), len(work.log) * course.iterations, whole)
    broken = ""
    while len(work.log) < len(units) and not broken:
        broken = yield from work.train(len(work.log))
    yield from said(work.log, task.network.table.names, len(work.held_out), n=task.n)
    if work.again:
        yield Note(
            f"Activations of {len(work.again)} of {len(units)} units, {work.again[0]} first, do "
            f"not fit {mebibytes(course.memory_mib)}, or the model's code reads values of "
            "tensors: they are computed again for every batch."
        )
    if broken:
        yield Note(broken)
    yield from left_out("trained, but rounded to nearest", reasons)
    log = np.array(work.log).reshape(-1, len(COLUMNS))
    return replace(found, log=log, logged=COLUMNS)


@dataclass(slots=True)
class _Reconstruction:
    """Where a reconstruction stands; ``found`` is changed unit by unit."""

    task: PTQTask
    course: Course
    found: Quantization
    units: tuple[Unit, ...]
    log: list[list[float]] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    count: int = 0
    held_out: range = range(0)
    x: Tensor = field(default_factory=lambda: torch.empty(0))
    fronts: tuple[Frontier, ...] = ()
    importance: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.task.n
        self.count = n - min(128, n // 8)
        self.held_out = range(self.count, n) if self.count < n else range(n)
        batches = [range(i, min(i + _BATCH, n)) for i in range(0, n, _BATCH)]
        self.x = torch.cat([self.task.inputs(each) for each in batches])
        self.fronts = Frontier(self.network, self.x), Frontier(self.network, self.x)

    @property
    def network(self) -> Network:
        return self.task.network

    def resume(self) -> Work[None]:
        """Take over the units that an interrupted run finished."""
        parts = self.task.parts
        kept = None if parts is None else parts.load("units")
        if parts is None or kept is None:
            return
        for at, row in enumerate(kept["log"].tolist()):
            arrays = parts.load(f"unit.{at}")
            if arrays is None:
                break
            self._take(self.units[at], dict(arrays))
            self.log.append(row)
        if self.log:
            yield Note(f"Goes on after {len(self.log)} of {len(self.units)} units.")

    def weigh(self) -> Work[None]:
        """Compute the errors' weights for all units that are left at once, where they fit."""
        units = self.units[len(self.log) :]
        # Counts finished units too, so that a resumed run decides the same.
        sizes = sum(self._mib(unit) for unit in self.units)
        fisher = self.course.fisher
        if fisher is None or not units or sizes > self.course.memory_mib / 2:
            return
        calls = tuple(dict.fromkeys(unit.stop for unit in units))
        found: list[list[Tensor]] = []
        for rows in torch.split(torch.arange(self.task.n), _BATCH):
            found.append(fisher.of(self.network, calls, self.x, rows))
            yield Progress(int(rows[0]), self.task.n, "how much errors count")
        columns = [torch.cat(column) for column in zip(*found, strict=True)]
        self.importance = dict(zip(calls, columns, strict=True))

    def train(self, at: int) -> Work[str]:
        """Train a unit, keep it and log it; return what broke, if something did."""
        unit, course, total = self.units[at], self.course, len(self.units)
        whole = total * course.iterations
        samples = yield from held_at(self._samples(unit), at * course.iterations, whole)
        start = self._part(unit)
        student = Student.of(self.network, start, self.task.settings)
        around = self._plan(unit, without=set(student.steps))
        done = yield from train_unit(student, samples, around, course, at, total, self.count)
        broken = student.broken or ("its output" if done < course.iterations else "")
        if broken:
            where = f"at {unit.name} after {done:,} of {course.iterations:,} iterations"
            said = stopped(where, broken, done)
            return f"{said} The unit and what follows stay rounded to nearest."
        self._finish(at, samples, student, start)
        yield Progress((at + 1) * course.iterations, total * course.iterations, unit.name)
        return ""

    def _samples(self, unit: Unit) -> Work[UnitSamples]:
        quantized, plain = self.fronts
        weighted = self.course.fisher is not None and unit.stop not in self.importance
        need = quantized.mib(unit.start) + plain.mib(unit.start) + (1 + weighted) * self._mib(unit)
        need += sum(z.numel() * z.element_size() for z in self.importance.values()) / 2**20
        keep = self.network.can_resume and need <= self.course.memory_mib
        if not keep:
            self.again.append(unit.name)
            quantized, plain = Frontier(self.network, self.x), Frontier(self.network, self.x)
        samples = UnitSamples(unit, quantized, plain, self.course.fisher)
        plan = plan_of(self.network, self.found, self.task.settings)
        known = self.importance.pop(unit.stop, None)
        yield from samples.gather(plan, keep=keep, importance=known)
        return samples

    def _finish(self, at: int, samples: UnitSamples, student: Student, start: Quantization) -> None:
        """Keep what was trained, or rounding to nearest where that is as good."""
        unit = self.units[at]
        before, size = self._error(samples)
        made = replace(student.hardened(start), biases={})
        moved, numbers = student.moved, [self.network.weight(own).numel() for own in unit.layers]
        share = sum(moved[own.name] * n for own, n in zip(unit.layers, numbers, strict=True))
        arrays = to_arrays(self.network, made)
        self._take(unit, arrays)
        after, _ = self._error(samples)
        better = after < before
        if not better:
            arrays = to_arrays(self.network, start)
            self._take(unit, arrays)
        first = self.network.table.names.index(unit.layers[0].name)
        relative = [(error / size) ** 0.5 if size > 0 else 0.0 for error in (before, after)]
        row = [first, len(unit.layers), *relative, share / sum(numbers), float(better)]
        self.log.append(row)
        if self.task.parts is not None:
            self.task.parts.save(f"unit.{at}", {n: a.astype(float) for n, a in arrays.items()})
            self.task.parts.save("units", {"log": np.array(self.log)})

    def _error(self, samples: UnitSamples) -> tuple[float, float]:
        """Return the summed error on the held-out samples, and that of an output of zeros."""
        plan = self._plan(samples.unit, without=set())
        error = size = 0.0
        for rows in torch.split(torch.tensor(self.held_out), _BATCH):
            with torch.no_grad():
                error += float(samples.errors(rows, plan).double().sum())
                size += float(samples.sizes(rows).double().sum())
        return error, size

    def _part(self, unit: Unit) -> Quantization:
        """Return the quantizers of a unit alone."""
        own = own_tensors(self.network, unit, self.task.settings.scope)
        activations = {
            t.id: self.found.activations[t.id] for t in own if t.id in self.found.activations
        }
        names = [layer.name for layer in unit.layers]
        return Quantization(
            weights={name: self.found.weights[name] for name in names}, activations=activations
        )

    def _plan(self, unit: Unit, *, without: set[int]) -> Plan:
        """Return the plan of the quantized network up to a unit's end, which is left as it is."""
        activations = {i: own for i, own in self.found.activations.items() if i not in without}
        plan = plan_of(
            self.network, replace(self.found, activations=activations), self.task.settings
        )
        outputs = {slot: own for slot, own in plan.outputs.items() if slot[0] < unit.stop}
        return replace(plan, outputs=outputs)

    def _take(self, unit: Unit, arrays: dict[str, np.ndarray]) -> None:
        made = from_arrays(self.network, self._part(unit), arrays)
        self.found.weights |= made.weights
        self.found.weight_values |= made.weight_values
        self.found.activations |= made.activations

    def _mib(self, unit: Unit) -> float:
        """Return the memory of a unit's outputs on all samples, in MiB."""
        shape = self.network.trace.calls[unit.stop].shapes[0]
        each = torch.Size(shape).numel() / self.network.trace.batch
        return each * self.task.n * self.x.element_size() / 2**20
