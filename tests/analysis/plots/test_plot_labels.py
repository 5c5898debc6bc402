import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.plots.labels import (
    is_wide,
    layer_labels,
    number,
    plain,
    scale_ticks,
    tick_texts,
    ticks,
)
from tests.analysis.plots.records_to_draw import named

PART = st.text("ab01_", min_size=1, max_size=12)
NAME = st.lists(PART, min_size=1, max_size=5).map(".".join)


def test_parts_that_all_names_share_are_dropped():
    assert layer_labels(["net.a.conv", "net.a.fc"]) == ("conv", "fc")


def test_the_word_before_a_number_is_dropped_when_most_names_begin_with_it():
    names = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "fc"]
    assert layer_labels(names) == ("conv1", "1.0.conv1", "1.0.conv2", "2.0.conv1", "fc")


def test_a_word_is_kept_where_dropping_it_would_make_two_labels_equal():
    names = ["layer1.a", "layer2.a", "layer3.a", "1.a"]
    assert layer_labels(names) == tuple(names)


def test_one_layer_keeps_its_name():
    assert layer_labels(["features.0"]) == ("features.0",)


def test_a_long_name_loses_its_middle():
    assert layer_labels(["abcdefghijklmnopqrstuvwxyz", "b"], 10) == ("abc…uvwxyz", "b")


def test_two_hundred_long_names_stay_short_and_different():
    labels = layer_labels(named(200))
    assert len(set(labels)) == 200
    assert max(map(len, labels)) <= 32


@given(st.lists(NAME, min_size=1, max_size=12, unique=True), st.integers(3, 12))
def test_labels_are_as_many_and_as_different_as_the_names(names, longest):
    labels = layer_labels(names, longest)
    assert len(labels) == len(set(labels)) == len(names)


@pytest.mark.parametrize("amount", [1, 20, 44, 45, 200, 1000])
def test_ticks_never_exceed_the_room(amount):
    positions, texts = ticks([f"l{at}" for at in range(amount)], 44)
    assert len(positions) <= 44
    assert texts == [f"l{at}" for at in positions]


def test_numbers_have_three_digits():
    values = [0.0, 1.0, 12345.0, 0.00123456, 4.5e-7, -0.25, float("nan")]
    texts = ["0", "1.00", "12,345", "0.00123", "4.5e-7", "-0.250", "nan"]
    assert [number(value) for value in values] == texts


def test_ticks_have_as_few_digits_as_tell_them_apart():
    assert tick_texts([1e-5, 0.001, 100.0, 1000.0]) == ["1e-5", "0.001", "100", "1,000"]
    assert tick_texts([1.8901e-6, 1.8902e-6]) == ["1.8901e-6", "1.8902e-6"]


@given(st.floats(1e-9, 1e6), st.floats(1.001, 1e9), st.booleans())
def test_scale_ticks_are_inside_the_scale_and_rise(low, factor, logarithmic):
    high = low * factor
    found = scale_ticks(low, high, logarithmic)
    slack = 1e-9 * (high - low)
    assert 2 <= len(found) <= 7
    assert found == sorted(set(found))
    assert low - slack <= found[0]
    assert found[-1] <= high + slack


def test_a_scale_of_one_value_has_one_tick():
    assert scale_ticks(2.0, 2.0, False) == [2.0]


def test_wide_means_positive_and_more_than_twentyfold():
    assert is_wide(np.array([1.0, 21.0, np.nan]))
    assert not is_wide(np.array([1.0, 19.0]))
    assert not is_wide(np.array([0.0, 1000.0]))
    assert not is_wide(np.array([np.nan]))


def test_a_tag_in_a_name_is_shown_not_read():
    assert plain("<b>&") == "&lt;b&gt;&amp;"
