from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.data.digits import load_split
from analysis.errors import QuantizationError
from analysis.models import demo
from analysis.models.network import NOTHING, build_network
from analysis.options import Options
from analysis.ptq import PTQTask
from analysis.ptq.gptq import gptq_weight, in_turn, inverse_factor
from analysis.ptq.layer_inputs import Front
from analysis.ptq.nearest import nearest
from analysis.quant.configure import Quantization, plan_of
from analysis.quant.quantizer import Quantizer
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch
from tests.reference.quantizing import quantize, task_of
from tests.reference.work import finish

SETTINGS = QuantSettings(activation_range="min_max")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def grid(rows: int, bits: int = 3, step: float = 0.4) -> Quantizer:
    scale = torch.linspace(step, 1.5 * step, rows)
    top = 2 ** (bits - 1) - 1
    return Quantizer(scale, torch.zeros(rows), -top - 1, top, 0)


def rounding(quantizer: Quantizer):
    return lambda w: quantizer(w.flatten()).view_as(w)


def correlated(groups: int, rows: int, columns: int, seed: int = 1) -> Tensor:
    return drawn(groups, rows, columns, seed=seed) @ drawn(groups, columns, columns, seed=seed + 1)


def plain_gptq(w: Tensor, hessian: Tensor, quantizer: Quantizer, damping: float) -> Tensor:
    """One group (R, D): optimal brain surgeon, the inverse Hessian shrunk column by column."""
    w, columns = w.clone(), w.shape[1]
    hessian = hessian + damping * hessian.diagonal().mean() * torch.eye(columns).double()
    found = torch.zeros_like(w)
    for j in range(columns):
        inverse = torch.linalg.inv(hessian[j:, j:])  # of what is not rounded yet
        found[:, j] = quantizer(w[:, j])
        for row in range(len(w)):
            error = (w[row, j] - found[row, j]) / inverse[0, 0]
            w[row, j:] -= error * inverse[0]
    return found


def run(task: PTQTask, name: str = "gptq", **options: object) -> tuple[Quantization, list[str]]:
    return quantize(task, name, **options)


def divergence(task: PTQTask, found: Quantization, x: Tensor) -> float:
    plan = plan_of(task.network, found, task.settings)
    with torch.no_grad():
        log_p, log_q = (F.log_softmax(task.network(x, p).double(), 1) for p in (NOTHING, plan))
    return float((log_p.exp() * (log_p - log_q)).sum(1).mean())


@cache
def digits(name: str, n: int, text: str, **settings: object) -> PTQTask:
    pixels = torch.from_numpy(load_split("train")[0][:n].astype(np.float32)) / 255
    x = (pixels - demo.DEMO_MEAN) / demo.DEMO_STD
    network = build_network(demo.load(name), x[:2])
    ends = {network.table.names[0]: "w8a8", network.table.names[-1]: "w8a8"}
    return task_of(network, x, text, replace(SETTINGS, **settings), **ends)


