import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.comparison import accuracy_against_size, is_uniform
from analysis.plots.placement import place_labels
from analysis.plots.strips import per_layer_bits
from analysis.plots.theme import alt_text
from analysis.records import Allocation
from tests.analysis.plots.records_to_draw import W2, W4, W8, configuration, evaluation, named, title

MIXED = configuration((W8, W4, W2, W8), size=0.3, top1=0.93)
UNIFORM = configuration((W8, W4, W4, W8), size=0.4, top1=0.91)
BOTH = {"mine": MIXED, "w4a8": UNIFORM}
FLOAT = evaluation(0.95)


def test_points_carry_size_accuracy_and_interval():
    points = accuracy_against_size(BOTH, FLOAT).data[0]
    assert points.name == "nearest"
    assert list(points.marker.symbol) == ["circle", "square-open"]
    assert list(points.x) == [0.3, 0.4]
    np.testing.assert_allclose(points.y, [93.0, 91.0])
    np.testing.assert_allclose(points.error_y.array, [1.0, 1.0])
    np.testing.assert_allclose(points.error_y.arrayminus, [3.0, 3.0])


def test_methods_on_equal_bits_have_colours_stand_side_by_side_and_share_a_name():
    methods = {f"uniform w4a8, {word}": word for word in ("nearest", "gptq", "eptq:steps=60")}
    figure = accuracy_against_size(dict.fromkeys(methods, UNIFORM), FLOAT, methods=methods)
    traces = figure.data[:3]
    assert [trace.name for trace in traces] == list(methods.values())
    assert len({trace.marker.color for trace in traces}) == 3
    left, middle, right = (trace.x[0] for trace in traces)
    assert left < middle == 0.4 < right
    np.testing.assert_allclose(middle - left, right - middle)
    assert [trace.customdata[0][2] for trace in traces] == [0.4] * 3
    assert [note.text for note in figure.layout.annotations] == ["uniform w4a8"]
    assert "equal sizes stand side by side" in title(figure)


def test_hover_tells_interval_samples_cost_and_divergence():
    name, details, _ = accuracy_against_size(BOTH, FLOAT).data[0].customdata[0]
    assert name == "mine"
    for fact in ("90.00 to 94.00 %", "n = 500", "1.5e9 BOPs", "0.0123 nats"):
        assert fact in details


def test_the_float_network_is_a_line_with_a_band():
    band, line = accuracy_against_size(BOTH, FLOAT).layout.shapes
    np.testing.assert_allclose([band.y0, band.y1], [92.0, 96.0])
    np.testing.assert_allclose([line.y0, line.y1], [95.0, 95.0])


def test_titles_and_axes_state_units_and_samples():
    figure = accuracy_against_size(BOTH, FLOAT)
    assert "n = 500" in title(figure)
    assert "95 % Wilson intervals" in title(figure)
    assert figure.layout.xaxis.title.text == "size (MiB)"
    assert figure.layout.yaxis.title.text == "top-1 accuracy (%)"


def test_what_lies_below_the_axis_is_named():
    figure = accuracy_against_size(
        {"bad": configuration((W2,) * 4, top1=0.2)} | BOTH, FLOAT, lowest=85
    )
    assert figure.layout.yaxis.range[0] == 85
    assert "below the axis: bad 20.0 %" in title(figure)
    assert "bad" not in [note.text for note in figure.layout.annotations]


def test_without_labels_the_agreement_is_drawn_and_named_so():
    figure = accuracy_against_size(
        {"mine": configuration((W4,) * 4, top1=float("nan"))}, evaluation(float("nan"))
    )
    np.testing.assert_allclose(figure.data[0].y, [90.0])
    assert "Agreement with float predictions" in title(figure)
    assert "no labels, so no intervals" in title(figure)
    assert np.isfinite(figure.layout.yaxis.range).all()


def test_a_configuration_without_an_accuracy_is_named_as_not_measured():
    figure = accuracy_against_size(
        BOTH | {"odd": configuration((W4,) * 4, top1=float("nan"))}, FLOAT
    )
    assert "not measured: odd" in title(figure)


