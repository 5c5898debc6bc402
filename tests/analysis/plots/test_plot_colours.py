import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analysis.plots.colours import Coding


def test_decades_are_coded_evenly():
    values = np.array([1.0, 10.0, 100.0, 1000.0])
    coding = Coding.of(values)
    assert coding.logarithmic
    assert coding.codes(values).tolist() == [1, 86, 170, 255]
    assert coding.codes(values).dtype == np.uint8


def test_ticks_read_back_the_values_they_name():
    coding = Coding.of(np.array([1.0, 10.0, 1000.0]))
    codes, texts = coding.ticks()
    for code, text in zip(codes, texts, strict=True):
        value = 10 ** ((code - 1) / 254 * 3)
        np.testing.assert_allclose(value, float(text.replace(",", "")), rtol=1e-9)


def test_negative_values_make_the_coding_linear():
    coding = Coding.of(np.array([-1.0, 0.0, 1000.0]))
    assert not coding.logarithmic
    assert coding.low == -1.0


def test_zeros_are_counted_and_get_the_lowest_colour():
    values = np.array([0.0, 1e-4, 1.0])
    coding = Coding.of(values)
    assert coding.zeros == 1
    assert coding.codes(values).tolist() == [1, 1, 255]


def test_a_value_that_is_not_finite_has_its_own_code():
    values = np.array([np.nan, 1.0, np.inf, 2.0])
    assert Coding.of(values).codes(values).tolist() == [0, 1, 0, 255]


def test_equal_values_are_in_the_middle_and_nothing_known_is_all_missing():
    assert Coding.of(np.array([3.0, 3.0])).codes(np.array([3.0])).tolist() == [128]
    nothing = np.array([np.nan])
    assert Coding.of(nothing).codes(nothing).tolist() == [0]


@given(hnp.arrays(np.float64, 20, elements=st.floats(-1e6, 1e6)))
def test_a_larger_value_never_gets_a_smaller_code(values):
    ordered = np.sort(values)
    codes = Coding.of(values).codes(ordered).astype(int)
    assert (np.diff(codes) >= 0).all()
    assert codes.min() >= 1
