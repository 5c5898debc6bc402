import numpy as np
import pytest
import torch
from torch import nn

from analysis.distributions.collect import collect_distributions, title_of
from analysis.distributions.findings import SAMPLES, findings
from analysis.distributions.summary import layer_summary
from analysis.models.network import build_network
from analysis.records import Distribution
from analysis.records.distributions import INPUT, POST_ACTIVATION, PRE_ACTIVATION, WEIGHT
from tests.reference.made_distributions import distribution, even, gauss, network, one
from tests.reference.work import finish

# --- what is well is left in peace ---------------------------------------------------------------


@pytest.mark.parametrize(("channels", "each"), [(16, 9), (16, 144), (64, 9), (64, 576), (4, 16)])
def test_gaussian_weights_yield_no_finding(channels, each):
    for seed in range(15):
        assert one(gauss(channels, each, seed)) == ()


def test_a_healthy_network_yields_no_finding():
    rng = np.random.default_rng(0)
    layers = 8
    found = network(
        weight=[distribution(gauss(16, 144, i, 0.5 ** (i % 3))) for i in range(layers)],
        input=[distribution(np.maximum(gauss(16, 4000, i), 0)) for i in range(layers)],
        pre_activation=[distribution(gauss(16, 4000, i + 50)) for i in range(layers)],
        post_activation=[distribution(rng.laplace(size=(16, 4000))) for _ in range(layers)],
    )
    assert findings(found) == ()


def test_uniform_and_laplace_weights_yield_no_finding():
    rng = np.random.default_rng(0)
    assert one(rng.uniform(-1, 1, (32, 300))) == ()
    assert one(rng.laplace(size=(32, 3000))) == ()


def test_a_missing_tensor_yields_no_finding():
    assert findings(network(weight=[None, None, None])) == ()


# --- channels ------------------------------------------------------------------------------------


def test_one_channel_that_widens_the_range_is_named_with_what_it_costs():
    values = even(16, 81, -0.4, 0.4)
    values[12] = np.linspace(-0.4, 1.7, 81)
    (finding,) = one(values)
    assert finding.kind == "wide_channel"
    assert finding.severity == pytest.approx(np.log2(2.1 / 0.8))
    assert finding.text == (
        "Channel 12 alone widens the range of the weights of `layer0.conv` from 0.8 to 2.1: "
        "the others use 38 % of it."
    )
    assert "per-channel" in finding.remedy


def test_one_channel_ten_times_as_wide_is_reported_once():
    values = even(16, 81, -1, 1)
    values[3] *= 10
    kinds = [finding.kind for finding in one(values)]
    assert kinds == ["wide_channel"]


def test_two_wide_channels_of_many_are_named_together():
    values = gauss(64, 144)
    values[[7, 41]] *= 8
    finding = one(values)[0]
    assert finding.kind == "wide_channel"
    assert finding.text.startswith("Channels 7 and 41 widen the range")
    assert "split these channels" in finding.remedy


def test_many_somewhat_wider_channels_are_not_blamed_one_by_one():
    assert one(gauss(64, 144) * np.linspace(1, 2, 64)[:, None]) == ()


def test_a_wide_channel_of_an_activation_calls_for_equalization():
    values = np.abs(gauss(32, 2000))
    values[5] *= 6
    (found, *_) = one(values, POST_ACTIVATION)
    assert found.kind == "wide_channel"
    assert "the output of `layer0.conv`" in found.text
    assert found.remedy.startswith("Try cross-layer equalization with the layer behind, or split")
    tensor = distribution(values)
    handed_on = network(pre_activation=[tensor, None], input=[None, tensor])
    (found, *_) = findings(handed_on)
    assert "the input of `layer1.conv`" in found.text
    assert found.remedy.startswith("Try cross-layer equalization with the layer before, or split")


def test_what_no_layer_makes_is_not_to_be_equalized():
    values = np.abs(gauss(32, 2000))
    values[5] *= 6
    (found, *_) = findings(network(input=[distribution(values, "network input")]))
    assert found.remedy == (
        "Try to normalise the channels of the samples to equal ranges, or more bits."
    )
    (found, *_) = findings(network(input=[distribution(values, "add")]))
    assert found.remedy == "Try a percentile or a least-squared-error range, or more bits."


def test_the_samples_of_a_network_are_known_as_such():
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    seen = finish(collect_distributions(build_network(module, x[:2]), lambda: [x], 1))
    assert seen.of("0", INPUT).title == SAMPLES
    assert seen.of("2", INPUT).title == "relu in 1"


def test_a_module_named_as_its_call_is_named_once():
    assert title_of("relu in relu") == "relu"
    assert title_of("relu in block.relu") == "block.relu"
    assert title_of("relu in block.act") == "relu in block.act"
    assert title_of("add") == "add"


