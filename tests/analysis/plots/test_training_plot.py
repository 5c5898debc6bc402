import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.labels import number
from analysis.plots.theme import alt_text
from analysis.plots.training import training_curves
from analysis.ptq.training import LOGGED

LOG = np.array(
    [[10, 5.0, 2.0, 0.9, 0.0, 3.0, 0.2], [20, 1.0, 0.0, 0.4, 0.6, 0.5, 0.8],
     [30, 0.5, 0.1, 0.0, 1.0, 0.04, 0.97]]
)  # fmt: skip


def test_divergence_and_decisions_are_drawn_over_the_steps():
    figure = training_curves(LOGGED, LOG)
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces["held out, hardened"].y) == [3.0, 0.5, 0.04]
    assert list(traces["undecided"].y) == [0.9, 0.4, 0.0]
    assert list(traces["fixed"].x) == [10, 20, 30]
    assert f"from {number(3.0)} to {number(0.04)} nats" in alt_text(figure)


def test_a_divergence_of_zero_stays_on_the_logarithmic_axis():
    batch = next(t for t in training_curves(LOGGED, LOG).data if t.name.startswith("batch"))
    assert min(batch.y) > 0


def test_a_running_training_shows_how_far_it_has_to_go():
    figure = training_curves(LOGGED, LOG, steps=200)
    assert figure.layout.xaxis.range[1] > 200


def test_nothing_logged_is_said():
    with pytest.raises(AnalysisError, match="looked at once"):
        training_curves(LOGGED, np.zeros((0, len(LOGGED))))
