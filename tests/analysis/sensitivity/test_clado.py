from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.errors import DataError, QuantizationError
from analysis.models.network import NOTHING
from analysis.records import QuantSettings
from analysis.sensitivity import METRICS
from analysis.sensitivity.clado import (
    CladoOptions,
    clado,
    pair_losses,
    predicted,
)
from analysis.sensitivity.isolated import IsolatedPlans
from analysis.sensitivity.output_kl import OutputKLOptions, output_kl
from tests.reference.attention import output_kl as kl_of
from tests.reference.interactions import interactions, on_layer_inputs, on_tensors
from tests.reference.outputs import measured
from tests.reference.sensitivity import demo_task, make_task
from tests.reference.work import finish

LAYER_INPUT = QuantSettings(scope="layer_input", weight_range="min_max", activation_range="min_max")
LABELS = np.array([0, 2, 1, 1, 2, 0])


class Chain(nn.Module):
    """``b`` and ``c`` read one tensor; their sum is read by ``d``."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.relu, self.second = nn.Linear(4, 6), nn.ReLU(), nn.ReLU()
        self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6)
        self.d = nn.Linear(6, 3)

    def forward(self, x):
        x = self.relu(self.a(x))
        return 5 * self.d(self.second(self.b(x) + self.c(x)))


class Sum(nn.Module):
    """Logits linear in every weight, so that a quadratic loss is exactly quadratic in them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.c = (nn.Linear(5, 3, bias=False) for _ in range(3))

    def forward(self, x):
        return self.a(x) + self.b(x) + self.c(x)