def test_channels_of_very_different_widths_lower_the_average_precision():
    widths = 2.0 ** -np.arange(8).repeat(4)
    values = even(32, 101, -1, 1) * widths[:, None]
    (finding,) = one(values)
    assert finding.kind == "uneven_channels"
    precision = widths.mean()
    assert finding.severity == pytest.approx(-np.log2(precision))
    typical = 8 + np.log2(np.median(widths))
    assert finding.text == (
        f"The channels of the weights of `layer0.conv` use {100 * precision:.0f} % of the range on "
        f"average: the typical one is left with {typical:.1f} of 8 bits."
    )


def test_bits_left_depend_on_the_bits_asked_for():
    values = even(32, 101, -1, 1) * (2.0 ** -np.arange(8).repeat(4))[:, None]
    (finding,) = one(values, bits=2)
    assert "0.0 of 2 bits" in finding.text
    assert finding.severity <= 2


def test_dead_channels_are_counted_and_listed():
    values = gauss(16, 144)
    values[[0, 3, 7, 9]] = 0.0
    (finding,) = one(values)
    assert finding.kind == "dead_channels"
    assert finding.severity == pytest.approx(np.log2(16 / 12))
    assert finding.text == (
        "4 of 16 channels of the weights of `layer0.conv` hold one value only "
        "(channels 0, 3, 7, 9)."
    )


def test_a_long_list_of_dead_channels_is_cut_and_says_so():
    values = gauss(64, 144)
    values[::4] = 1.0
    (finding,) = one(values)
    assert finding.text.endswith(" (channels 0, 4, 8, 12, 16, 20, 24, 28 and 8 more).")


def test_channels_that_are_all_dead_but_different_cost_all_bits():
    found = one(np.repeat(np.arange(16.0)[:, None] - 7.5, 9, 1))
    assert [(finding.kind, finding.severity) for finding in found] == [("dead_channels", 8.0)]


def test_a_weight_with_one_value_per_channel_has_no_dead_channels():
    assert one(gauss(64, 1)) == ()


# --- the tensor as a whole -----------------------------------------------------------------------


def test_heavy_tails_call_for_clipping():
    values = gauss(16, 10_000)
    values[:, ::5000], values[:, 1::5000] = 40, -40
    (finding,) = one(values)
    assert finding.kind == "heavy_tails"
    assert "percentile" in finding.remedy
    whole = distribution(values)
    ratio = whole.range / (whole.value("q99") - whole.value("q01"))
    assert f"{ratio:.3g} times as much" in finding.text
    # 160,000 Gaussian values span 8.9 deviations, their quantiles lie 4.65 apart.
    assert finding.severity == pytest.approx(np.log2(ratio / (8.9 / 4.65)), abs=0.02)


def test_heavy_tails_behind_a_relu_may_be_bounded():
    values = np.maximum(gauss(16, 10_000), 0)
    values[:, ::2500] += 60
    finding = one(values, POST_ACTIVATION)[0]
    assert finding.kind == "heavy_tails"
    assert "bound the ReLU" in finding.remedy
    assert "bound" not in one(values, INPUT)[0].remedy


def test_tails_of_a_wide_channel_are_not_reported_twice():
    values = gauss(256, 100)
    values[17] *= 30
    assert [finding.kind for finding in one(values)] == ["wide_channel"]


def test_a_range_far_from_zero_wastes_levels():
    (finding,) = one(even(4, 101, 4.0, 5.0), INPUT)
    assert finding.kind == "far_from_zero"
    assert finding.severity == pytest.approx(np.log2(5))
    assert "4 to 5" in finding.text
    assert "80 % of its levels" in finding.text
    assert "bias absorption" in finding.remedy


def test_positive_weights_lose_half_of_a_symmetric_grid_and_activations_nothing():
    values = even(4, 101, 0.0, 2.0)
    (finding,) = one(values, WEIGHT)
    assert (finding.kind, finding.severity) == ("far_from_zero", 1.0)
    assert one(values, INPUT) == ()


def test_a_tensor_of_nearly_all_zeros_is_named_with_their_share():
    values = np.zeros((4, 1000))
    values[:, :10] = np.linspace(-1, 1, 10)
    found = {finding.kind: finding for finding in one(values, INPUT)}
    assert "99 %" in found["mostly_zero"].text
    assert found["mostly_zero"].severity == pytest.approx(np.log2(5))


def test_a_constant_tensor_loses_all_bits_and_is_reported_as_nothing_else():
    (finding,) = one(np.full((4, 10), 0.5), POST_ACTIVATION, bits=6)
    assert (finding.kind, finding.severity) == ("constant", 6.0)
    assert (
        finding.text
        == "All of the values in the output of `layer0.conv` are 0.5: that tells nothing."
    )


def test_constant_weights_that_are_not_zero_still_compute():
    (finding,) = one(np.full((4, 10), 0.1))
    assert finding.text == (
        "All of the weights of `layer0.conv` are 0.1: the layer only sums up what it reads."
    )
    assert "take the layer out" not in finding.remedy
    (finding,) = one(np.full((4, 10), -0.0))
    assert "are 0: whatever the layer reads, it gives out its bias." in finding.text
    assert "take the layer out" in finding.remedy


