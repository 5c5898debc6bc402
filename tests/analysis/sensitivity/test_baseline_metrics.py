from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from analysis.allocation import build_problem, solve
from analysis.allocation.milp import MilpOptions
from analysis.errors import QuantizationError
from analysis.models.vision_ops import import_torchvision
from analysis.records import Budget
from analysis.sensitivity.parameter_count import ParameterCountOptions, parameter_count
from analysis.sensitivity.random_scores import RandomOptions, random_scores
from analysis.sensitivity.size_only import SizeOnlyOptions, size_only
from tests.reference.allocation import make_scores, make_table
from tests.reference.sensitivity import demo_task
from tests.reference.work import finish

BASELINES = [
    (size_only, SizeOnlyOptions()),
    (parameter_count, ParameterCountOptions()),
    (random_scores, RandomOptions()),
]


def chosen(problem):
    allocation = solve(problem, "milp", MilpOptions()).allocation.as_dict()
    return [allocation[name].text for name in problem.table.names]


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_size_only_scores_the_bits_below_the_widest_in_every_layer(name):
    found = finish(size_only(demo_task(name, 2, "w2a8", "w8a2", "w4a4"), SizeOnlyOptions()))
    assert (found.values == [6, 0, 4]).all()
    assert found.layers == demo_task(name, 2).network.table.names
    wide = finish(size_only(demo_task(name, 2, "w2a8", "float"), SizeOnlyOptions()))
    assert (wide.values == [30, 0]).all()


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_parameter_count_is_weights_times_a_quarter_for_every_bit(name):
    task = demo_task(name, 2, "w2a8", "w4a2", "wfloata2")
    found = finish(parameter_count(task, ParameterCountOptions()))
    for layer, row in zip(task.network.table.layers, found.values, strict=True):
        count = task.network.weight(layer).numel()
        assert row.tolist() == [count / 16, count / 256, 0]


def test_random_scores_are_a_seeded_number_per_layer_that_falls_with_the_bits():
    task = demo_task("digits-resnet", 2, "w2a8", "w8a2", "w4a4")
    found = finish(random_scores(task, RandomOptions(seed=3)))
    drawn = found.values[:, 0] / 0.75
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert len(set(drawn)) == len(drawn)
    assert np.allclose(found.values, np.outer(drawn, [0.75, 0, 0.5]))
    assert np.array_equal(found.values, finish(random_scores(task, RandomOptions(seed=3))).values)
    other = finish(random_scores(task, RandomOptions(seed=4)))
    assert not np.isclose(found.values[:, 0], other.values[:, 0]).any()
    assert (found.seed, found.exact) == (3, False)


def test_random_scores_of_many_seeds_are_uniform():
    task = demo_task("digits-resnet", 2, "w2a8", "w4a8")
    drawn = [finish(random_scores(task, RandomOptions(seed=s))).values[:, 0] for s in range(60)]
    values = np.sort(np.concatenate(drawn) * 2)
    even = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(values - even).max() < 1.63 / len(values) ** 0.5  # Kolmogorov, 1 %.
    assert np.abs(np.corrcoef(np.array(drawn))[np.triu_indices(60, 1)]).mean() < 0.3


@pytest.mark.parametrize(("metric", "options"), BASELINES)
def test_baselines_read_no_sample(metric, options):
    task = demo_task("digits-resnet", 2, "w4a8")

    def refuse(numbers):
        raise AssertionError("a sample was read")

    blind = replace(task, samples=replace(task.samples, inputs=refuse))
    found = finish(metric(blind, options))
    assert found.n == found.forward_passes == found.backward_passes == 0
    assert np.array_equal(found.values, finish(metric(task, options)).values)


@pytest.mark.parametrize(("metric", "options"), BASELINES)
def test_baselines_need_candidates(metric, options):
    with pytest.raises(QuantizationError, match="name at least one"):
        finish(metric(demo_task("digits-resnet", 2), options))


def test_with_size_only_a_solver_takes_bits_from_the_largest_layers():
    row = finish(
        size_only(demo_task("digits-resnet", 2, "w2a8", "w3a8", "w4a8"), SizeOnlyOptions())
    )
    weights = [50, 900, 30, 400, 10, 700]
    table = make_table(weights)
    scores = make_scores(table, "w2a8 w3a8 w4a8", np.tile(row.values[0], (6, 1)))
    # Four bits in all, and no other four save as much.
    bits = {1: 2, 5: 2}
    limit = sum(w * bits.get(i, 4) for i, w in enumerate(weights)) / sum(weights)
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=limit)])
    assert chosen(problem) == [f"w{bits.get(i, 4)}a8" for i in range(6)]


def test_size_only_reproduces_the_published_bits_of_mobilenet_v2():
    """Every layer at 4 bits but the classifier at 3: the 1.5 MB vector of arXiv:2109.07865."""
    with torch.device("meta"):
        model = import_torchvision().models.mobilenet_v2(weights=None)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    weights = [m.weight.numel() for m in layers]
    assert (len(weights), weights[-1]) == (53, 1_280_000)
    found = finish(
        size_only(demo_task("digits-resnet", 2, "w2a8", "w3a8", "w4a8"), SizeOnlyOptions())
    )
    table = make_table(weights)
    scores = make_scores(table, "w2a8 w3a8 w4a8", np.tile(found.values[0], (53, 1)))
    limit = (4 * sum(weights) - weights[-1] + 1) / sum(weights)
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=limit)])
    assert chosen(problem) == ["w4a8"] * 52 + ["w3a8"]
