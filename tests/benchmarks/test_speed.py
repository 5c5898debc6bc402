"""Ratios to what cannot be avoided, measured side by side in one run: `make bench`."""

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import pytest
import torch

from analysis.models.network import Network, build_network
from analysis.quant.configure import plan_of, quantize_nearest
from analysis.quant.statistics import ActivationStatistics, collect_statistics
from analysis.records import Allocation, Candidate, QuantSettings
from analysis.sensitivity import METRICS, SensitivityTask
from analysis.sensitivity.task import NoParts, Samples
from tests.benchmarks.plain_resnet20 import (
    backward_to_activations,
    folded,
    gradient_per_layer_and_probe,
    suffixes,
)
from tests.reference.cifar_resnet20 import CifarResNet20
from tests.reference.work import finish as finished

CANDIDATES = tuple(Candidate.parse(c) for c in ("w2a8", "w4a8", "w8a8"))
BATCH = 32


@pytest.fixture(scope="module")
def model() -> CifarResNet20:
    torch.manual_seed(0)
    model = CifarResNet20().eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def x():
    return torch.randn(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def network(model, x) -> Network:
    return build_network(model, x[:2])


@pytest.fixture(scope="module")
def statistics(network, x) -> ActivationStatistics:
    return finished(collect_statistics(network, lambda: iter([x]), 1))


@pytest.fixture(scope="module")
def plain(model) -> CifarResNet20:
    twin = CifarResNet20().eval()
    twin.load_state_dict(model.state_dict())
    return folded(twin)


def task(network, statistics, x, candidates) -> SensitivityTask:
    return SensitivityTask(
        network=network,
        samples=Samples(lambda batch: x[batch.start : batch.stop], len(x)),
        candidates=candidates,
        settings=QuantSettings(weight_range="min_max", activation_range="min_max"),
        statistics=statistics,
        parts=NoParts(),
    )


def ratio(benchmark, ours: Callable[[], object], bound: Callable[[], object], rounds: int) -> float:
    """Median of ours/bound over interleaved pairs, after two warm-up pairs."""
    pairs = []
    for number in range(rounds + 2):
        times = []
        for run in (ours, bound):
            begin = perf_counter()
            run()
            times.append(perf_counter() - begin)
        if number >= 2:
            pairs.append(times[0] / times[1])
    benchmark.extra_info["ratio to bound"] = round(median(pairs), 3)
    benchmark.extra_info["ratios"] = [round(p, 3) for p in sorted(pairs)]
    benchmark.pedantic(ours, rounds=3, iterations=1)
    print(f"\nratio to bound: {median(pairs):.3f} ({min(pairs):.3f} to {max(pairs):.3f})")
    return median(pairs)


def test_attention_scores_cost_little_more_than_their_backward_passes(
    benchmark, network, statistics, plain, x
):
    method = METRICS["hessian_attention"]
    job = task(network, statistics, x, ())
    found = ratio(
        benchmark,
        lambda: finished(method.function(job, method.options())),
        lambda: backward_to_activations(plain, x, 10),
        rounds=9,
    )
    assert found <= 1.25


def test_output_divergence_costs_little_more_than_the_suffix_passes(
    benchmark, network, statistics, plain, x
):
    method = METRICS["output_kl"]
    job = task(network, statistics, x, CANDIDATES)
    cuts = suffixes(plain, x)

    def bound():
        with torch.no_grad():
            for cut in cuts:
                for _ in CANDIDATES:
                    cut()

    found = ratio(
        benchmark, lambda: finished(method.function(job, method.options())), bound, rounds=5
    )
    assert found <= 1.3


def test_a_fake_quantized_pass_costs_little_more_than_a_float_pass(
    benchmark, network, statistics, plain, x
):
    settings = QuantSettings(weight_range="min_max", activation_range="min_max")
    w8a8 = Candidate.parse("w8a8")
    allocation = Allocation(
        layers=network.table.names, candidates=(w8a8,) * len(network.table.layers)
    )
    quantization = quantize_nearest(network, allocation, statistics, settings)
    plan = plan_of(network, quantization, settings)

    def quantized():
        with torch.no_grad():
            network(x, plan)

    def floating():
        with torch.no_grad():
            plain(x)

    assert ratio(benchmark, quantized, floating, rounds=25) <= 1.5


def test_the_replayed_network_costs_little_more_than_the_module(benchmark, network, plain, x):
    def replayed():
        with torch.no_grad():
            network(x)

    def floating():
        with torch.no_grad():
            plain(x)

    assert ratio(benchmark, replayed, floating, rounds=25) <= 1.2


def test_attention_is_several_times_faster_than_a_gradient_call_per_layer_and_probe(
    benchmark, network, statistics, plain, x
):
    method = METRICS["hessian_attention"]
    job = task(network, statistics, x, ())
    options = method.options(probes=9)  # fewer than classes: the same random signs as the loop
    found = ratio(
        benchmark,
        lambda: finished(method.function(job, options)),
        lambda: gradient_per_layer_and_probe(plain, x, 9),
        rounds=5,
    )
    assert found <= 1 / 6


def test_five_isolated_metrics_cost_little_more_than_one(benchmark, network, statistics, x):
    labels = torch.arange(BATCH).remainder(10).numpy()

    def run(*names: str) -> None:
        done: dict[str, object] = {}

        def shared(name, record, compute, own):
            if name not in done:
                done[name] = yield from compute(own)
            return done[name]

        job = task(network, statistics, x, CANDIDATES)
        job = replace(job, shared=shared, samples=replace(job.samples, labels=labels))
        for name in names:
            method = METRICS[name]
            finished(method.function(job, method.options()))

    five = ("output_kl", "output_sqnr", "loss_increase", "accuracy_drop", "weight_mse")
    found = ratio(benchmark, lambda: run(*five), lambda: run("output_kl"), rounds=5)
    assert found <= 1.5


def test_orthogonality_costs_little_more_than_a_forward_pass_and_its_products(
    benchmark, network, statistics, plain, x
):
    method = METRICS["orthogonality"]
    job = task(network, statistics, x, ())
    outputs: list[torch.Tensor] = []
    hooks = [
        m.register_forward_hook(lambda _m, _i, z: outputs.append(z.flatten(1)))
        for m in plain.modules()
        if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)
    ]

    def bound():
        outputs.clear()
        with torch.no_grad():
            plain(x)
            for z in outputs:
                exact = z.double()
                exact @ exact.T

    try:
        found = ratio(
            benchmark, lambda: finished(method.function(job, method.options())), bound, rounds=9
        )
    finally:
        for hook in hooks:
            hook.remove()
    assert found <= 1.3