def test_the_alternative_text_names_best_and_smallest():
    assert "best mine with 93.00 % at 0.300 MiB" in alt_text(accuracy_against_size(BOTH, FLOAT))


def test_names_do_not_overlap_even_where_points_coincide():
    names = [f"configuration {at}" for at in range(8)]
    points = [(300.0, 150.0)] * 8
    offsets = place_labels(points, names, 790, 360)
    boxes = [(300 + x, 150 + y, 6.8 * len(n)) for (x, y), n in zip(offsets, names, strict=True)]
    for at, (x, y, width) in enumerate(boxes):
        for other_x, other_y, other_width in boxes[:at]:
            assert abs(x - other_x) >= (width + other_width) / 2 or abs(y - other_y) >= 16


def test_names_stay_inside_the_plot():
    (x, y), *_ = place_labels([(2.0, 2.0)], ["a name"], 790, 360)
    assert 2 + x > 20
    assert 2 + y > 8


def test_uniform_means_equal_between_the_first_and_the_last_layer():
    def allocation(*candidates):
        return Allocation(layers=tuple("abcd"[: len(candidates)]), candidates=candidates)

    assert is_uniform(allocation(W8, W4, W4, W8))
    assert is_uniform(allocation(W4))
    assert not is_uniform(allocation(W8, W4))
    assert not is_uniform(allocation(W8, W4, W2, W8))


def test_cells_read_the_bits_of_each_layer():
    trace = per_layer_bits(BOTH).data[0]
    assert [list(row) for row in trace.text] == [["8", "4", "2", "8"], ["8", "4", "4", "8"]]
    assert [list(row) for row in trace.z] == [[2, 1, 0, 2], [2, 1, 1, 2]]
    assert list(trace.colorbar.ticktext) == ["2", "4", "8"]
    assert list(trace.customdata[0][2]) == ["mine", "layer1.0.conv2", "w2a8"]


def test_a_layer_that_a_configuration_does_not_hold_stays_empty():
    other = configuration((W4,), names=("head",))
    trace = per_layer_bits(BOTH | {"other": other}).data[0]
    assert [list(row) for row in trace.text][2] == ["", "", "", "", "4"]
    assert np.isnan(trace.z[2][0])


def test_two_hundred_layers_by_ten_configurations_stay_small():
    many = configuration((W4,) * 200, names=named(200))
    figure = per_layer_bits({f"c{at}": many for at in range(10)})
    assert figure.data[0].texttemplate is None
    assert len(figure.to_json()) < 500_000
    assert "200 layers" in title(figure)


def test_one_layer_and_one_configuration_are_drawn():
    one = configuration((W4,), names=("fc",))
    assert [list(row) for row in per_layer_bits({"one": one}).data[0].text] == [["4"]]
    assert list(accuracy_against_size({"one": one}, FLOAT).data[0].x) == [0.5]


def test_nothing_to_compare_is_refused():
    with pytest.raises(AnalysisError, match="got none"):
        accuracy_against_size({}, FLOAT)
    with pytest.raises(AnalysisError, match="got none"):
        per_layer_bits({})


def test_no_line_from_a_label_to_its_point_passes_over_another_point():
    # A wall on the left leaves the left point only places on the right, behind its neighbour.
    points = [(100.0, 100.0), (122.0, 98.0)]
    walls = [(0.0, 0.0, 94.0, 360.0), (94.0, 108.0, 700.0, 360.0)]
    texts = ["least squared error", "min-max"]
    for order in ([0, 1], [1, 0]):
        placed, named = [points[i] for i in order], [texts[i] for i in order]
        offsets = place_labels(placed, named, 700, 360, walls)
        for at, (right, down) in zip(order, offsets, strict=True):
            x, y = np.subtract(points[1 - at], points[at])
            steps = np.linspace(0, 1, 200)
            assert min(np.hypot(x - steps * right, y - steps * down)) >= 8
