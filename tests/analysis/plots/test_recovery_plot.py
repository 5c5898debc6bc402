import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.recovery import recovery_chart
from analysis.plots.theme import alt_text
from analysis.records import Recovery

LAYERS = ("stem", "<b>conv", "fc")


def recovery_of(**changes: object) -> Recovery:
    values = {
        "method": "eptq",
        "layers": LAYERS,
        "weights": np.array([10, 30, 60]),
        "moved": np.array([0.2, 0.1, np.nan]),
        "before": np.array([0.0, 0.2, 0.4]),
        "after": np.array([0.0, 0.02, 0.04]),
        "n": 5,
        "calibration": "0123456789",
        "seconds": 1.0,
    }
    return Recovery(**(values | changes))


def test_errors_before_and_after_and_what_moved_are_drawn_in_network_order():
    figure = recovery_chart(recovery_of(), "fc")
    _, before, after, moved = figure.data
    assert before.y[1:].tolist() == pytest.approx([20, 40])
    assert after.y[1:].tolist() == pytest.approx([2, 4])
    assert moved.y[:2].tolist() == pytest.approx([20, 10])
    assert figure.layout.yaxis.type == "log"
    assert len(figure.layout.shapes) == 1
    assert "10.0 dB smaller in the median" in alt_text(figure)


def test_what_cannot_be_drawn_is_said():
    text = recovery_chart(recovery_of()).layout.title.text
    assert "no error to draw in 1 layer" in text
    after = np.array([np.nan, 0.1, 0.2])
    assert "does not vary" in recovery_chart(recovery_of(after=after)).layout.title.text


def test_where_no_weight_moved_there_is_no_empty_panel_of_them():
    for moved in (np.zeros(3), np.full(3, np.nan)):
        figure = recovery_chart(recovery_of(moved=moved))
        assert {trace.type for trace in figure.data} == {"scatter"}
        assert (
            figure.layout.xaxis.title.text == recovery_chart(recovery_of()).layout.xaxis2.title.text
        )
        assert "no weight moved" in figure.layout.title.text


def test_hover_says_both_errors_and_the_share():
    figure = recovery_chart(recovery_of())
    name, text = figure.data[1].customdata[1]
    assert name == "&lt;b&gt;conv"
    assert "20.0 % of the variance" in text
    assert "+10.0 dB" in text
    assert "10.0 % of 30 weights moved" in text
    assert "weights stay float" in figure.data[1].customdata[2][1]


def test_no_error_anywhere_is_refused():
    with pytest.raises(AnalysisError, match="differ from float"):
        recovery_chart(recovery_of(before=np.zeros(3), after=np.zeros(3)))
