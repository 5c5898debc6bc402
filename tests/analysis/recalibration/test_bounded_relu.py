import math
import re

import pytest
import torch
from torch import nn

from analysis.models.network import build_network
from analysis.models.replay import Plan
from analysis.quant.statistics import collect_statistics
from tests.analysis.models.toys import batch, conv
from tests.analysis.recalibration.nets import (
    chain,
    logits,
    network_of,
    recalibrate,
    relative_change,
    uneven,
)
from tests.reference.work import finish


def two_relus() -> nn.Module:
    return chain(conv(), nn.ReLU(), nn.MaxPool2d(2), conv(4), nn.ReLU(), conv(4))


def captured(network, x, *calls):
    with torch.no_grad():
        _, prefix = network.capture(x)
    return [prefix.outputs[call, 0] for call in calls]


def test_below_the_bound_it_is_a_relu_and_above_it_the_bound():
    network, x = network_of(two_relus()), batch(40, 3, 8, 8, seed=3)
    result, _ = recalibrate(network, "bounded_relu", x, percent=95.0, batch_size=17)
    (before,), (after,) = captured(network, x, 1), captured(result, x, 1)
    bound = float(after.max())
    torch.testing.assert_close(after, before.clamp_max(bound), rtol=0, atol=0)
    width = float(before.max()) / 2048
    assert bound == pytest.approx(float(before.double().quantile(0.95)), abs=2 * width)
    low = x * 1e-3  # nothing reaches a bound
    assert torch.equal(captured(result, low, 1)[0], captured(network, low, 1)[0])


def test_the_note_tells_the_share_that_is_clipped():
    network, x = network_of(two_relus()), batch(40, 3, 8, 8, seed=3)
    result, notes = recalibrate(network, "bounded_relu", x, percent=98.0)
    before, after = captured(network, x, 1, 4), captured(result, x, 1, 4)
    clipped = [int((b > a.max()).sum()) for b, a in zip(before, after, strict=True)]
    share = sum(clipped) / sum(b.numel() for b in before)
    assert 0.01 < share < 0.03
    assert "2 activations bounded at" in notes
    assert f"{share:.3%} of their values are clipped" in notes
    worst = max(c / b.numel() for c, b in zip(clipped, before, strict=True))
    assert f"({worst:.3%})" in notes


def test_a_bound_can_lie_deviations_above_the_mean():
    network, x = network_of(two_relus()), batch(40, 3, 8, 8, seed=3)
    result, _ = recalibrate(network, "bounded_relu", x, bound="deviations", deviations=2.0)
    (before,), (after,) = captured(network, x, 1), captured(result, x, 1)
    expected = float(before.mean() + 2 * before.std(correction=0))
    assert float(after.max()) == pytest.approx(expected, rel=1e-3)


def test_all_values_stay_at_one_hundred_percent():
    network, x = network_of(two_relus()), batch(40, 3, 8, 8, seed=3)
    result, notes = recalibrate(network, "bounded_relu", x, percent=100.0)
    assert torch.equal(logits(result, x), logits(network, x))
    assert "0.000% of their values are clipped" in notes
    assert relative_change(logits(network, x * 50), logits(result, x * 50)) > 0.01


def test_a_relu6_keeps_the_lower_of_both_limits():
    module = chain(conv(), nn.ReLU6(), conv(4))
    network = network_of(module)
    for scale, reached in ((1.0, False), (100.0, True)):
        x = batch(16, 3, 8, 8, seed=3) * scale
        result, _ = recalibrate(network, "bounded_relu", x, percent=99.0)
        (after,) = captured(result, x, 1)
        assert (float(after.max()) == 6.0) == reached
        assert float(after.max()) <= 6.0


def test_statistics_and_quantizers_see_the_bounded_values():
    network, x = network_of(two_relus()), batch(40, 3, 8, 8, seed=3)
    result, _ = recalibrate(network, "bounded_relu", x, percent=90.0)
    before, after = (finish(collect_statistics(n, lambda: [x], 1)) for n in (network, result))
    bounds = [float(a.max()) for a in captured(result, x, 1, 4)]
    assert after.high[1:].tolist() == pytest.approx(bounds)
    assert (after.high[1:] < before.high[1:]).all()
    seen = []

    def quantizer(z):
        seen.append(float(z.max()))
        return (z * 4).round() / 4

    with torch.no_grad():
        result(x * 9, Plan(outputs={(4, 0): quantizer}))
    assert seen == pytest.approx(bounds[1:])


def test_after_equalization_every_channel_keeps_its_own_lower_limit():
    module = uneven(chain(conv(3, 6), nn.ReLU6(), conv(6)), "0")
    x = batch(16, 3, 8, 8, seed=3) * 10
    network = build_network(module, x[:2])
    equalized, _ = recalibrate(network, "equalization", x)
    tops = captured(equalized, x * 100, 1)[0].amax((0, 2, 3))
    result, notes = recalibrate(equalized, "bounded_relu", x, percent=90.0)
    bound = float(re.search(r"bounded at ([\d.]+)", notes)[1])
    assert float(tops.min()) < bound < float(tops.max())
    after = captured(result, x * 100, 1)[0].amax((0, 2, 3))
    torch.testing.assert_close(after, tops.clamp_max(bound), rtol=2e-3, atol=0)
    once_more, _ = recalibrate(result, "equalization", x)
    assert relative_change(logits(result, x), logits(once_more, x)) < 1e-4


def test_what_is_no_relu_or_never_active_is_named_and_stays():
    module = chain(conv(), nn.GELU(), conv(4), nn.ReLU(), conv(4))
    with torch.no_grad():
        module[2].bias.fill_(-100.0)
    network = network_of(module)
    result, notes = recalibrate(network, "bounded_relu")
    assert "`1`: `gelu` is no ReLU" in notes
    assert "`3`: so few of its values are above zero" in notes
    assert not result.plan.outputs
    assert not math.isnan(float(logits(result, batch(2, 3, 8, 8)).sum()))