def test_constant_channels_of_weights_are_pruned_only_where_they_are_zero():
    values = gauss(16, 144)
    values[3] = 0.0
    (finding,) = one(values)
    assert (
        finding.text
    ) == "1 of 16 channels of the weights of `layer0.conv` holds one value only (channel 3)."
    assert finding.remedy.startswith("Try to prune")
    values[3] = 0.2
    (finding,) = one(values)
    assert finding.remedy.startswith("Check that they have learnt something")


@pytest.mark.parametrize(("scales", "side"), [((9, 1, 1, 1), "behind"), ((1, 1, 1, 9), "before")])
def test_the_ends_of_the_network_have_a_neighbour_on_one_side(scales, side):
    (finding,) = findings(network(weight=scaled(*scales)))
    assert finding.remedy == f"Try cross-layer equalization with the layer {side}."


# --- the layers among each other -----------------------------------------------------------------


def scaled(*scales: float) -> list[Distribution]:
    return [distribution(even(4, 101, -scale, scale)) for scale in scales]


def test_a_layer_whose_range_is_far_above_its_neighbours_is_named():
    (finding,) = findings(network(weight=scaled(1, 1.5, 32, 2, 1)))
    assert (finding.kind, finding.layer, finding.role) == ("range_jump", "layer2.conv", WEIGHT)
    assert finding.severity == pytest.approx(1.0)  # 16 times the nearer neighbour, 8 is usual
    assert "span 64, at least 16 times as much" in finding.text
    assert "equalization" in finding.remedy


def test_a_layer_whose_range_is_far_below_its_neighbours_is_named_as_harmless():
    (finding,) = findings(network(weight=scaled(1, 1, 0.05, 1, 1)))
    assert finding.layer == "layer2.conv"
    assert "0.1 only" in finding.text
    assert "costs it no bits" in finding.remedy


@pytest.mark.parametrize(("scales", "layer"), [((20, 1, 1), 0), ((1, 1, 20), 2)])
def test_the_ends_of_the_network_are_compared_with_two_layers(scales, layer):
    (finding,) = findings(network(weight=scaled(*scales)))
    assert finding.layer == f"layer{layer}.conv"


def test_a_lasting_change_of_the_range_is_no_jump():
    assert findings(network(weight=scaled(1, 1, 1, 20, 20, 20))) == ()


# --- all together --------------------------------------------------------------------------------


def test_the_worst_comes_first():
    wide, dead = gauss(16, 144), gauss(16, 144, 1)
    wide[2] *= 20
    dead[5] = 0.0
    found = findings(network(weight=[distribution(dead), distribution(wide)]))
    assert [finding.kind for finding in found] == ["wide_channel", "dead_channels"]
    assert found[0].severity > found[1].severity


def test_a_tensor_that_several_layers_see_is_reported_once_where_it_is_made():
    values = distribution(even(4, 101, 4.0, 5.0))
    found = findings(network(post_activation=[values, None], input=[None, values]))
    assert [(finding.layer, finding.role) for finding in found] == [
        ("layer0.conv", POST_ACTIVATION)
    ]


def test_what_only_precedes_an_activation_function_has_no_grid_and_no_finding():
    assert one(even(4, 101, 4.0, 5.0), PRE_ACTIVATION) == ()


# --- the table -----------------------------------------------------------------------------------


def test_the_summary_holds_the_definitions_of_every_column():
    values = even(5, 101, -1, 1)
    values[1] *= 0.5
    values[2] *= 0.25
    values[3] = 0.0
    (row,) = layer_summary(network(weight=[distribution(values)]), WEIGHT, 8)
    assert row["layer"] == "layer0.conv"
    assert (row["low"], row["high"], row["mean"]) == (-1, 1, pytest.approx(0, abs=1e-12))
    assert row["acp"] == pytest.approx((1 + 0.5 + 0.25 + 1) / 4)
    assert row["bits_median"] == pytest.approx(7.5)
    assert row["bits_worst"] == 6
    assert (row["dead"], row["channels"]) == (1, 5)
    assert row["zeros"] == pytest.approx((101 + 4) / 505)
    q01, q99 = np.quantile(values, [0.01, 0.99])
    assert row["outlier_ratio"] == pytest.approx(2 / (q99 - q01))
    assert row["reason"] == ""


def test_the_summary_gives_the_reason_where_there_is_no_tensor():
    rows = layer_summary(network(weight=[distribution(gauss()), None]), WEIGHT, 8)
    assert [row["layer"] for row in rows] == ["layer0.conv", "layer1.conv"]
    assert rows[1]["reason"] == "not looked at"
    assert rows[1]["low"] is None
    assert rows[0].keys() == rows[1].keys()


def test_the_summary_of_a_constant_has_no_ratios():
    (row,) = layer_summary(network(input=[distribution(np.ones((3, 4)))]), INPUT, 8)
    assert row["acp"] is row["bits_worst"] is row["outlier_ratio"] is row["kurtosis"] is None
    assert row["dead"] == 3
