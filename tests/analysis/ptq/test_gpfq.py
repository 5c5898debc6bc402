from dataclasses import replace

import pytest
import torch
from torch import Tensor

from analysis.models.replay import Plan
from analysis.options import Options
from analysis.ptq.gpfq import gpfq_weight
from analysis.ptq.layer_inputs import Front, unfolding_of
from analysis.ptq.layer_products import Products
from analysis.ptq.nearest import nearest
from analysis.quant.configure import plan_of
from analysis.quant.quantizer import Quantizer
from tests.analysis.ptq.test_gptq import digits, divergence, drawn, grid, rounding, run
from tests.reference.work import finish


def products(x: Tensor, y: Tensor, outputs: float = 1.0) -> Products:
    return Products(outputs, y.mT @ x, y.mT @ y, x.shape[1])


def plain_gpfq(w: Tensor, x: Tensor, y: Tensor, quantizer: Quantizer) -> tuple[Tensor, Tensor]:
    """One group (R, D), by the residuals themselves; also returns those, (R, rows)."""
    found, residuals = torch.zeros_like(w), torch.zeros(len(w), len(x)).double()
    for row in range(len(w)):
        own = replace(quantizer, scale=quantizer.scale[row : row + 1], zero_point=torch.zeros(1))
        u = torch.zeros(len(x)).double()
        for t in range(w.shape[1]):
            u = u + w[row, t] * x[:, t]
            found[row, t] = own((y[:, t] @ u / (y[:, t] @ y[:, t]))[None])[0]
            u = u - found[row, t] * y[:, t]
        residuals[row] = u
    return found, residuals


@pytest.mark.parametrize("seed", range(3))
def test_products_stand_for_the_residuals_of_the_paper(seed):
    w = drawn(2, 4, 9, seed=seed)
    x = drawn(2, 60, 9, seed=seed + 5)
    y = x + 0.2 * drawn(2, 60, 9, seed=seed + 6)
    quantizer = grid(8)
    found = gpfq_weight(w, products(x, y), rounding(quantizer))
    for group, rows in enumerate((slice(0, 4), slice(4, 8))):
        own = replace(quantizer, scale=quantizer.scale[rows], zero_point=torch.zeros(4))
        expected, residuals = plain_gpfq(w[group], x[group], y[group], own)
        assert torch.allclose(found[group], expected)
        # What is left over at the end is the error of the outputs.
        assert torch.allclose(w[group] @ x[group].T - found[group] @ y[group].T, residuals)
        size = (w[group] @ x[group].T).norm()
        error = residuals.norm() / size
        one = products(x[group][None], y[group][None], float(size**2))
        assert one.error(w[group][None], found[group][None]) == pytest.approx(float(error))


def test_one_feature_is_rounded_after_projection_onto_its_quantized_input():
    w, x, y, quantizer = drawn(1, 5, 1), drawn(1, 30, 1, seed=1), drawn(1, 30, 1, seed=2), grid(5)
    found = gpfq_weight(w, products(x, y), rounding(quantizer))
    share = float((y * x).sum() / (y * y).sum())
    assert torch.allclose(found[0, :, 0], quantizer(w[0, :, 0] * share))


def test_orthogonal_columns_that_are_not_disturbed_give_rounding_to_nearest():
    w, quantizer = drawn(1, 5, 8), grid(5)
    x = torch.zeros(1, 16, 8).double()
    for column in range(8):  # powers of two, so that products and quotients are exact
        x[0, 2 * column : 2 * column + 2, column] = 2.0**column
    assert torch.equal(gpfq_weight(w, products(x, x), rounding(quantizer))[0], quantizer(w[0]))


def test_features_that_are_zero_behind_the_quantized_layers_are_rounded_to_nearest():
    w, x, quantizer = drawn(1, 5, 9), drawn(1, 60, 9, seed=3), grid(5)
    y = x.clone()
    y[..., [2, 6]] = 0
    found = gpfq_weight(w, products(x, y), rounding(quantizer))
    assert torch.equal(found[0][:, [2, 6]], quantizer(w[0])[:, [2, 6]])
    assert found.isfinite().all()


@pytest.mark.parametrize("text", ["w3a8", "w2a8"])
def test_the_network_comes_nearer_to_the_float_one_than_by_nearest(text):
    task = digits("digits-resnet", 60, text)
    start, (found, notes) = finish(nearest(task, Options())), run(task, "gpfq")
    x = task.inputs(range(task.n))
    before, after = (divergence(task, each, x) for each in (start, found))
    assert before > 0.05
    assert after < 0.5 * before
    assert "not to the nearest level" in notes[0]


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_every_layer_follows_the_float_network_behind_rounded_layers(name):
    task = digits(name, 60, "w3a8")
    network = task.network
    found, _ = run(task, "gpfq", batch_size=25)
    plan = plan_of(network, found, task.settings)
    x = task.inputs(range(60))
    for layer in network.table.layers[1:3]:
        unfolding = unfolding_of(network, layer, x)
        plain = unfolding.rows(Front(network, 0.0).input_of(0, x, layer.calls[0], Plan()))
        own = unfolding.rows(Front(network, 0.0).input_of(0, x, layer.calls[0], plan))
        quantizer = found.weights[layer.name]
        weight = network.weight(layer)
        codes = []
        matrix = unfolding.matrix(weight).double()
        for group in range(len(matrix)):
            size = matrix.shape[1]
            rows = slice(group * size, (group + 1) * size)
            part = replace(quantizer, scale=quantizer.scale[rows], zero_point=torch.zeros(size))
            codes.append(plain_gpfq(matrix[group], plain[group], own[group], part)[0])
        expected = torch.stack(codes).reshape(weight.shape).float()
        assert (expected != found.weight_values[layer.name]).double().mean() < 0.01
