import pytest

from analysis.errors import OptionError, UnknownNameError
from analysis.options import build
from analysis.recalibration import RECALIBRATIONS
from analysis.spelling import canonical, read, spell


def test_a_method_under_its_defaults_is_its_name():
    for method in RECALIBRATIONS:
        assert spell(method.name, method.options()) == method.name
        assert read(RECALIBRATIONS, method.name) == (method, method.options())


def test_changed_options_stand_behind_the_name_in_their_own_order():
    text = canonical(RECALIBRATIONS, "absorption: padding = mean :deviations=2.0:source=batchnorm")
    assert text == "absorption:deviations=2:padding=mean"


@pytest.mark.parametrize("value", [0.1 + 0.2, 2.0, 1e-9, 19.999999999])
def test_what_is_spelled_is_read_back_to_the_last_digit(value):
    options = build(RECALIBRATIONS["absorption"].options, {"deviations": value})
    assert read(RECALIBRATIONS, spell("absorption", options))[1] == options


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("absorbtion", UnknownNameError, "absorption"),
        ("absorption:paddding=mean", UnknownNameError, "padding"),
        ("absorption:padding=middle", UnknownNameError, "interior"),
        ("absorption:deviations=99", OptionError, r"\[0, 20\]"),
        ("absorption:padding", OptionError, "option=value"),
        ("absorption:padding=mean:padding=mean", OptionError, "once"),
        ("absorption:", OptionError, "option=value"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_wrong(text, error, said):
    with pytest.raises(error, match=said):
        read(RECALIBRATIONS, text)