def test_the_factor_is_upper_triangular_and_gives_the_inverse():
    x = correlated(3, 40, 7)
    factor = inverse_factor(x.mT @ x)
    assert torch.equal(factor, factor.triu())
    assert (factor.mT @ factor) @ (x.mT @ x) == pytest.approx(
        torch.eye(7).double().expand(3, 7, 7), abs=1e-8
    )
    assert (factor.diagonal(dim1=1, dim2=2) > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_columns_in_turn_are_optimal_brain_surgeon_in_plain_loops(seed):
    w, x = drawn(2, 4, 9, seed=seed), correlated(2, 60, 9, seed=seed + 5)
    hessian = 2 * x.mT @ x
    quantizer = grid(8)
    found = gptq_weight(w, hessian, rounding(quantizer), damping=0.01, act_order=False)
    for group, rows in enumerate((slice(0, 4), slice(4, 8))):
        own = replace(quantizer, scale=quantizer.scale[rows], zero_point=torch.zeros(4))
        assert torch.allclose(found[group], plain_gptq(w[group], hessian[group], own, 0.01))


def test_columns_in_another_order_are_the_same_problem_with_columns_moved():
    w, x, quantizer = drawn(1, 5, 9), correlated(1, 60, 9), grid(5)
    hessian = 2 * x.mT @ x
    order = hessian[0].diagonal().argsort(descending=True)
    found = gptq_weight(w, hessian, rounding(quantizer), damping=0.01, act_order=True)
    expected = plain_gptq(w[0][:, order], hessian[0][order][:, order], quantizer, 0.01)
    assert torch.allclose(found[0][:, order], expected)
    assert not torch.equal(
        found, gptq_weight(w, hessian, rounding(quantizer), damping=0.01, act_order=False)
    )


@pytest.mark.parametrize("act_order", [False, True])
def test_a_hessian_like_the_identity_gives_rounding_to_nearest(act_order):
    w, quantizer = drawn(1, 5, 200), grid(5)
    found = gptq_weight(
        w, 3.0 * torch.eye(200).double()[None], rounding(quantizer), damping=0.01,
        act_order=act_order,
    )  # fmt: skip
    assert torch.equal(found[0], quantizer(w[0]))


def test_feedback_over_more_than_one_block_is_that_of_plain_loops():
    w, shares, quantizer = drawn(1, 3, 300), drawn(1, 300, 300, seed=4) / 30, grid(3)
    for values in (False, True):
        found = in_turn(w, shares, rounding(quantizer), values=values)
        fed = torch.zeros(3, 300).double()
        for j in range(300):
            v = w[0, :, j] + fed[:, :j] @ shares[0, :j, j]
            q = quantizer(v)
            assert torch.allclose(found[0, :, j], q)
            fed[:, j] = q if values else v - q


def test_the_last_column_s_error_is_made_up_for_by_nobody():
    w, x, quantizer = drawn(1, 5, 9), correlated(1, 60, 9), grid(5)
    hessian = 2 * x.mT @ x
    found = gptq_weight(w, hessian, rounding(quantizer), damping=0.01, act_order=False)
    w[..., -1] += 0.3
    other = gptq_weight(w, hessian, rounding(quantizer), damping=0.01, act_order=False)
    assert torch.equal(other[..., :-1], found[..., :-1])
    assert not torch.equal(other[..., -1], found[..., -1])


def test_two_columns_by_hand():
    # H = [[2, 1], [1, 2]]: an error e of the first is best met by +e / 2 in the second.
    hessian = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]]).double()
    quantizer = Quantizer(torch.ones(1), torch.zeros(1), -4, 3, 0)
    w = torch.tensor([[[0.4, 0.4]]]).double()
    found = gptq_weight(w, hessian, rounding(quantizer), damping=1e-4, act_order=False)
    assert found.tolist() == [[[0.0, 1.0]]]  # 0.4 + 0.4 / 2 = 0.6


def test_columns_that_only_meet_zeros_are_rounded_to_nearest_and_disturb_nobody():
    w, x, quantizer = drawn(1, 5, 9), correlated(1, 60, 9), grid(5)
    x[..., [2, 6]] = 0
    live = [0, 1, 3, 4, 5, 7, 8]
    for act_order in (False, True):
        options = {"damping": 0.01, "act_order": act_order}
        found = gptq_weight(w, x.mT @ x, rounding(quantizer), **options)
        alone = x[..., live].mT @ x[..., live]
        expected = gptq_weight(w[..., live], alone, rounding(quantizer), **options)
        assert torch.equal(found[..., live], expected)
        assert torch.equal(found[0][:, [2, 6]], quantizer(w[0])[:, [2, 6]])


def test_a_hessian_that_is_not_positive_definite_is_refused():
    hessian = torch.tensor([[[1.0, 3.0], [3.0, 1.0]]]).double()
    with pytest.raises(QuantizationError, match="Raise the damping"):
        gptq_weight(drawn(1, 2, 2), hessian, rounding(grid(2)), damping=0.01, act_order=False)


# --- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["tensor", "layer_input"])
@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_output_errors_fall_below_rounding_to_nearest(name, scope):
    task = digits(name, 60, "w3a8", scope=scope)
    network = task.network
    start, (found, _) = finish(nearest(task, Options())), run(task)
    x = task.inputs(range(task.n))
    fell = []
    for layer in network.table.layers:
        plan = plan_of(network, found, task.settings)
        z = Front(network, 0.0).input_of(0, x, layer.calls[0], plan)
        outputs = [
            network_output(network, layer, z, weight)
            for weight in (
                network.weight(layer),
                start.weights[layer.name](network.weight(layer)),
                found.weight_values[layer.name],
            )
        ]
        fell.append(float((outputs[2] - outputs[0]).norm() / (outputs[1] - outputs[0]).norm()))
    assert np.median(fell) < 0.8
    assert np.mean(np.array(fell) < 1) > 0.85


