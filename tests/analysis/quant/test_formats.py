import pytest

from analysis.errors import UnknownNameError
from analysis.quant.formats import FORMATS, bits_of, get_format


def test_int4_has_the_grids_of_four_bits():
    assert get_format("int4").grid(signed=True) == (-8, 7)
    assert get_format("int4").grid(signed=False) == (0, 15)


@pytest.mark.parametrize("name", FORMATS)
def test_a_grid_has_two_to_the_bits_codes(name):
    form = get_format(name)
    for signed in (True, False):
        low, high = form.grid(signed)
        assert high - low + 1 == 2**form.bits
    assert name == f"int{form.bits}" == form.name


def test_float_counts_32_bits_and_is_no_format():
    assert bits_of("float") == 32
    with pytest.raises(UnknownNameError, match="no format `float`"):
        get_format("float")


def test_an_unknown_format_names_its_neighbours():
    with pytest.raises(UnknownNameError, match="int4"):
        bits_of("int44")
