"""What holds of every metric that multiplies gradients of the labelled loss with errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.errors import DataError, QuantizationError
from analysis.sensitivity import METRICS
from tests.reference import curvature as oracle
from tests.reference.sensitivity import demo_task
from tests.reference.work import CountedParts, finish

PER_SAMPLE = ("fisher_output", "gauss_newton")
every = pytest.mark.parametrize("metric", [*PER_SAMPLE, "gradient_l1"])


def work(metric, task, **options):
    method = METRICS[metric]
    return method.function(task, method.options(**options))


def scores(metric, task, **options):
    return finish(work(metric, task, **options))


@every
def test_the_float_candidate_and_a_layer_that_is_not_read_score_exactly_zero(metric):
    x, y = oracle.samples(6, 6, classes=3)
    found = scores(metric, oracle.double_task(oracle.Spare(), x, y, "float", "w2a2"))
    place = found.layers.index("spare")
    assert (found.values[:, 0] == 0).all()
    assert found.values[place, 1] == 0
    assert (np.delete(found.values[:, 1], place) > 0).all()


@every
@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_the_batch_size_does_not_matter(metric, name):
    task = oracle.labelled_demo(name, 5, "w3a4")
    one, many = (scores(metric, task, batch_size=size) for size in (1, 5))
    # Squares of small float32 products lose digits.
    assert np.allclose(one.values, many.values, rtol=1e-2, atol=1e-7)
    if metric in PER_SAMPLE:
        assert np.allclose(one.per_sample, many.per_sample, rtol=1e-2, atol=1e-7)


@every
def test_permuting_the_samples_permutes_the_rows_and_changes_no_score(metric):
    x, y = oracle.samples(6, 5, classes=3)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    model = oracle.mlp(5, 4, 3)
    one, other = (
        scores(metric, oracle.double_task(model, x[o], y[o], "w3a4"), batch_size=4)
        for o in (torch.arange(6), order)
    )
    assert np.allclose(one.values, other.values, rtol=1e-9)
    if metric in PER_SAMPLE:
        assert np.allclose(one.per_sample[order.numpy()], other.per_sample, rtol=1e-9)


@every
@pytest.mark.parametrize("kept", [1, 2])
def test_an_interrupted_computation_goes_on_where_it_stopped(metric, kept):
    whole = scores(metric, oracle.labelled_demo("digits-resnet", 5, "w4a8"), batch_size=2)
    parts = CountedParts()
    task = oracle.labelled_demo("digits-resnet", 5, "w4a8", parts=parts)
    asked: list[range] = []
    inputs = task.samples.inputs
    counted = replace(task.samples, inputs=lambda r: asked.append(r) or inputs(r))
    task = replace(task, samples=counted)
    begun = work(metric, task, batch_size=2)
    while len(parts.saved) < kept:
        next(begun)
    begun.close()
    done = len(asked)
    resumed = scores(metric, task, batch_size=2)
    assert asked[:done] == [range(0, 2), range(2, 4)][:kept]
    assert asked[done:] == [range(0, 2), range(2, 4), range(4, 5)][kept:]
    assert len(parts.saved) == 3
    assert np.array_equal(resumed.values, whole.values)
    if metric in PER_SAMPLE:
        assert np.array_equal(resumed.per_sample, whole.per_sample)


@every
def test_labels_and_candidates_are_required(metric):
    with pytest.raises(DataError, match=f"`{metric}` needs labels"):
        scores(metric, demo_task("digits-resnet", 2, "w4a8"))
    with pytest.raises(QuantizationError, match="name at least one"):
        scores(metric, oracle.labelled_demo("digits-resnet", 2))
