import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import QuantizationError
from analysis.quant.configure import estimate_activation, estimate_weight
from analysis.records import QuantSettings
from analysis.sensitivity.limpq_proxy import LIMPQProxyOptions, limpq_proxy
from tests.reference.sensitivity import demo_task, make_task
from tests.reference.work import finish

MSE = QuantSettings(weight_range="mse", activation_range="mse")


def scores(task, **options):
    return finish(limpq_proxy(task, LIMPQProxyOptions(**options)))


def mlp(factor: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    model[0].weight.data *= factor
    return model


def inputs(n: int = 16) -> torch.Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "per_channel"), [("digits-resnet", True), ("digits-vit", False)])
def test_scores_are_the_steps_of_least_squared_error(name, per_channel):
    task = demo_task(name, 4, "w4a3", settings=QuantSettings(per_channel=per_channel))
    found = scores(task)
    for i in (0, 1, -1):
        layer = task.network.table.layers[i]
        for c, candidate in enumerate(task.candidates):
            w = estimate_weight(task.network, layer, candidate.weight, task.settings).scale
            a = [
                float(estimate_activation(task.statistics, t, candidate.activation, MSE).scale)
                for t in layer.inputs
            ]
            expected = sum(a) / len(a) + 2 * float(w.sum()) / len(w)
            assert found.values[i, c] == pytest.approx(expected, rel=1e-6)


def test_the_step_of_the_weight_is_the_best_of_a_fine_search():
    settings = QuantSettings(per_channel=False)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(60, 20)).eval()
    task = make_task(model, torch.randn(4, 60), "w3afloat", settings=settings)
    weight = task.network.weight(task.network.table.layers[0]).double()

    def error(steps: torch.Tensor) -> torch.Tensor:
        steps = steps[:, None, None]
        return ((weight / steps).round().clamp(-4, 3) * steps - weight).square().sum((1, 2))

    found = torch.tensor([scores(task, alpha=1.0).values[0, 0]], dtype=torch.float64)
    # No step reaches beyond the largest weight.
    fine = weight.abs().max() / 3 * torch.linspace(0.05, 1, 2000, dtype=torch.float64)
    assert float(error(found)) <= 1.001 * float(error(fine).min())
    assert float(error(found * 1.3)) > 1.02 * float(error(found)) < float(error(found * 0.7))


def test_alpha_weighs_the_weight_and_float_parts_have_no_step():
    task = make_task(mlp(), inputs(), "w4a4", "w4afloat", "wfloata4", "float")
    both, weight, activation, nothing = scores(task, alpha=3.0).values.T
    assert np.allclose(both, weight + activation, rtol=1e-12)
    assert (nothing == 0).all()
    assert np.allclose(weight, 3 * scores(task, alpha=1.0).values[:, 1], rtol=1e-12)
    assert np.array_equal(activation, scores(task, alpha=0.0).values[:, 0])


def test_steps_grow_with_the_magnitude_of_the_weight():
    plain, large = (scores(make_task(mlp(f), inputs(), "w4afloat")).values for f in (1.0, 4.0))
    assert large[0, 0] == 4 * plain[0, 0]
    assert large[1, 0] == plain[1, 0]


def test_the_estimator_is_least_squared_error_whatever_the_settings_say():
    found = [
        scores(make_task(mlp(), inputs(), "w3a3", settings=settings)).values
        for settings in (MSE, QuantSettings(weight_range="min_max", activation_range="min_max"))
    ]
    assert np.array_equal(*found)


def test_steps_shrink_with_the_bits():
    values = scores(demo_task("digits-resnet", 4, "w2a2", "w4a4", "w8a8")).values
    assert (np.diff(values, axis=1) < 0).all()


def test_the_steps_of_all_inputs_of_a_layer_are_averaged():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.b(self.a(self.a(x).relu()))

    task = make_task(Twice().eval(), inputs(), "wfloata4")
    layer = task.network.table.layers[0]
    first, second = (
        float(estimate_activation(task.statistics, t, "int4", MSE).scale) for t in layer.inputs
    )
    assert scores(task).values[0, 0] == pytest.approx((first + second) / 2, rel=1e-6)
    assert first != second


def test_it_says_that_it_is_a_proxy_and_needs_candidates():
    found = scores(make_task(mlp(), inputs(), "w4a8"))
    assert "proxy" in found.title
    assert "proxy" in found.notes[0]
    with pytest.raises(QuantizationError, match="name at least one"):
        scores(demo_task("digits-resnet", 2))
