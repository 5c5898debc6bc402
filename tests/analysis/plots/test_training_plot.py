import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.labels import number
from analysis.plots.theme import alt_text
from analysis.plots.training import training_curves
from analysis.ptq.training import LOGGED

# step, loss, reconstruction, indecision, KL of the batch, undecided, fixed, KL held out, agreement
LOG = np.array(
    [[10, 5.0, 5.0, 0.0, 2.0, 0.9, 0.0, 3.0, 0.2], [20, 1.0, 1.0, 0.0, 0.0, 0.4, 0.6, 0.5, 0.8],
     [30, 0.5, 0.5, 0.0, 0.1, 0.0, 1.0, 0.04, 0.97]]
)  # fmt: skip


def traces(log=LOG):
    return {trace.name: trace for trace in training_curves(LOGGED, log).data}


def test_divergence_loss_and_decisions_are_drawn_over_the_steps():
    figure = training_curves(LOGGED, LOG)
    drawn = traces()
    assert list(drawn["hardened, on held-out samples"].y) == [3.0, 0.5, 0.04]
    assert list(drawn["errors of the layers, 1: what their outputs vary"].y) == [5.0, 1.0, 0.5]
    assert list(drawn["undecided roundings"].y) == [0.9, 0.4, 0.0]
    assert list(drawn["fixed ones"].x) == [10, 20, 30]
    assert f"from {number(3.0)} to {number(0.04)} nats" in alt_text(figure)


def test_the_loss_is_drawn_where_it_is_more_than_the_errors_of_the_layers():
    assert "loss" not in traces()
    assert "indecision of the roundings" not in traces()
    log = LOG.copy()
    log[:, 1], log[:, 3] = [6.0, 1.5, 0.6], [1.0, 0.5, 0.1]
    drawn = traces(log)
    assert list(drawn["loss"].y) == [6.0, 1.5, 0.6]
    assert list(drawn["indecision of the roundings"].y) == [1.0, 0.5, 0.1]


def test_a_divergence_of_zero_stays_on_the_logarithmic_axis():
    assert min(traces()["as it is trained, on the batch"].y) > 0


def test_a_running_training_shows_how_far_it_has_to_go():
    figure = training_curves(LOGGED, LOG, steps=200)
    assert figure.layout.xaxis.range[1] > 200


def test_the_best_look_is_marked_and_named_though_a_later_one_is_worse():
    log = LOG.copy()
    log[1, 7], log[1, 8] = 0.01, 0.99
    figure = training_curves(LOGGED, log, steps=200)
    (best,) = [trace for trace in figure.data if trace.name == "best"]
    assert (best.x[0], best.y[0]) == (20, 0.01)
    title = figure.layout.title.text
    assert f"After 30 of 200 steps: {number(0.01)} nats from float at best" in title
    assert "best after step 20" in title
    assert "99.0% of the held-out samples" in title


def test_every_row_names_its_own_lines_above_itself():
    figure = training_curves(LOGGED, LOG)
    texts = [note.text for note in figure.layout.annotations]
    assert ["hardened" in text for text in texts] == [True, False, False]
    assert ["errors of the layers" in text for text in texts] == [False, True, False]
    assert ["undecided" in text for text in texts] == [False, False, True]


def test_a_short_logarithmic_axis_has_more_than_one_tick():
    log = LOG.copy()
    log[:, 1] = log[:, 2] = [0.06, 0.04, 0.05]
    shown = training_curves(LOGGED, log).layout.yaxis2
    assert len(shown.tickvals) > 1
    low, high = shown.range
    assert low < np.log10(0.04) < np.log10(0.06) < high


def test_a_divergence_that_is_not_finite_is_left_out_of_the_best():
    log = LOG.copy()
    log[0, 7] = np.nan
    assert "0.0400 nats from float at best" in training_curves(LOGGED, log).layout.title.text


def test_nothing_logged_is_said():
    with pytest.raises(AnalysisError, match="looked at once"):
        training_curves(LOGGED, np.zeros((0, len(LOGGED))))