def network_output(network, layer, z: Tensor, weight: Tensor) -> Tensor:
    """The layer's own module's output on z with another weight and no bias."""
    module = network.module.get_submodule(layer.name)
    with torch.no_grad():
        if isinstance(module, nn.Linear):
            return F.linear(z, weight)
        return F.conv2d(
            z, weight, None, module.stride, module.padding, module.dilation, module.groups
        )


@pytest.mark.parametrize("text", ["w3a8", "w2a8"])
def test_the_network_comes_nearer_to_the_float_one_on_digits(text):
    task = digits("digits-resnet", 60, text)
    pixels = torch.from_numpy(load_split("evaluation")[0][:200].astype(np.float32)) / 255
    unseen = (pixels - demo.DEMO_MEAN) / demo.DEMO_STD
    start, (found, notes) = finish(nearest(task, Options())), run(task)
    before, after = (divergence(task, each, unseen) for each in (start, found))
    assert before > 0.05
    assert after < 0.5 * before
    assert "rounded to nearest; it changes most in `" in notes[0]


def test_values_are_on_the_grid_of_nearest_and_nothing_else_changes():
    task = digits("digits-resnet", 60, "w3a8")
    start, (found, _) = finish(nearest(task, Options())), run(task)
    assert found.biases == {}
    for name, quantizer in found.weights.items():
        values = found.weight_values[name]
        assert torch.equal(quantizer.scale, start.weights[name].scale)
        assert torch.equal(quantizer.values(quantizer.codes(values)), values)
        assert values.dtype == task.network.weight(task.network.layer(name)).dtype


def test_per_tensor_scales_and_batch_sizes_do_for_it():
    task = digits("digits-mobilenet", 40, "w4afloat", per_channel=False)
    one, _ = run(task, batch_size=7, act_order=True)
    other, _ = run(task, batch_size=40, act_order=True)
    differing = [
        float((one.weight_values[name] != other.weight_values[name]).double().mean())
        for name in task.network.table.names
    ]
    assert differing[0] == 0.0
    assert np.mean(differing) < 0.02  # sums in another order, at ties


def test_every_layer_sees_the_rounded_layers_before_it():
    task = digits("digits-resnet", 60, "w2a8")
    network = task.network
    found, _ = run(task, batch_size=60)
    layer = network.table.layers[2]
    plan = plan_of(network, found, task.settings)
    z = Front(network, 0.0).input_of(0, task.inputs(range(60)), layer.calls[0], plan)
    rows = F.unfold(z, 3, padding=1).mT.flatten(0, 1).double()
    quantizer, weight = found.weights[layer.name], network.weight(layer)
    expected = plain_gptq(weight.flatten(1).double(), 2 * rows.T @ rows, quantizer, 0.01)
    differing = expected.reshape(weight.shape).float() != found.weight_values[layer.name]
    assert differing.double().mean() < 0.01


@pytest.mark.parametrize("name", ["gptq", "gpfq"])
def test_layers_in_float_stay_and_what_cannot_be_unfolded_is_rounded_to_nearest(name):
    x = batch(12, 3, 8, 8)
    network = build_network(toys.twice(), x[:2])
    task = task_of(network, x, "w3a8", SETTINGS, first="wfloata8")
    found, notes = run(task, name)
    assert set(found.weight_values) == {"head"}
    assert set(found.weights) == {"again", "head"}
    assert (
        "Not rounded by their inputs, but to nearest: `again`: it is called 2 times, with other "
        "inputs each time." in notes
    )


@pytest.mark.parametrize("name", ["gptq", "gpfq"])
@pytest.mark.parametrize(
    "toy", ["residual_in_place", "self_attention", "dense", "functional", "padded", "standardised"]
)
def test_networks_of_many_kinds_are_rounded(toy, name):
    x = batch(12, 3, 8, 8)
    network = build_network(toys.TOYS[toy](), x[:2])
    task = task_of(network, x, "w3a8", SETTINGS)
    found, _ = run(task, name)
    assert found.weight_values
    with torch.no_grad():
        assert network(x, plan_of(network, found, SETTINGS)).isfinite().all()


@pytest.mark.parametrize("name", ["gptq", "gpfq"])
def test_few_samples_and_nothing_to_round_are_said(name):
    x = batch(2, 3, 8, 8)
    network = build_network(toys.residual(), x)
    _, notes = run(task_of(network, x, "w3a8", SETTINGS), name)
    assert any(n.startswith("Fewer rows of inputs than weights") and "`head`" in n for n in notes)
    found, notes = run(task_of(network, x, "wfloata8", SETTINGS), name)
    assert found.weight_values == {}
    assert notes == ["No weight was rounded by its inputs."]
