import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import DataError
from analysis.models.demo import load
from analysis.sensitivity.orthogonality import OrthogonalityOptions, importance, orthogonality
from tests.reference import similarity as oracle
from tests.reference.sensitivity import demo_task, make_task
from tests.reference.work import CountedParts, finish


def scores(task, **options):
    return finish(orthogonality(task, OrthogonalityOptions(**options)))


def digits(n: int, width: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_similarities_equal_those_of_features_seen_one_sample_at_a_time(name):
    task = demo_task(name, 6)
    features = oracle.layer_features(task.network, task.inputs(range(6)))
    for variant, centre in (("centred", True), ("plain", False)):
        found = scores(task, variant=variant).similarity
        for i in range(len(features)):
            for j in (0, i // 2, len(features) - 1):
                expected = oracle.kernel_form(features[i], features[j], centre=centre)
                assert found[i, j] == pytest.approx(expected, rel=1e-3)


def test_theta_falls_with_the_sum_of_similarities_to_the_others():
    s = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 1.0]])  # gamma .6, .8, .4
    plain = OrthogonalityOptions(beta=2.0, tail_average=False)
    assert np.allclose(importance(s, plain), np.exp([-1.0, -2.0, 0.0]))
    raw = OrthogonalityOptions(beta=2.0, normalise=False, tail_average=False)
    assert np.allclose(importance(s, raw), np.exp([-1.2, -1.6, -0.8]))


def test_the_tail_average_is_over_the_layer_and_all_later_ones():
    s = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 1.0]])
    a, b, c = np.exp([-1.0, -2.0, 0.0])
    expected = [(a + b + c) / 3, (b + c) / 2, c]
    assert np.allclose(importance(s, OrthogonalityOptions(beta=2.0)), expected)
    order = [2, 0, 1]
    moved = importance(s[np.ix_(order, order)], OrthogonalityOptions(beta=2.0))
    assert not np.allclose(moved, np.array(expected)[order])


@pytest.mark.parametrize("tail", [True, False])
def test_without_beta_or_differences_every_layer_counts_the_same(tail):
    zero = OrthogonalityOptions(beta=0.0, tail_average=tail)
    assert np.array_equal(importance(np.eye(4) + 0.1, zero), np.ones(4))
    same = OrthogonalityOptions(tail_average=tail)
    assert np.array_equal(importance(np.eye(4), same), np.ones(4))


def test_candidates_score_theta_times_the_bits_that_they_lack():
    task = demo_task("digits-resnet", 6, "w2a8", "w4a2", "w8a8")
    alone, found = scores(demo_task("digits-resnet", 6)), scores(task)
    assert (alone.unit, found.unit) == ("theta", "theta × bits")
    assert np.array_equal(found.values, alone.values[:, None] * [6.0, 4.0, 0.0])
    wide = scores(demo_task("digits-resnet", 6, "w2a8", "float"))
    assert np.array_equal(wide.values, alone.values[:, None] * [30.0, 0.0])
    assert np.array_equal(found.similarity, alone.similarity)


def test_only_the_first_images_are_used_and_the_table_says_how_many():
    task = demo_task("digits-resnet", 12)
    found = scores(task, images=5)
    assert found.n == 5
    x = task.inputs(range(5))
    assert np.allclose(scores(make_task(load("digits-resnet"), x)).similarity, found.similarity)
    assert scores(task).n == 12


def test_fewer_than_four_samples_are_refused():
    with pytest.raises(DataError, match="at least 4"):
        scores(demo_task("digits-resnet", 3))


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_neither_batch_size_nor_order_of_samples_matters(name):
    task = demo_task(name, 7)
    one, many = scores(task, batch_size=1), scores(task, batch_size=7)
    assert np.allclose(one.similarity, many.similarity, atol=1e-5)
    moved = make_task(load(name), task.inputs(range(7))[[3, 0, 5, 1, 4, 2, 6]])
    assert np.allclose(scores(moved).similarity, many.similarity, atol=1e-5)


def test_features_that_do_not_fit_are_taken_in_groups_that_cost_a_pass_each(monkeypatch):
    whole = scores(demo_task("digits-vit", 6))
    assert whole.forward_passes == 1
    # 3,000 columns of six samples: layers are cut into pieces.
    monkeypatch.setattr("analysis.sensitivity.orthogonality._KEEP_BYTES", 3000 * 6 * 4)
    cut = scores(demo_task("digits-vit", 6), batch_size=4)
    assert cut.forward_passes > 2
    assert np.allclose(cut.similarity, whole.similarity, atol=1e-5)


def test_no_more_features_are_held_than_allowed(monkeypatch):
    largest = []

    def watched(features):
        largest.append(features.numel() * 4)
        return gram(features)

    from analysis.curvature.similarity import gram

    monkeypatch.setattr("analysis.sensitivity.orthogonality._KEEP_BYTES", 30_000)
    monkeypatch.setattr("analysis.sensitivity.orthogonality.gram", watched)
    scores(demo_task("digits-vit", 6))
    assert 10_000 < max(largest) <= 30_000


def test_an_interrupted_computation_goes_on_where_it_stopped(monkeypatch):
    monkeypatch.setattr("analysis.sensitivity.orthogonality._KEEP_BYTES", 4000 * 6 * 4)
    whole = scores(demo_task("digits-vit", 6), batch_size=2)
    parts = CountedParts()
    task = demo_task("digits-vit", 6, parts=parts)
    work = orthogonality(task, OrthogonalityOptions(batch_size=2))
    while len(parts.saved) < 2:
        next(work)
    work.close()
    resumed = scores(task, batch_size=2)
    assert parts.saved == [f"group-{i}" for i in range(len(parts.saved))]
    assert parts.loaded == ["group-0", "group-1"]
    assert np.array_equal(resumed.similarity, whole.similarity)
    assert np.array_equal(resumed.values, whole.values)


def test_a_layer_with_the_same_output_for_every_image_resembles_none_and_is_noted():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    model[2].weight.data.zero_()
    found = scores(make_task(model.eval(), digits(32)))
    assert found.similarity[1].tolist() == [0, 1, 0]
    assert np.array_equal(found.values[1:], np.ones(2))  # Orthogonal to all, not unimportant.
    assert any("`2`, `4`" in note and "every image" in note for note in found.notes)


def test_a_layer_that_is_called_twice_has_the_features_of_both_calls():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.b(self.a(self.a(x).relu()))

    model, x = Twice().eval(), digits(16)
    found = scores(make_task(model, x)).similarity
    with torch.no_grad():
        first = model.a(x)
        second = model.a(first.relu())
        expected = oracle.feature_form(torch.cat([first, second], 1), model.b(second), centre=True)
    assert found[0, 1] == pytest.approx(expected, rel=1e-5)


def test_saturation_is_noted_when_features_outnumber_images():
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(600, 500), nn.ReLU(), nn.Linear(500, 400)).eval()
    found = scores(make_task(wide, digits(16, 600)))
    assert any("Near saturation" in n and "2 of 2 layers" in n for n in found.notes)
    assert scores(make_task(wide, digits(16, 600)), variant="debiased").notes == ()
    narrow = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    assert scores(make_task(narrow, digits(64))).notes == ()