class Apart(nn.Module):
    """Two layers that write different logits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.a, self.b = nn.Linear(5, 2), nn.Linear(5, 3)

    def forward(self, x):
        return torch.cat([self.a(x), self.b(x)], 1)


def vectors(n: int, width: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(3))


def chain_task(*texts: str, **more):
    return make_task(Chain().eval(), vectors(6, 4), *texts, labels=LABELS, **more)


def scores(task, **options):
    return finish(clado(task, CladoOptions(**options)))


def by_whole_passes(task):
    """Merged plans from the first call to the last, for networks that cannot be copied folded."""
    plans = IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)

    def logits(task, chosen):
        plan = NOTHING
        for place in sorted(chosen):
            plan = plan | plans.plan(task.network.table.layers[place], chosen[place])
        with torch.no_grad():
            return task.network(task.inputs(range(task.n)), plan)

    return logits


def finite_kl(plain, logits):
    return kl_of(plain, logits) if logits.isfinite().all() else [np.nan] * len(logits)


def towards(target: torch.Tensor):
    """Half the squared distance of the logits from a target (N, C)."""

    def loss(plain, logits, labels):
        del plain, labels
        return 0.5 * (logits.double() - target).square().sum(1)

    return loss


@pytest.mark.parametrize("gradient", [False, True])
def test_an_exact_quadratic_gives_its_matrix_back_with_or_without_a_gradient(gradient):
    x = vectors(8, 5)
    task = make_task(Sum().eval(), x, "w2afloat", "w3afloat")
    plain = task.network(x).detach().double()
    target = plain + (torch.randn(8, 3).double() if gradient else 0)
    found = finish(pair_losses(task, CladoOptions(), towards(target)))
    plans = IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)
    change = torch.zeros(3, 2, 8, 3, dtype=torch.float64)
    for i, layer in enumerate(task.network.table.layers):
        for c, candidate in enumerate(task.candidates):
            (weight,) = plans.quantization(layer, candidate).weight_values.values()
            change[i, c] = x.double() @ (weight - task.network.weight(layer)).double().T
    omega = torch.einsum("iknz,jlnz->ikjl", change, change).numpy() / 8
    got = found.interactions()
    for i in range(3):
        linear = (change[i] * (plain - target)).sum(2).mean(1).numpy()
        diagonal = np.diagonal(omega[i, :, i])
        assert np.allclose(found.single.mean(0)[i], linear + diagonal / 2, rtol=1e-4, atol=1e-6)
        for j in range(3):
            expected = omega[i, :, j] if i != j else 0
            assert np.allclose(got[i, :, j], expected, rtol=1e-4, atol=1e-6)


def test_layers_of_different_logits_do_not_interact_in_a_squared_loss():
    x = vectors(8, 5)
    task = make_task(Apart().eval(), x, "w2afloat")
    found = finish(pair_losses(task, CladoOptions(), towards(task.network(x).detach().double())))
    assert (found.single.mean(0) > 0).all()
    assert np.abs(found.interactions()).max() < 1e-12


def test_the_prediction_of_a_pair_is_what_was_measured_and_of_more_what_the_formula_says():
    task = chain_task("w2a3", "w4a4")
    found = scores(task, loss="cross_entropy")
    whole = by_whole_passes(task)
    float_loss = np.mean(measured(whole(task, {}), LABELS)["loss"])
    choice = {1: task.candidates[1], 3: task.candidates[0]}
    expected = np.mean(measured(whole(task, choice), LABELS)["loss"]) - float_loss
    pair = found.values[1, 1] + found.values[3, 0] + found.interactions[1, 1, 3, 0]
    assert pair == pytest.approx(expected, abs=1e-9)
    values, omega = np.array([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]]), np.zeros((3, 2, 3, 2))
    for i, k, j, m, value in ((0, 1, 1, 0, 0.5), (0, 1, 2, 1, -0.25), (1, 1, 2, 1, 99.0)):
        omega[i, k, j, m] = omega[j, m, i, k] = value
    assert predicted(values, omega, np.array([1, 0, 1])) == 2 + 4 + 32 + 0.5 - 0.25
    assert predicted(values, omega, np.array([0, 0, 0])) == 21
    assert predicted(values[:1], omega[:1, :, :1], np.array([1])) == 2


@pytest.mark.parametrize("loss", ["kl", "cross_entropy"])
@pytest.mark.parametrize(
    ("scope", "oracle"), [("tensor", on_tensors), ("layer_input", on_layer_inputs)]
)
def test_scores_and_interactions_equal_full_forwards_of_copies(loss, scope, oracle):
    settings = QuantSettings(scope=scope, weight_range="min_max", activation_range="min_max")
    task = chain_task("w2a3", "wfloata4", "w4afloat", settings=settings)

    def losses(plain, logits):
        return kl_of(plain, logits) if loss == "kl" else measured(logits, LABELS)["loss"]

    single, pairs = interactions(task, oracle, losses)
    found = scores(task, loss=loss)
    assert np.allclose(found.values, single, atol=1e-6)
    assert np.allclose(found.interactions, pairs, atol=1e-6)
    assert np.abs(pairs).max() > 1e-3


@pytest.mark.parametrize(
    ("model", "settings", "oracle"),
    [
        ("digits-resnet", LAYER_INPUT, on_layer_inputs),
        ("digits-resnet", replace(LAYER_INPUT, scope="tensor"), None),
        ("digits-vit", replace(LAYER_INPUT, scope="tensor"), None),
    ],
)
def test_interactions_of_a_demo_network_equal_whole_passes(model, settings, oracle):
    task = demo_task(model, 2, "w3a4", settings=settings)
    single, pairs = interactions(task, oracle or by_whole_passes(task), kl_of)
    found = scores(task)
    # Copies are folded in another order of rounding; plans give the very same numbers.
    close = {"rtol": 2e-2, "atol": 1e-4} if oracle else {"rtol": 1e-9, "atol": 1e-12}
    assert np.allclose(found.values, single, **close)
    assert np.allclose(found.interactions, pairs, **close)


def test_scores_of_layers_alone_are_those_of_the_output_divergence():
    task = demo_task("digits-resnet", 3, "w3a4", "w4a8")
    alone = finish(output_kl(task, OutputKLOptions()))
    found = scores(task, reach=1)
    assert np.array_equal(found.values, alone.values)
    assert np.array_equal(found.stderr, alone.stderr)
    assert np.array_equal(found.per_sample, alone.per_sample)
    assert (found.unit, found.per_sample_unit) == ("nats", "nats at w3a4")


def test_where_two_layers_want_one_tensor_in_two_formats_the_later_layer_decides():
    task = chain_task("wfloata2", "wfloata8")
    (shared,) = (t for t in task.network.table.tensors if len(t.readers) > 1)
    assert shared.readers == ("b", "c")
    found = scores(task)
    harsh, mild = 0, 1
    # With c at the mild format, that of b does not count: what both cost is what c costs.
    assert found.interactions[1, harsh, 2, mild] == pytest.approx(-found.values[1, harsh])
    assert found.interactions[1, mild, 2, harsh] == pytest.approx(-found.values[1, mild])
    assert found.values[1, harsh] > found.values[1, mild] > 0
    assert "the later layer's holds" in found.notes[-1]


class Crossing(nn.Module):
    """``c`` is called after ``b``, but first changes what is produced before what ``b`` reads."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))
        self.d = nn.Linear(6, 3)

    def forward(self, x):
        early = F.relu(self.a(x))
        late = torch.tanh(early * 3)
        return 5 * self.d(F.relu(self.b(late) + self.c(late) + self.c(early)))


def test_the_later_layer_decides_even_where_its_pass_starts_earlier():
    task = make_task(Crossing().eval(), vectors(6, 6), "wfloata2", "wfloata8")
    b, c = (task.network.layer(name) for name in "bc")
    assert set(b.inputs) < set(c.inputs)
    plans = IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)
    assert (
        plans.plan(c, task.candidates[0]).first_call < plans.plan(b, task.candidates[0]).first_call
    )
    single, pairs = interactions(task, by_whole_passes(task), kl_of)
    found = scores(task)
    assert np.allclose(found.values, single, rtol=1e-9, atol=1e-12)
    assert np.allclose(found.interactions, pairs, rtol=1e-9, atol=1e-12)


