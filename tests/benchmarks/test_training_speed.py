"""Training beside what it cannot avoid: `make bench`."""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest
import torch

from analysis.models.network import build_network
from analysis.options import Options, build
from analysis.ptq import PTQ_METHODS
from analysis.ptq.importance import importance
from analysis.ptq.nearest import nearest
from analysis.ptq.schedule import Schedule
from analysis.ptq.student import Student
from analysis.ptq.teacher import Teacher
from analysis.ptq.trainer import Course, Rates, Trainer
from analysis.records import QuantSettings
from tests.benchmarks.plain_resnet20 import folded
from tests.benchmarks.test_speed import ratio
from tests.reference.cifar_resnet20 import CifarResNet20
from tests.reference.quantizing import task_of
from tests.reference.work import finish

BATCH, N = 32, 256
ROOT = Path(__file__).parents[2]


def resnet20() -> CifarResNet20:
    torch.manual_seed(0)
    return CifarResNet20().eval().requires_grad_(False)


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def task(n: int, text: str = "w4a8"):
    network = build_network(resnet20(), images(2))
    return task_of(network, images(n), text, QuantSettings())


def test_a_step_costs_little_more_than_the_passes_of_student_and_teacher(benchmark):
    job = task(N)
    start = finish(nearest(job, Options()))
    student = Student.of(job.network, start, job.settings)
    calls = [layer.calls[0] for layer in job.network.table.layers]
    teacher = Teacher(job.network, calls, job.inputs, N, 1024)
    finish(teacher.work())
    weights = finish(importance(teacher, "balanced", probes=10, seed=0, memory_mib=0))
    course = Course(Schedule(1000), Rates(3e-2, 1e-3, 1e-3, 1e-3), BATCH, seed=0)
    trainer = Trainer(student, teacher, weights, course, N)
    twin = folded(resnet20()).requires_grad_(True)
    x = images(BATCH)

    def bound():
        twin.zero_grad(set_to_none=True)
        torch.autograd.backward(twin(x).square().sum())
        teacher.outputs(torch.arange(BATCH))

    found = ratio(benchmark, lambda: trainer.step(300), bound, rounds=15)
    assert found <= 1.5


def test_a_training_needs_at_most_three_times_the_memory_of_a_float_one(benchmark):
    def peak(kind: str) -> float:
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("training_memory.py"), kind],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout)

    plain, ours = peak("float"), peak("eptq")
    print(f"\npeak {ours:.0f} MiB, float training {plain:.0f} MiB: {ours / plain:.2f}")
    benchmark.extra_info["ratio to bound"] = round(ours / plain, 3)
    benchmark.pedantic(lambda: None)
    assert ours <= 3 * plain


@pytest.mark.parametrize("name", ["gptq", "gpfq", "adaround"])
def test_every_layer_of_resnet_20_is_rounded_by_1024_images_within_a_minute(benchmark, name):
    job = task(1024)
    method = PTQ_METHODS[name]
    finish(nearest(job, Options()))
    begin = perf_counter()
    finish(method.function(job, build(method.options, {})))
    seconds = perf_counter() - begin
    print(f"\n{name}: {seconds:.1f} s")
    benchmark.pedantic(lambda: None)
    assert seconds < 60


def test_two_thousand_steps_end_within_six_minutes(benchmark):
    steps = 100
    job = task(1024, "w2a8")
    method = PTQ_METHODS["eptq"]

    def seconds(count: int) -> float:
        begin = perf_counter()
        finish(method.function(job, build(method.options, {"steps": count})))
        return perf_counter() - begin

    # As many looks in both, so that the difference is steps alone.
    short, long = seconds(40), seconds(40 + steps)
    whole = short + (2000 - 40) * (long - short) / steps
    print(f"\n{(long - short) / steps:.3f} s a step, 2,000 steps in {whole:.0f} s")
    benchmark.pedantic(lambda: None)
    assert whole < 360
