from dataclasses import replace

import pytest
import torch
from torch import nn

from analysis.models.network import build_network
from analysis.models.replay import Plan
from analysis.options import Options
from analysis.ptq.nearest import nearest
from analysis.ptq.student import SoftStep, SoftWeight, Student
from analysis.quant.configure import Quantization, plan_of
from analysis.quant.quantizer import Quantizer, affine_quantizer
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, randomised
from tests.reference.quantizing import task_of
from tests.reference.work import finish

SETTINGS = QuantSettings(activation_range="min_max", weight_range="min_max")
NETS = {
    "residual": toys.residual,
    "in place": toys.residual_in_place,
    "attention": toys.self_attention,
    "twice": toys.twice,
    "transposed": toys.transposed,
    "padded": toys.padded,
}


def weight(bits: int = 3, rows: int = 5, columns: int = 40) -> SoftWeight:
    values = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    limit = values.abs().amax(1) * 0.7  # some are clipped
    qmax = 2 ** (bits - 1) - 1
    quantizer = Quantizer(limit / qmax, torch.zeros(rows), -qmax - 1, qmax, 0)
    return SoftWeight(values, quantizer), values


def start_of(name: str, text: str = "w3a8", scope: str = "tensor", n: int = 12):
    module = randomised(NETS[name]())
    x = batch(n, 3, 8, 8)
    network = build_network(module, x[:2])
    task = task_of(network, x, text, replace(SETTINGS, scope=scope))
    return network, x, task, finish(nearest(task, Options()))


def test_a_soft_weight_begins_as_the_weight_where_the_grid_reaches():
    own, values = weight()
    scale = own.scale
    reached = (values / scale >= own.quantizer.qmin) & (values / scale <= own.quantizer.qmax)
    assert 0.5 < reached.float().mean() < 1
    assert own.value()[reached].tolist() == pytest.approx(values[reached].tolist(), abs=1e-6)
    clipped = own.value() / scale
    assert own.quantizer.qmin <= clipped.min()
    assert clipped.max() <= own.quantizer.qmax


def test_hardened_at_once_it_is_rounded_to_nearest():
    own, values = weight()
    assert torch.equal(own.codes(), own.quantizer.codes(values))
    assert torch.equal(own.hardened().values(own.codes()), own.quantizer(values))


@pytest.mark.parametrize("seed", range(5))
def test_wherever_logits_go_codes_stay_on_the_grid_and_within_a_step_of_the_floor(seed):
    own, values = weight()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        own.logits.copy_(5 * torch.randn(own.logits.shape, generator=generator))
        own.growth.copy_(3 * torch.randn(own.growth.shape, generator=generator))
    up = own.codes() - own.floor
    assert set(up.unique().tolist()) <= {0.0, 1.0}
    assert own.codes().min() >= own.quantizer.qmin
    assert own.codes().max() <= own.quantizer.qmax
    inside = (values / own.scale).clamp(own.quantizer.qmin, own.quantizer.qmax)
    assert (own.codes() - inside).abs().max() <= 1.0 + 1e-6
    assert (own.hardened().scale > 0).all()


def test_the_surest_roundings_are_fixed_first_and_stay_fixed():
    own, _ = weight()
    up = own.rounding().detach().clone()
    own.fix(0.3)
    sure = (up - 0.5).abs()
    assert int(own.fixed.sum()) == int(0.3 * up.numel())
    assert sure[own.fixed].min() >= sure[~own.fixed].max()
    first = own.fixed.clone()
    chosen = own.rounding()[first].clone()
    with torch.no_grad():
        own.logits.neg_()
    own.fix(0.1)
    assert torch.equal(own.fixed, first)
    own.fix(1.0)
    assert own.fixed.all()
    assert torch.equal(own.rounding()[first], chosen)
    assert torch.equal(own.rounding(), own.rounding().round())


@pytest.mark.parametrize("scope", ["tensor", "layer_input"])
@pytest.mark.parametrize("name", NETS)
def test_what_is_trained_is_what_is_returned_once_all_is_fixed(name, scope):
    network, x, task, start = start_of(name, scope=scope)
    student = Student.of(network, start, task.settings)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for own in student.weights.values():
            own.logits.add_(torch.randn(own.logits.shape, generator=generator))
            own.growth.add_(0.1 * torch.randn(own.growth.shape, generator=generator))
        for bias in student.biases.values():
            bias.add_(0.1)
        for step in student.steps.values():
            step.growth.add_(0.05)
    student.fix(1.0)
    assert student.undecided == 0.0
    hardened = plan_of(network, student.hardened(start), task.settings)
    with torch.no_grad():
        assert torch.equal(network(x, student.plan()), network(x, hardened))


@pytest.mark.parametrize("name", NETS)
def test_without_activations_the_student_begins_as_the_float_network(name):
    network, x, task, start = start_of(name, "w3a8")
    student = Student.of(network, start, task.settings)
    plan = student.plan(lambda step, value: step(value, 0.0))
    with torch.no_grad():
        soft, plain = network(x, plan), network(x, Plan())
    # Min-max scales clip nothing but the most negative code's side.
    assert soft == pytest.approx(plain, abs=1e-4 * float(plain.abs().max()))


@pytest.mark.parametrize("name", NETS)
def test_every_trained_thing_gets_a_gradient(name):
    network, x, task, start = start_of(name)
    student = Student.of(network, start, task.settings)
    with torch.enable_grad():
        loss = network(x, student.plan()).square().sum()
    things = [own.logits for own in student.weights.values()]
    things += [own.growth for own in student.weights.values()]
    things += [own.growth for own in student.steps.values()]
    for gradient in torch.autograd.grad(loss, things):
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


def test_the_step_of_an_activation_follows_the_gradient_of_lsq():
    quantizer = affine_quantizer(torch.tensor([0.0]), torch.tensor([1.5]), (0, 3))
    step = SoftStep(quantizer)
    x = torch.tensor([0.2, 0.6, 0.9, 4.0], requires_grad=True)
    step(x).sum().backward()
    # s = 0.5: rounded minus exact inside, qmax beyond; times s, for its logarithm is trained.
    expected = (0 - 0.4) + (1 - 1.2) + (2 - 1.8) + 3
    assert float(step.growth.grad) == pytest.approx(0.5 * expected, rel=1e-5)
    assert x.grad.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_the_shares_that_moved_are_counted_layer_by_layer():
    network, _, task, start = start_of("residual")
    student = Student.of(network, start, task.settings)
    assert set(student.moved.values()) == {0.0}
    name = network.table.names[0]
    own = student.weights[name]
    with torch.no_grad():
        own.logits.copy_(torch.where(own.nearest > 0.5, -9.0, 9.0))
    assert student.moved[name] == 1.0
    assert sum(student.moved.values()) == 1.0


def test_a_layer_in_float_is_left_alone():
    module = randomised(NETS["residual"]())
    x = batch(8, 3, 8, 8)
    network = build_network(module, x[:2])
    first = network.table.names[0]
    task = task_of(network, x, "w3a8", SETTINGS, **{first: "wfloata8"})
    start = finish(nearest(task, Options()))
    student = Student.of(network, start, task.settings)
    assert first not in student.weights
    assert first not in student.hardened(Quantization()).weights
    assert isinstance(module, nn.Module)