def test_the_batch_size_does_not_matter_and_permuted_samples_permute_rows():
    task = demo_task("digits-resnet", 5, "w3a4")
    one, many = (scores(task, batch_size=size, reach=3) for size in (2, 5))
    assert np.allclose(one.values, many.values, rtol=1e-3, atol=1e-6)
    assert np.allclose(one.interactions, many.interactions, rtol=1e-3, atol=1e-5)
    order = [3, 0, 4, 1, 2]
    x = task.inputs(range(5))[torch.as_tensor(order)]
    samples = replace(task.samples, inputs=lambda r: x[r.start : r.stop])
    shuffled = scores(replace(task, samples=samples), reach=3)
    assert np.allclose(shuffled.per_sample, many.per_sample[order], rtol=1e-3, atol=1e-6)
    assert np.allclose(shuffled.interactions, many.interactions, rtol=1e-3, atol=1e-5)


def test_layers_left_in_float_cost_nothing_alone_or_with_another():
    found = scores(chain_task("w2a3", "float"))
    assert (found.values[:, 1] == 0).all()
    assert (found.interactions[:, 1] == 0).all()
    assert (found.interactions[:, :, :, 1] == 0).all()
    assert (found.values[:, 0] != 0).all()


def test_only_the_first_samples_are_used_where_there_are_more():
    task = chain_task("w2a3")
    three = scores(task, samples=3)
    assert three.n == len(three.per_sample) == 3
    first = scores(replace(task, samples=task.samples.first(3)), samples=0)
    assert np.array_equal(three.values, first.values)
    assert np.array_equal(three.interactions, first.interactions)
    assert scores(task, samples=0).n == scores(task, samples=9).n == 6


class Exponential(nn.Module):
    """``a`` and ``b`` grow from 70 to 80 when rounded to 2 bits, and float32 ends at exp(88.7)."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.a, self.b = (nn.Linear(2, 1, bias=False) for _ in range(2))
        self.c, self.d = nn.Linear(2, 3), nn.Linear(3, 2)
        for layer in (self.a, self.b):
            layer.weight.data = torch.tensor([[40.0, 30.0]])
        self.offset = offset

    def forward(self, x):
        huge = torch.exp(self.a(x) + self.b(x) - self.offset) * 1e-34
        return torch.cat([huge, self.d(F.relu(self.c(x)))], 1)


def exponential(offset: float):
    x = 1 + 0.01 * torch.randn(3, 2, generator=torch.Generator().manual_seed(5)).clamp(-1, 1)
    return make_task(Exponential(offset).eval(), x, "w2afloat")


def test_layers_without_a_finite_score_are_left_out_with_their_interactions():
    task = exponential(55.0)
    found = scores(task)
    assert found.layers == ("c", "d")
    assert [each.name for each in found.skipped] == ["a", "b"]
    _, pairs = interactions(task, by_whole_passes(task), finite_kl)
    assert np.allclose(found.interactions, pairs[2:, :, 2:], atol=1e-9)
    assert found.interactions[0, 0, 1, 0] != 0


def test_pairs_without_a_finite_loss_count_as_not_measured_and_are_counted():
    found = scores(exponential(65.0))
    assert found.layers == ("a", "b", "c", "d")
    assert found.interactions[0, 0, 1, 0] == 0
    assert np.isfinite(found.interactions).all()
    assert found.interactions[2, 0, 3, 0] != 0
    assert found.notes[0] == "1 of 6 interactions are NaN or infinite and count as not measured."


def test_a_note_says_how_many_interactions_stand_out_of_the_noise():
    x = vectors(64, 5)
    task = make_task(Sum().eval(), x, "w2afloat")
    found = finish(pair_losses(task, CladoOptions(), towards(task.network(x).detach().double())))
    plans = IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)
    change = [
        x
        @ (
            plans.plan(layer, task.candidates[0]).weights[layer.calls[0]]
            - task.network.weight(layer)
        ).T
        for layer in task.network.table.layers
    ]
    place = [tuple(p) for p in found.pairs[:, [0, 2]]].index((0, 1))
    rows = (change[0] * change[1]).sum(1).double().numpy()
    assert found.mean[place] == pytest.approx(rows.mean(), rel=1e-4)
    assert found.stderr[place] == pytest.approx(rows.std(ddof=1) / 8, rel=1e-4)
    (note,) = (note for note in scores(task).notes if "standard error" in note)
    assert "of 3 interactions exceed twice their standard error" in note


def test_one_sample_has_no_standard_error():
    found = scores(make_task(Sum().eval(), vectors(4, 5), "w2afloat"), samples=1)
    assert found.stderr is None
    assert not any("standard error" in note for note in found.notes)


def test_the_cross_entropy_needs_labels_and_the_divergence_none():
    task = demo_task("digits-resnet", 2, "w4a8")
    with pytest.raises(DataError, match="`clado` needs labels"):
        scores(task, loss="cross_entropy")
    assert METRICS["clado"].needs == ("candidates",)


def test_layers_alone_are_refused():
    with pytest.raises(QuantizationError, match="`clado` scores candidates"):
        scores(demo_task("digits-resnet", 2))
