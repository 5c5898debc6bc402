from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.errors import DataError, QuantizationError
from analysis.records import OutputChanges, QuantSettings
from analysis.sensitivity import METRICS
from analysis.sensitivity.output_kl import OutputKLOptions
from analysis.sensitivity.outputs import increments, output_changes
from analysis.sensitivity.task import SensitivityTask
from tests.reference.outputs import logits_with, measured
from tests.reference.sensitivity import demo_task
from tests.reference.work import CountedParts, finish

LAYER_INPUT = QuantSettings(scope="layer_input", weight_range="min_max", activation_range="min_max")
NAMES = ("output_kl", "output_sqnr", "loss_increase", "accuracy_drop")
LABELS = np.array([3, 1, 4, 1, 5, 9])


def scores(task, metric, **options):
    method = METRICS[metric]
    return finish(method.function(task, method.options(**options)))


def task_of(*texts: str, n: int = 6, model: str = "digits-mobilenet", **more) -> SensitivityTask:
    return demo_task(model, n, *texts, labels=LABELS[:n], settings=LAYER_INPUT, **more)


def expected(task, accumulated: bool) -> dict[str, np.ndarray]:
    """Scores (N, L, C) of the three label metrics and the logits' noise by full forwards."""
    plain = logits_with(task, [], task.candidates[0])
    at_first = measured(plain, task.samples.labels)
    shape = (task.n, len(task.network.table.layers), len(task.candidates))
    rows = {name: np.zeros(shape) for name in ("loss", "correct", "error")}
    for c, candidate in enumerate(task.candidates):
        before = {**{k: np.array(v) for k, v in at_first.items()}, "error": np.zeros(task.n)}
        for i in range(shape[1]):
            places = list(range(i + 1)) if accumulated else [i]
            logits = logits_with(task, places, candidate)
            now = {k: np.array(v) for k, v in measured(logits, task.samples.labels).items()}
            now["error"] = (logits - plain).double().square().mean(1).numpy()
            for name in rows:
                rows[name][:, i, c] = now[name] - before[name]
            if accumulated:
                before = now
    rows["error"] /= float(plain.double().square().mean())
    rows["correct"] *= -100
    return rows


@pytest.mark.parametrize("protocol", ["isolated", "accumulated"])
def test_scores_equal_full_forward_passes(protocol):
    task = task_of("w2a8", "w4a4")
    rows = expected(task, protocol == "accumulated")
    for metric, name in (
        ("loss_increase", "loss"),
        ("accuracy_drop", "correct"),
        ("output_sqnr", "error"),
    ):
        found = scores(task, metric, protocol=protocol)
        assert found.protocol == protocol
        assert np.allclose(found.values, rows[name].mean(0), rtol=2e-2, atol=1e-5)
        assert np.allclose(
            found.stderr, rows[name].std(0, ddof=1) / task.n**0.5, rtol=2e-2, atol=1e-5
        )


@pytest.mark.parametrize("metric", ["output_kl", "loss_increase"])
def test_accumulated_scores_sum_to_the_wholly_quantized_network(metric):
    task = task_of("w3a4", model="digits-resnet")
    found = scores(task, metric, protocol="accumulated")
    whole = logits_with(task, list(range(len(found.layers))), task.candidates[0])
    plain = logits_with(task, [], task.candidates[0])
    if metric == "output_kl":
        p, q = plain.double().log_softmax(1), whole.double().log_softmax(1)
        total = float((p.exp() * (p - q)).sum(1).mean())
    else:
        losses = [np.mean(measured(z, LABELS)["loss"]) for z in (whole, plain)]
        total = losses[0] - losses[1]
    assert found.values.sum() == pytest.approx(total, rel=2e-2, abs=1e-5)


def test_increments_are_differences_from_the_float_network_or_the_layer_before():
    rows = np.array([[[1.0], [4.0], [2.0]]])
    start = np.array([0.5])
    assert increments(rows, start, "isolated").ravel().tolist() == [0.5, 3.5, 1.5]
    assert increments(rows, start, "accumulated").ravel().tolist() == [0.5, 3.0, -2.0]


@pytest.mark.parametrize("metric", NAMES)
def test_the_batch_size_does_not_matter_and_permuted_samples_permute_rows(metric):
    task = task_of("w3a4", n=5)
    one, many = (scores(task, metric, batch_size=size) for size in (1, 5))
    assert np.allclose(one.values, many.values, rtol=1e-3, atol=1e-6)
    order = np.array([3, 0, 4, 1, 2])
    x = task.inputs(range(5))[torch.as_tensor(order)]
    samples = replace(
        task.samples, inputs=lambda r: x[r.start : r.stop], labels=task.samples.labels[order]
    )
    shuffled = scores(replace(task, samples=samples), metric)
    assert np.allclose(shuffled.per_sample, many.per_sample[order], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("metric", NAMES)
def test_untouched_layers_score_exactly_zero(metric):
    found = scores(task_of("float", "w4a8"), metric)
    assert (found.values[:, 0] == 0).all()
    if metric != "accuracy_drop":
        assert (found.values[:, 1] != 0).any()


def test_the_packed_attention_demo_is_scored_by_every_metric():
    task = demo_task("digits-vit", 3, "w2a4", labels=LABELS[:3])
    for metric in NAMES:
        assert scores(task, metric).layers == task.network.table.names


@pytest.mark.parametrize("metric", ["loss_increase", "accuracy_drop"])
def test_metrics_of_the_task_refuse_samples_without_labels(metric):
    with pytest.raises(DataError, match=f"`{metric}` needs labels"):
        scores(demo_task("digits-resnet", 2, "w4a8"), metric)


@pytest.mark.parametrize("metric", NAMES)
def test_metrics_of_candidates_refuse_to_score_layers_alone(metric):
    with pytest.raises(QuantizationError, match=f"`{metric}` scores candidates"):
        scores(task_of(), metric)


def test_four_metrics_share_one_measurement():
    done: dict[str, OutputChanges] = {}

    def shared(name, record, compute, task):
        if name not in done:
            done[name] = yield from compute(task)
        return done[name]

    task = replace(task_of("w4a8"), shared=shared)
    tables = [scores(task, metric) for metric in NAMES]
    assert len(done) == 1
    assert [t.metric for t in tables] == list(NAMES)
    scores(task, "output_kl", protocol="accumulated")
    assert len(done) == 2


def test_an_interrupted_measurement_goes_on_where_it_stopped():
    whole = scores(task_of("w4a8", n=5), "loss_increase", batch_size=2)
    parts = CountedParts()
    task = task_of("w4a8", n=5, parts=parts)
    work = output_changes(task, OutputKLOptions(batch_size=2))
    while len(parts.saved) < 2:
        next(work)
    work.close()
    resumed = scores(task, "loss_increase", batch_size=2)
    assert parts.loaded == ["batch-0", "batch-1"]
    assert np.array_equal(resumed.per_sample, whole.per_sample)


def test_the_noise_of_uniform_rounding_falls_by_six_decibels_a_bit():
    found = scores(demo_task("digits-resnet", 8, "w6afloat", "w8afloat"), "output_sqnr")
    decibels = 10 * np.log10(found.values[:, 0] / found.values[:, 1])
    assert np.median(decibels) == pytest.approx(2 * 6.02, abs=1.5)
