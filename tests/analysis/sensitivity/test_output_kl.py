from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.errors import QuantizationError
from analysis.records import QuantSettings
from analysis.sensitivity.output_kl import OutputKLOptions, output_kl
from analysis.sensitivity.outputs import kl_divergence
from tests.reference import attention as oracle
from tests.reference.sensitivity import SETTINGS, demo_task, folded_copy, isolated_logits
from tests.reference.work import CountedParts, finish

LAYER_INPUT = QuantSettings(scope="layer_input", weight_range="min_max", activation_range="min_max")


def scores(task, **options):
    return finish(output_kl(task, OutputKLOptions(**options)))


def test_the_divergence_is_that_of_the_definition():
    a, b = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)) * 3
    assert kl_divergence(a, b).tolist() == pytest.approx(oracle.output_kl(a, b), rel=1e-9)
    assert kl_divergence(a, a).tolist() == [0.0] * 5
    assert kl_divergence(a, a + 7.0).abs().max() < 1e-6
    extreme = torch.tensor([[2000.0, -2000.0]])
    assert float(kl_divergence(extreme, -extreme)) == pytest.approx(4000.0)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_scores_equal_full_forward_passes_for_every_layer_and_candidate(name):
    task = demo_task(name, 4, "w2a8", "w3a3", "wfloata2", settings=LAYER_INPUT)
    found = scores(task)
    with torch.no_grad():
        plain = folded_copy(task.network)(task.inputs(range(4)))
    for i, layer in enumerate(task.network.table.layers):
        for c, candidate in enumerate(task.candidates):
            values = oracle.output_kl(plain, isolated_logits(task, layer, candidate))
            assert found.values[i, c] == pytest.approx(np.mean(values), rel=2e-2, abs=2e-6)
            error = np.std(values, ddof=1) / 2
            assert found.stderr[i, c] == pytest.approx(error, rel=2e-2, abs=2e-6)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_resumed_passes_equal_whole_ones_where_every_reader_sees_the_tensor(name):
    task = demo_task(name, 3, "w4a3")
    found = scores(task)
    plans = _plans(task)
    x = task.inputs(range(3))
    with torch.no_grad():
        plain = task.network(x)
        for i, layer in enumerate(task.network.table.layers):
            whole = task.network(x, plans.plan(layer, task.candidates[0]))
            expected = float(kl_divergence(plain, whole).mean())
            assert found.values[i, 0] == expected


def _plans(task):
    from analysis.sensitivity.isolated import IsolatedPlans

    return IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)


def test_the_float_candidate_scores_exactly_zero():
    found = scores(demo_task("digits-resnet", 3, "float", "w4a8"))
    assert (found.values[:, 0] == 0).all()
    assert (found.stderr[:, 0] == 0).all()
    assert (found.values[:, 1] > 0).all()
    assert found.per_sample_unit == "nats at w4a8"


def test_the_batch_size_does_not_matter():
    task = demo_task("digits-resnet", 5, "w3a4")
    one, many = scores(task, batch_size=1), scores(task, batch_size=5)
    assert np.allclose(one.values, many.values, rtol=1e-2, atol=1e-6)


def test_candidates_are_required():
    with pytest.raises(QuantizationError, match="name at least one"):
        scores(demo_task("digits-resnet", 2))


def test_an_interrupted_computation_goes_on_where_it_stopped_and_gives_the_same_numbers():
    whole = scores(demo_task("digits-resnet", 5, "w4a8"), batch_size=2)
    parts = CountedParts()
    task = demo_task("digits-resnet", 5, "w4a8", parts=parts)
    asked: list[range] = []
    inputs = task.samples.inputs
    counted = replace(task.samples, inputs=lambda r: asked.append(r) or inputs(r))
    task = replace(task, samples=counted)
    work = output_kl(task, OutputKLOptions(batch_size=2))
    while len(parts.saved) < 2:
        next(work)
    next(work)  # Closed inside the third batch.
    work.close()
    resumed = scores(task, batch_size=2)
    assert parts.saved == ["batch-0", "batch-1", "batch-2"]
    assert parts.loaded == ["batch-0", "batch-1"]
    assert asked.count(range(0, 2)) == asked.count(range(2, 4)) == 1
    assert np.array_equal(resumed.values, whole.values)
    assert np.array_equal(resumed.per_sample, whole.per_sample)


def test_a_tensor_with_several_readers_is_noted_where_all_of_them_see_it():
    assert any(
        "several layers" in note for note in scores(demo_task("digits-resnet", 2, "w4a8")).notes
    )
    task = demo_task("digits-resnet", 2, "w4a8", settings=LAYER_INPUT)
    assert scores(task).notes == ()
    assert SETTINGS.scope == "tensor"
