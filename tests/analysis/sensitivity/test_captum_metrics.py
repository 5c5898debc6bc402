import numpy as np
import pytest
import torch
from torch import nn

from analysis.attribution.layers import (
    CONDUCTANCE,
    GRADIENT_X_ACTIVATION,
    INFLUENCE,
    attributions,
    find_places,
)
from analysis.errors import QuantizationError
from analysis.models.demo import load
from analysis.sensitivity.internal_influence import InternalInfluenceOptions, internal_influence
from analysis.sensitivity.layer_conductance import LayerConductanceOptions, layer_conductance
from analysis.sensitivity.layer_gradient_x_activation import (
    LayerGradientXActivationOptions,
    layer_gradient_x_activation,
)
from tests.analysis.models import toys
from tests.reference import similarity as features
from tests.reference.sensitivity import demo_task, local_errors, make_task
from tests.reference.work import CountedParts, finish

CONDUCTS = (layer_conductance, LayerConductanceOptions, {"n_steps": 3}, CONDUCTANCE)
INFLUENCES = (internal_influence, InternalInfluenceOptions, {"n_steps": 3}, INFLUENCE)
GRADIENTS = (
    layer_gradient_x_activation,
    LayerGradientXActivationOptions,
    {},
    GRADIENT_X_ACTIVATION,
)
METRICS = pytest.mark.parametrize(
    "metric", [CONDUCTS, INFLUENCES, GRADIENTS], ids=["conductance", "influence", "gradient"]
)


def scores(metric, task, **options):
    function, record, few, _ = metric
    return finish(function(task, record(**{**few, **options})))


@METRICS
@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_a_layer_scores_the_mean_over_samples_of_its_summed_absolute_attributions(metric, name):
    task = demo_task(name, 3)
    found = scores(metric, task)
    x = task.inputs(range(3))
    places, skipped = find_places(task.network, x, metric[3])
    expected = [
        [float(sample.abs().sum()) for sample in a]
        for _, a in attributions(task.network, metric[3], places, x, 3)
    ]
    assert np.allclose(found.per_sample, np.array(expected).T, rtol=1e-4)
    assert np.allclose(found.values, np.mean(expected, 1), rtol=1e-4)
    assert found.skipped == skipped
    assert set(found.layers) | {s.name for s in skipped} == set(task.network.table.names)


@METRICS
def test_candidates_score_that_times_the_relative_error_of_the_output(metric):
    texts = ("w2a8", "w4a4", "float")
    task, alone = (
        demo_task("digits-resnet", 3, *texts),
        scores(metric, demo_task("digits-resnet", 3)),
    )
    found = scores(metric, task)
    outputs = features.layer_features(task.network, task.inputs(range(3)))
    power = np.array([float(z.double().square().mean()) for z in outputs])
    relative = np.sqrt(local_errors(task).mean(0) / power[:, None])
    assert np.allclose(found.values, alone.values[:, None] * relative, rtol=2e-3, atol=1e-9)
    assert (found.values[:, 2] == 0).all()
    assert found.unit == alone.unit == found.per_sample_unit
    assert np.allclose(found.per_sample, alone.per_sample)


def test_a_linear_network_has_the_scores_of_its_products():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 3, bias=False)).eval()
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden, logits = model[0](x), model(x)
        top = logits.argmax(1)
        gradient = model[1].weight[top]
        product = [(gradient * hidden).abs().sum(1), logits.gather(1, top[:, None])[:, 0].abs()]
        slope = [gradient.abs().sum(1), torch.ones(8)]
    for metric, expected in ((CONDUCTS, product), (GRADIENTS, product), (INFLUENCES, slope)):
        found = scores(metric, make_task(model, x))
        assert np.allclose(found.per_sample, torch.stack(expected, 1), rtol=1e-4)


@METRICS
def test_units_say_what_the_model_returns(metric):
    def unit(*end: nn.Module) -> str:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 3), *end).eval()
        return scores(metric, make_task(model, torch.randn(4, 6))).unit

    tail = " per output" if metric is INFLUENCES else ""
    assert unit() == "logit" + tail
    assert unit(nn.Softmax(1)) == "probability" + tail
    assert unit(nn.LogSoftmax(1)) == "log probability" + tail


