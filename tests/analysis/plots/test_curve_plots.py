"""Figures of accuracy curves: axes, marks, what is grey and what a click selects."""

import numpy as np
import plotly.graph_objects as go
import pytest

from analysis.errors import AnalysisError
from analysis.plots.curve import GREY, accuracy_curve
from analysis.plots.curve_places import axis_value, non_dominated_points
from analysis.plots.theme import alt_text
from tests.analysis.curves_to_say import curve, found

OURS, OTHER, SIZE, UNIFORM, RANDOM = range(5)


@pytest.fixture
def made():
    return curve(
        [
            found(OURS, 0, 380, used=0.5),
            found(SIZE, 0, 340, used=0.49),
            found(UNIFORM, 0, 330, used=0.5, candidates="w2a8 w2a8"),
            found(OURS, 1, 390, used=0.8, candidates="w8a8 w8a8"),
            found(SIZE, 1, 360, used=0.8, candidates="w8a8 w4a8"),
            found(RANDOM, 1, 395, used=0.7, candidates="w4a8 w8a8"),
        ],
        limits=(0.5, 0.8),
    )


def drawn(figure: go.Figure) -> dict[int, go.Scatter]:
    """Trace of each place among the points, of those on the measured axis."""
    return {
        int(data[0]): trace
        for trace in figure.data
        if trace.customdata is not None and trace.yaxis != "y2"
        for data in trace.customdata
    }


def test_every_point_is_drawn_once_and_a_click_gives_its_place(made):
    places = [
        int(data[0])
        for trace in accuracy_curve(made).data
        if trace.customdata is not None and trace.yaxis != "y2"
        for data in trace.customdata
    ]
    assert sorted(places) == list(range(len(made.points)))


def test_predictions_never_share_an_axis_with_measurements(made):
    figure = accuracy_curve(made)
    lines = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert [trace.mode for trace in lines] == ["lines"]
    assert "predicted 11.0 nats" in lines[0].customdata[0][1]
    assert np.allclose(lines[0].y, [1.0, 1.5 / 11])
    domains = figure.layout.yaxis.domain, figure.layout.yaxis2.domain
    assert domains[1][1] < domains[0][0]
    assert "measured" in figure.layout.yaxis.title.text
    assert "predicted" in figure.layout.yaxis2.title.text


def test_points_that_another_beats_are_grey_and_random_ones_beat_none(made):
    assert non_dominated_points(made) == {0, 1, 3}
    for place, trace in drawn(accuracy_curve(made)).items():
        if place == 5:
            continue
        at = [int(data[0]) for data in trace.customdata].index(place)
        assert (trace.marker.color[at] == GREY) == (place in (2, 4))


def test_intervals_are_those_of_the_measurement(made):
    trace = drawn(accuracy_curve(made))[0]
    point = made.points[0].measured
    assert trace.y[0] == pytest.approx(95.0)
    assert trace.y[0] + trace.error_y.array[0] == pytest.approx(100 * point.high)
    assert trace.y[0] - trace.error_y.arrayminus[0] == pytest.approx(100 * point.low)


def test_series_of_one_limit_stand_apart_by_less_than_a_twentieth_of_the_axis(made):
    traces = drawn(accuracy_curve(made))
    low, high = 0.49, 0.8
    for place, trace in traces.items():
        at = [int(data[0]) for data in trace.customdata].index(place)
        assert abs(trace.x[at] - axis_value(made, made.points[place])) < (high - low) / 20
    assert traces[3].x[1] != traces[4].x[1]


def test_points_below_a_closer_axis_are_counted(made):
    figure = accuracy_curve(made, lowest=86.0)
    assert "2 points below the axis" in figure.layout.title.text
    assert figure.layout.yaxis.range[0] > 80
    assert "below the axis" not in accuracy_curve(made).layout.title.text


def test_a_selected_point_has_a_ring(made):
    ring = accuracy_curve(made, selected=3).data[-2]
    assert ring.y == (pytest.approx(97.5),)
    assert len(accuracy_curve(made).data) == len(accuracy_curve(made, selected=3).data) - 1


def test_without_labels_the_divergence_is_drawn_without_intervals():
    points = [found(OURS, 0, 380, labelled=False, kl=0.01), found(SIZE, 0, 1, labelled=False)]
    figure = accuracy_curve(curve(points, labelled=False))
    assert "KL from float (nats)" in figure.layout.yaxis.title.text
    assert "no labels" in figure.layout.title.text
    assert all(t.error_y.array is None for t in figure.data)


def test_an_unfinished_curve_is_drawn_and_says_so(made):
    figure = accuracy_curve(curve([found(OURS, 0, 380)], complete=False))
    assert "not complete yet" in figure.layout.title.text
    assert "best made_up + milp with 95" in alt_text(figure)


def test_a_curve_without_points_is_refused():
    with pytest.raises(AnalysisError, match="measured point"):
        accuracy_curve(curve([]))
