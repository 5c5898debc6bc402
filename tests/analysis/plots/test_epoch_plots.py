import dataclasses
import json

import numpy as np
import pytest

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots.epochs import epoch_animation, epoch_heatmap
from analysis.plots.theme import alt_text
from analysis.records.initialization import FOLLOWED
from tests.analysis.plots.distributions_to_draw import LAYERS, init_run
from tests.analysis.plots.records_to_draw import named, title

RUN = init_run(ranges=(1.0, 2.0, 4.0))


def test_true_values_travel_with_the_colours():
    figure = epoch_heatmap(RUN, "weight", "range")
    trace = figure.data[0]
    assert list(trace.y) == list(LAYERS)
    np.testing.assert_allclose(trace.customdata, np.outer([1, 2, 3, 4], [1, 2, 4]))
    assert trace.z.dtype == np.uint8
    assert trace.z.max() == 255
    assert "farthest from zero in fc at epoch 2 with 16.0" in alt_text(figure)
    assert "he_uniform, regular, seed 0" in title(figure)


def test_values_of_both_signs_fade_to_zero():
    trace = epoch_heatmap(RUN, "pre_activation", "low").data[0]
    np.testing.assert_allclose(trace.customdata[3], [-2, -4, -8])
    assert (trace.zmin, trace.zmax) == (-1, 1)
    np.testing.assert_allclose(trace.z[3], [-0.25, -0.5, -1])


def test_far_apart_values_make_the_colours_logarithmic():
    wide = init_run(ranges=(1.0, 1000.0))
    assert "logarithmic colours" in title(epoch_heatmap(wide, "weight", "std"))
    assert "linear colours" in title(epoch_heatmap(RUN, "weight", "std"))


def test_equal_values_are_not_as_grey_as_missing_ones():
    figure = epoch_heatmap(init_run(diverged_at=2), "weight", "acp")
    assert set(figure.data[0].z[:, :2].ravel()) == {255}
    assert set(figure.data[0].z[:, 2]) == {0}
    assert list(figure.data[0].colorbar.ticktext) == ["0.500"]
    assert "one value everywhere" in title(figure)


def test_a_layer_without_such_a_tensor_is_named_and_has_no_row():
    values = np.array(RUN.statistics)
    values[:, FOLLOWED.index("post_activation"), -1] = np.nan
    run = dataclasses.replace(RUN, statistics=values)
    figure = epoch_heatmap(run, "post_activation", "range")
    assert list(figure.data[0].y) == list(LAYERS[:-1])
    assert "without a finite value" not in title(figure)
    assert "fc has none" in title(figure)
    assert "fc has none" in title(epoch_animation(run, "post_activation"))
    assert "none" not in title(epoch_heatmap(run, "weight", "range"))
    # Of one that diverged at once only the last layer is known to have none.
    values[:] = np.nan
    values[0, 2, 0] = 1.0
    lost = dataclasses.replace(run, statistics=values, diverged="epoch 0: `a` is not finite")
    assert list(epoch_heatmap(lost, "post_activation", "std").data[0].y) == list(LAYERS[:-1])


def test_only_networks_with_batchnorm_have_it_folded():
    for draw in (epoch_animation, lambda *a, **k: epoch_heatmap(*a, "std", **k)):
        assert "BatchNorm folded" in title(draw(RUN, "weight"))
        assert "BatchNorm" not in title(draw(RUN, "weight", batchnorm=False))


def test_where_a_run_diverged_is_said_without_backticks():
    lost = dataclasses.replace(init_run(diverged_at=1), diverged="epoch 1: `fc` is not finite")
    for figure in (epoch_heatmap(lost, "weight", "std"), epoch_animation(lost, "weight")):
        assert "diverged: epoch 1: fc is not finite" in title(figure)
        assert "asked for 2 epochs" in title(figure)


def test_the_selected_layer_is_outlined():
    assert epoch_heatmap(RUN, "weight", "std", LAYERS[1]).layout.shapes[0].y0 == LAYERS[1]
    assert not epoch_heatmap(RUN, "weight", "std", "other").layout.shapes


def test_epochs_after_divergence_are_counted_not_hidden():
    figure = epoch_heatmap(init_run(diverged_at=2), "weight", "range")
    assert figure.data[0].z.shape == (4, 3)
    assert (figure.data[0].z[:, 2] == 0).all()
    assert "4 cells without a finite value" in title(figure)
    assert "diverged: loss is not finite in epoch 2" in title(figure)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(UnknownNameError, match="kurtosis"):
        epoch_heatmap(RUN, "weight", "kurtotis")
    with pytest.raises(UnknownNameError, match="weight"):
        epoch_heatmap(RUN, "input", "range")
    with pytest.raises(UnknownNameError, match="weight"):
        epoch_animation(RUN, "input")
    nothing = init_run(diverged_at=0)
    with pytest.raises(AnalysisError, match="which diverged"):
        epoch_heatmap(nothing, "weight", "range")
    with pytest.raises(AnalysisError, match="No range"):
        epoch_animation(nothing, "weight")


def test_a_frame_for_every_epoch_on_axes_that_stay():
    figure = epoch_animation(RUN, "weight", LAYERS[1])
    assert [frame.name for frame in figure.frames] == ["0", "1", "2"]
    steps = figure.layout.sliders[0].steps
    assert [step.args[0][0] for step in steps] == ["0", "1", "2"]
    # The largest magnitude of all epochs is 8: half of 4 x 4.
    for epoch, frame in enumerate(figure.frames):
        np.testing.assert_allclose(8 * np.asarray(frame.data[0].y), 2.0**epoch * np.arange(1, 5))
        assert [entry[0] for entry in frame.data[0].customdata] == list(LAYERS)
        assert frame.layout.to_plotly_json() == {}
    np.testing.assert_array_equal(figure.data[0].y, figure.frames[0].data[0].y)
    low, high = figure.layout.yaxis.range
    assert low < -1 < 1 < high
    assert list(figure.data[0].marker.line.width).index(2.5) == 1
    assert "median range goes from 2.50 to 10.0 in 2 epochs" in alt_text(figure)


def test_the_slider_ends_where_a_run_diverged():
    figure = epoch_animation(init_run(diverged_at=1), "weight")
    assert [frame.name for frame in figure.frames] == ["0"]
    assert len(figure.layout.sliders[0].steps) == 1
    assert "diverged" in title(figure)
    assert "in 0 epochs" in alt_text(figure)


def test_thirty_epochs_of_fifty_layers_stay_below_400_kb_in_packed_arrays():
    run = init_run(ranges=np.geomspace(1, 30, 31), layers=named(50))
    text = epoch_animation(run, "weight").to_json()
    assert len(text) < 400_000
    frame = json.loads(text)["frames"][3]["data"][0]
    assert frame["y"]["dtype"] == "f4"


def test_a_run_without_training_is_one_frame():
    run = init_run(ranges=(1.0,))
    assert run.epochs == 0
    assert len(epoch_animation(run, "weight").frames) == 1
    assert "0 epochs" in title(epoch_heatmap(dataclasses.replace(run), "weight", "std"))