@METRICS
def test_the_batch_size_does_not_matter(metric):
    task = demo_task("digits-resnet", 5, "w3a4")
    one, many = scores(metric, task, batch_size=1), scores(metric, task, batch_size=5)
    assert np.allclose(one.per_sample, many.per_sample, rtol=1e-3)
    assert np.allclose(one.values, many.values, rtol=1e-3)


@METRICS
def test_permuting_the_samples_permutes_the_rows(metric):
    x = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    order = [3, 0, 4, 1, 2]
    found = [scores(metric, make_task(load("digits-vit"), each)) for each in (x, x[order])]
    assert np.allclose(found[0].per_sample[order], found[1].per_sample, rtol=1e-3)


@METRICS
def test_inert_layers_score_exactly_zero(metric):
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.used, self.unused, self.hidden = nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(3, 4)
            self.last = nn.Linear(4, 3)
            self.last.weight.data.zero_()

        def forward(self, x):
            return self.used(x) + self.last(self.hidden(self.unused(x)).detach())

    model, x = Dead().eval(), torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    for texts in ((), ("w4a8", "w2a8")):
        found = scores(metric, make_task(model, x, *texts))
        values = dict(zip(found.layers, found.values, strict=True))
        assert (values["unused"] == 0).all()
        assert (values["hidden"] == 0).all()
        assert (values["used"] > 0).all()


def test_a_zero_output_that_stays_zero_has_no_error():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 3)).eval()
    model[0].weight.data.zero_()
    found = scores(GRADIENTS, make_task(model, torch.randn(4, 6), "w4a8"))
    assert found.values[0, 0] == 0
    assert found.skipped == ()


@METRICS
def test_a_network_without_any_place_is_refused(metric):
    class Activated(nn.Linear):
        def forward(self, x):
            return super().forward(x).tanh()

    model = nn.Sequential(Activated(6, 3)).eval()
    with pytest.raises(QuantizationError, match="something else"):
        scores(metric, make_task(model, torch.randn(4, 6)))


@METRICS
def test_layers_without_a_place_are_skipped_with_candidates_too(metric):
    found = scores(metric, make_task(toys.twice(), toys.batch(3, 3, 8, 8), "w4a8"))
    assert found.layers == ("first", "head")
    assert found.values.shape == (2, 1)
    assert found.per_sample.shape == (3, 2)
    assert [s.name for s in found.skipped] == ["again"]


@METRICS
def test_an_interrupted_computation_goes_on_where_it_stopped_and_gives_the_same_numbers(metric):
    function, record, few, _ = metric
    whole = scores(metric, demo_task("digits-vit", 5, "w4a8"), batch_size=2)
    parts = CountedParts()
    task = demo_task("digits-vit", 5, "w4a8", parts=parts)
    work = function(task, record(**few, batch_size=2))
    while len(parts.saved) < 1:
        next(work)
    next(work)
    next(work)
    work.close()
    resumed = scores(metric, task, batch_size=2)
    assert parts.saved == ["batch-0", "batch-1", "batch-2"]
    assert parts.loaded == ["batch-0"]
    assert np.array_equal(resumed.values, whole.values)
    assert np.array_equal(resumed.per_sample, whole.per_sample)


@METRICS
def test_progress_never_goes_back_and_ends_at_its_total(metric):
    function, record, few, _ = metric
    events = list(function(demo_task("digits-vit", 4, "w4a8"), record(**few, batch_size=2)))
    done = [e.done for e in events]
    assert done == sorted(done)
    assert {e.total for e in events} == {events[-1].done}


def test_no_label_is_needed_and_the_notes_say_whose_class_it_is():
    for metric in (CONDUCTS, INFLUENCES, GRADIENTS):
        found = scores(metric, demo_task("digits-vit", 2))
        assert "predicts" in found.notes[0]
        assert any("zero input" in note for note in found.notes) == (metric is not GRADIENTS)
