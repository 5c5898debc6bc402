import pytest

from analysis.errors import QuantizationError
from analysis.models.cost import bops, costs, size_bits
from tests.reference.allocation import make_table

# By hand: a 3x3 convolution 2->4 and a 1x1 convolution 4->8 on 5x5 pixels, a linear layer 8->10.
HAND = make_table([72, 32, 80], macs=[72 * 25, 32 * 25, 80], others=22)


def test_size_and_bops_equal_a_hand_count():
    assert size_bits(HAND, [8, 4, 2]) == 72 * 8 + 32 * 4 + 80 * 2 + 22 * 32
    assert bops(HAND, [8, 4, 2], [8, 8, 4]) == 1800 * 64 + 800 * 32 + 80 * 8


def test_w8a8_is_the_reference_of_every_ratio():
    found = costs(HAND, [8, 8, 8], [8, 8, 8])
    assert found.size_ratio == found.bops_ratio == 1.0
    assert found.avg_weight_bits == found.avg_activation_bits == 8.0


def test_float_is_not_compressed():
    found = costs(HAND, [32, 32, 32], [32, 32, 32])
    assert found.compression == 1.0
    assert found.size_mib == 206 * 4 / 2**20
    assert found.bops_ratio == 16.0


def test_averages_weigh_layers_by_weights_and_by_macs():
    found = costs(HAND, [8, 4, 2], [8, 8, 4])
    assert found.avg_weight_bits == (72 * 8 + 32 * 4 + 80 * 2) / 184
    assert found.avg_activation_bits == (2600 * 8 + 80 * 4) / 2680


def test_whole_numbers_stay_exact_beyond_double_precision():
    table = make_table([3], macs=[2**60 + 1])
    assert bops(table, [3], [5]) == 15 * (2**60 + 1)


def test_bits_must_come_once_per_layer():
    with pytest.raises(QuantizationError, match="each of the 3 layers, got 2"):
        size_bits(HAND, [8, 8])


def test_a_model_without_layers_has_no_ratio():
    with pytest.raises(QuantizationError, match="must have a layer"):
        costs(make_table([]), [], [])


def test_more_weights_than_parameters_are_refused():
    with pytest.raises(QuantizationError, match="share is counted twice"):
        size_bits(make_table([10], others=-1), [8])
