"""The training of one unit: a plain loop that does the same, and what a step sees."""

import torch
from torch import nn

from analysis.models.network import build_network
from analysis.ptq.schedule import Schedule
from analysis.ptq.student import SoftStep
from analysis.ptq.unit_training import Course, rows_of, seen_at
from analysis.quant.quantizer import affine_quantizer
from analysis.quant.soft_rounding import rounded_up
from analysis.records import QuantSettings
from tests.analysis.models.toys import batch
from tests.reference.quantizing import quantize, task_of

SETTINGS = QuantSettings(activation_range="min_max")


def plainly_rounded(
    weight: torch.Tensor, scale: torch.Tensor, grid, x, wanted, iterations: int, rate: float
) -> torch.Tensor:
    """Codes (O, D) by AdaRound on ``x @ w.T``, written out: sigmoid, Adam and fixing by hand."""
    low, high = grid
    steps = (weight / scale[:, None]).clamp(low, high)
    floor = steps.floor().clamp_max(high - 1)
    a = -torch.log(1.2 / (steps - floor + 0.1) - 1)
    first, second, fixed = torch.zeros_like(a), torch.zeros_like(a), torch.zeros_like(a).bool()
    up = torch.zeros_like(a)
    for t in range(iterations):
        rows = rows_of(0, 0, t, len(x), 8)
        a.requires_grad_()
        h = torch.where(fixed, up, (1.2 * torch.sigmoid(a) - 0.1).clamp(0, 1))
        found = x[rows] @ ((floor + h) * scale[:, None]).T
        loss = (found - wanted[rows]).square().sum(1).mean()
        (gradient,) = torch.autograd.grad(loss, a)
        a = a.detach()
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient.square()
        corrected = second.div(1 - 0.999 ** (t + 1)).sqrt()
        a = a - rate * Schedule(iterations).rate(t) * first / (1 - 0.9 ** (t + 1)) / (
            corrected + 1e-12
        )
        count = int(Schedule(iterations).fixed(t) * a.numel())
        h = rounded_up(a)
        sure = (rounded_up(a) - 0.5).abs().flatten().tolist()
        order = sorted(
            (i for i in range(len(sure)) if not fixed.view(-1)[i]), key=lambda i: -sure[i]
        )
        for i in order[: max(0, count - int(fixed.sum()))]:
            fixed.view(-1)[i] = True
            up.view(-1)[i] = float(h.flatten()[i] >= 0.5)
    return floor + torch.where(fixed, up, (rounded_up(a) >= 0.5).to(a))


def test_one_linear_layer_gets_the_codes_of_a_plain_loop():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 6, bias=False)).eval()
    x = batch(7, 12)  # none is held out
    network = build_network(module, x[:2])
    work = task_of(network, x, "w3afloat", SETTINGS)
    name = network.table.names[0]
    found, _ = quantize(work, "adaround", iterations=15, batch_size=8, rounding_rate=0.05)
    weight = module[0].weight.detach()
    own = found.weights[name]
    codes = plainly_rounded(
        weight.double(),
        own.scale.double(),
        (own.qmin, own.qmax),
        x.double(),
        (x @ weight.T).double(),
        15,
        0.05,
    )
    assert dict(zip(found.logged, found.log[0], strict=True))["taken"] == 1
    assert torch.equal(own.codes(found.weight_values[name]).double(), codes)
    assert not torch.equal(codes, own.codes(weight).double())


def test_dropped_activations_are_quantized_in_a_random_half_that_the_step_decides():
    course = Course("block", 10, 8, 0.1, 1e-3, drop=True, fisher=None, memory_mib=1, seed=3)
    step = SoftStep(affine_quantizer(torch.zeros(1), torch.ones(1), (0, 3)))
    x = torch.rand(8, 5, 7, 9, generator=torch.Generator().manual_seed(0))
    found = seen_at(course, 1, 4)(step, x)
    quantized = step(x)
    whole, left = found == quantized, found == x
    assert (whole | left).all()
    n = x.numel()
    assert abs(int(whole.sum()) - n / 2) <= 4 * (n / 4) ** 0.5
    for place in range(8):  # every bit of the words that are drawn
        own = whole.flatten()[place::8]
        assert abs(int(own.sum()) - len(own) / 2) <= 4 * (len(own) / 4) ** 0.5
    assert torch.equal(found, seen_at(course, 1, 4)(step, x))
    assert not torch.equal(found, seen_at(course, 1, 5)(step, x))
    assert not torch.equal(found, seen_at(course, 2, 4)(step, x))


def test_every_sample_comes_once_before_any_comes_again():
    seen = [rows_of(5, 2, step, 24, 8) for step in range(6)]
    for epoch in (seen[:3], seen[3:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(24))
    assert not torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))
    assert not torch.equal(seen[0], rows_of(5, 3, 0, 24, 8))
    assert not torch.equal(seen[0], rows_of(6, 2, 0, 24, 8))
