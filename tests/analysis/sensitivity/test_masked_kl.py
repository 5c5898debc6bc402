import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import QuantizationError
from analysis.models.demo import load
from analysis.quant.configure import estimate_weight
from analysis.sensitivity.masked_kl import MaskedKLOptions, masked_kl, random_mask
from tests.reference import attention as oracle
from tests.reference.sensitivity import demo_task, folded_copy, make_task
from tests.reference.work import CountedParts, finish


def scores(task, **options):
    return finish(masked_kl(task, MaskedKLOptions(**options)))


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_scores_equal_full_passes_of_copies_with_and_without_the_mask(name):
    task = demo_task(name, 3, "w2a8", "w4a4")
    found, x = scores(task, share=0.3, seed=5), task.inputs(range(3))
    for i, layer in list(enumerate(task.network.table.layers))[::2]:
        for c, candidate in enumerate(task.candidates):
            model = folded_copy(task.network)
            weight = model.get_parameter(layer.weight_name)
            quantizer = estimate_weight(task.network, layer, candidate.weight, task.settings)
            with torch.no_grad():
                weight.copy_(quantizer(weight))
                plain = model(x)
                weight[random_mask(layer.weight_shape, 0.3, 5, i)] = 0.0
                expected = oracle.output_kl(model(x), plain)
            assert found.values[i, c] == pytest.approx(np.mean(expected), rel=2e-2, abs=2e-6)


def test_a_whole_mask_leaves_the_bias_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    task = make_task(model, x, "w8a8")
    quantizer = estimate_weight(task.network, task.network.table.layers[1], "int8", task.settings)
    with torch.no_grad():
        plain = nn.functional.linear(model[:2](x), quantizer(model[2].weight), model[2].bias)
    expected = oracle.output_kl(model[2].bias.detach().expand(8, 3), plain)
    assert scores(task, share=1.0).values[1, 0] == pytest.approx(np.mean(expected), rel=1e-4)


def test_masks_hold_their_share_and_depend_on_seed_and_layer_alone():
    mask = random_mask((10, 7, 3), 0.3, 0, 2)
    assert (mask.shape, int(mask.sum())) == ((10, 7, 3), 63)
    assert torch.equal(mask, random_mask((10, 7, 3), 0.3, 0, 2))
    for other in (random_mask((10, 7, 3), 0.3, 1, 2), random_mask((10, 7, 3), 0.3, 0, 3)):
        # Independent masks agree on 9 % of 210 entries.
        assert 5 < int((mask & other).sum()) < 35
    assert not random_mask((4,), 0.0, 0, 0).any()
    assert random_mask((4,), 1.0, 0, 0).all()


def test_no_mask_no_divergence_and_float_weights_have_none():
    task = demo_task("digits-resnet", 3, "w4a8", "wfloata4")
    assert (scores(task, share=0.0).values == 0).all()
    found = scores(task)
    assert (found.values[:, 1] == 0).all()
    assert (found.values[:, 0] > 0).all()
    assert (scores(demo_task("digits-resnet", 3, "float")).values == 0).all()


def test_activation_formats_do_not_enter():
    found = scores(demo_task("digits-resnet", 3, "w4a8", "w4a2"))
    assert np.array_equal(found.values[:, 0], found.values[:, 1])
    assert found.unit == "nats"


def test_inert_layers_score_exactly_zero():
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.used, self.unused, self.zero = nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(5, 3)
            self.zero.weight.data.zero_()

        def forward(self, x):
            self.unused(x)
            return self.used(x) + self.zero(x)

    task = make_task(Dead().eval(), torch.randn(4, 5), "w4a8")
    found = dict(zip(task.network.table.names, scores(task).values[:, 0], strict=True))
    assert found["unused"] == found["zero"] == 0
    assert found["used"] > 0


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_neither_batch_size_nor_order_of_samples_matters(name):
    x = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    task, order = make_task(load(name), x, "w3a4"), [3, 0, 4, 1, 2]
    one, many = scores(task, batch_size=1), scores(task, batch_size=5)
    assert np.allclose(one.per_sample, many.per_sample, rtol=1e-2, atol=1e-5)
    moved = scores(make_task(load(name), x[order], "w3a4"))
    assert np.allclose(many.per_sample[order], moved.per_sample, rtol=1e-2, atol=1e-5)


def test_an_interrupted_computation_goes_on_where_it_stopped_and_gives_the_same_numbers():
    whole = scores(demo_task("digits-resnet", 5, "w4a8"), batch_size=2)
    parts = CountedParts()
    task = demo_task("digits-resnet", 5, "w4a8", parts=parts)
    work = masked_kl(task, MaskedKLOptions(batch_size=2))
    while len(parts.saved) < 2:
        next(work)
    next(work)
    work.close()
    resumed = scores(task, batch_size=2)
    assert parts.saved == ["batch-0", "batch-1", "batch-2"]
    assert parts.loaded == ["batch-0", "batch-1"]
    assert np.array_equal(resumed.values, whole.values)
    assert np.array_equal(resumed.per_sample, whole.per_sample)


def test_it_says_that_it_is_our_reading_and_needs_candidates():
    assert "Our reading" in scores(demo_task("digits-resnet", 2, "w4a8")).notes[0]
    with pytest.raises(QuantizationError, match="name at least one"):
        scores(demo_task("digits-resnet", 2))
