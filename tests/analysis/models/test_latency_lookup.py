"""The rules by which a latency table is read: name, shape, between two rows, nothing."""

from dataclasses import replace

import pytest

from analysis.errors import AllocationError
from analysis.models.latency import Lookup, known_times, shape_text, unread_rows
from analysis.records import Candidate
from tests.reference.latency import conv_table, times

W4A8, W8A8 = Candidate("int4", "int8"), Candidate("int8", "int8")


def ns(table, latency, name="a", candidate=W8A8):
    layer = next(layer for layer in table.layers if layer.name == name)
    return Lookup(table, latency).ns(layer, candidate)


def test_a_shape_is_spelled_as_documented():
    assert shape_text(conv_table(7).layers[0]) == "conv2d:7x1x1x1:7x10x10"


def test_the_name_goes_before_the_shape_and_the_shape_before_interpolation():
    table = conv_table(4, 4)
    rows = [("a", "w8a8", 5.0), ("conv2d:4x1x1x1:4x10x10", "w8a8", 7.0)]
    rows += [("conv2d:2x1x1x1:2x10x10", "w8a8", 1.0), ("conv2d:6x1x1x1:6x10x10", "w8a8", 9.0)]
    latency = times(*rows)
    assert (ns(table, latency, "a"), ns(table, latency, "b")) == (5000, 7000)
    without = times(*rows[2:])
    assert ns(table, without, "b") == 5000  # halfway in multiply-accumulates


def test_between_two_rows_time_is_linear_in_multiply_accumulates():
    table = conv_table(1, 3, 9)
    latency = times(("a", "w8a8", 1.0), ("c", "w8a8", 9.0))
    assert ns(table, latency, "b") == 3000
    uneven = times(("a", "w8a8", 0.001), ("c", "w8a8", 0.002))
    assert ns(table, uneven, "b") == 1  # 1.25 ns, whole nanoseconds


def test_the_nearest_rows_bracket_and_rows_of_equal_work_count_together():
    table = conv_table(1, 3, 5, 5, 9)
    latency = times(
        ("a", "w8a8", 1.0), ("c", "w8a8", 4.0), ("d", "w8a8", 6.0), ("e", "w8a8", 100.0)
    )
    assert ns(table, latency, "b") == 3000


def test_nothing_is_extrapolated():
    table = conv_table(1, 3, 9)
    assert ns(table, times(("a", "w8a8", 1.0), ("b", "w8a8", 2.0)), "c") is None
    assert ns(table, times(("b", "w8a8", 1.0), ("c", "w8a8", 2.0)), "a") is None


def test_other_kinds_and_other_candidates_say_nothing():
    table = conv_table(1, 3, 9)
    latency = times(("a", "w8a8", 1.0), ("c", "w4a8", 9.0))
    assert ns(table, latency, "b") is None
    rows = [("linear:1x1:1x100", "w8a8", 1.0), ("linear:9x1:9x100", "w8a8", 9.0)]
    assert ns(table, times(*rows), "b") is None


def test_a_row_of_equal_work_needs_no_second_one():
    # Two names for one point on the line: nothing lies between them.
    table = conv_table(6)
    assert ns(table, times(("conv2d:3x2x1x1:3x10x10", "w8a8", 2.0))) == 2000


def test_a_named_row_is_the_time_of_all_calls_and_a_shape_that_of_one():
    table = conv_table(4, 2, 6, calls={"a": 3})
    assert ns(table, times(("a", "w8a8", 6.0))) == 6000
    assert ns(table, times(("conv2d:4x1x1x1:4x10x10", "w8a8", 6.0))) == 18000
    assert ns(table, times(("b", "w8a8", 2.0), ("c", "w8a8", 4.0))) == 9000


def test_a_row_with_both_also_serves_layers_of_its_shape():
    table = conv_table(4, 4, calls={"a": 3})
    named = times(("a", "w8a8", 6.0))
    both = replace(named, rows=(replace(named.rows[0], shape=shape_text(table.layers[0])),))
    assert ns(table, both, "b") == 2000
    twice = replace(both, rows=(*both.rows, *times((shape_text(table.layers[0]), "w8a8", 4)).rows))
    assert ns(table, twice, "b") == 3000  # the mean of two times of one shape


def test_a_name_with_another_shape_is_refused():
    latency = times(("a", "w8a8", 1.0))
    wrong = replace(latency, rows=(replace(latency.rows[0], shape="conv2d:9x1x1x1:9x10x10"),))
    with pytest.raises(AllocationError, match=r"`a` has conv2d:4x1x1x1.*another model\?"):
        Lookup(conv_table(4), wrong)


def test_transposed_convolutions_are_found_by_shape_only():
    kinds = [replace(layer, kind="conv_transpose2d") for layer in conv_table(1, 3, 9).layers]
    table = replace(conv_table(), layers=tuple(kinds))
    rows = [(shape_text(layer), "w8a8", 1.0 + place) for place, layer in enumerate(kinds)]
    assert ns(table, times(*rows), "b") == 2000
    assert ns(table, times(rows[0], rows[2]), "b") is None
    assert ns(table, times(("a", "w8a8", 1.0), ("c", "w8a8", 9.0)), "b") == 3000


def test_what_is_missing_is_listed_by_candidate():
    table = conv_table(1, 3, 9)
    latency = times(("a", "w8a8", 1.0), ("b", "w8a8", 2.0))
    with pytest.raises(AllocationError) as caught:
        known_times(table, latency, ((W8A8,), (W4A8, W8A8), (W8A8,)))
    assert "misses w4a8: `b`; w8a8: `c`. Add rows" in str(caught.value)
    assert known_times(table, latency, ((W8A8,), (W8A8,), ())) == ((1000,), (2000,), ())


def test_rows_that_name_no_layer_and_give_no_shape_are_said_to_be_unread():
    table = conv_table(4, 4)
    shaped = ("conv2d:4x1x1x1:4x10x10", "w8a8", 7.0)
    assert unread_rows(table, times(("a", "w8a8", 5.0), shaped)) == ""
    said = unread_rows(table, times(("a", "w8a8", 5.0), ("z", "w8a8", 1.0), ("z", "w4a8", 1.0)))
    assert "names layers that the network does not have, which are not read: `z`." in said
