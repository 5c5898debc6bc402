import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.ablation import closer_reach, effects_chart
from analysis.plots.theme import alt_text
from analysis.records import Effect

NAMES = ("weighting <none>", "rounding rate 0 (off)")
EFFECTS = (
    Effect(difference=0.01, low=-0.01, high=0.03, by_seed=np.array([0.0, 0.02])),
    Effect(difference=-0.2, low=-0.25, high=-0.15, by_seed=np.array([-0.19, -0.21])),
)


def chart(**changes):
    values = {"method": "eptq", "what": "accuracy", "facts": ("n = 30",)} | changes
    return effects_chart(NAMES, EFFECTS, **values)


def test_effects_are_drawn_in_points_with_their_intervals():
    figure = chart()
    outside, inside = figure.data[2:]
    assert outside.x.tolist() == pytest.approx([-20])
    assert outside.marker.color == theme.ACCENT
    assert outside.error_x.array.tolist() == pytest.approx([5])
    assert outside.error_x.arrayminus.tolist() == pytest.approx([5])
    assert inside.x.tolist() == pytest.approx([1])
    assert inside.y.tolist() == [0]
    assert figure.layout.yaxis.ticktext == ("weighting &lt;none&gt;", NAMES[1])


def test_every_seed_has_a_ring():
    rings = chart().data[:2]
    assert rings[1].x.tolist() == pytest.approx([-19, -21])


def test_the_sentence_names_both_ends():
    assert "-20.00 points (rounding rate 0 (off)) to +1.00" in alt_text(chart())
    assert "1 inside the noise" in alt_text(chart())


def test_nothing_to_draw_is_refused():
    with pytest.raises(AnalysisError, match="one variant"):
        effects_chart((), (), method="eptq", what="accuracy", facts=())


def test_an_effect_far_beyond_the_others_is_written_at_the_end_of_the_axis():
    small = [EFFECTS[0]] * 3
    assert closer_reach(small) is None
    assert closer_reach([]) is None
    reach = closer_reach([*small, EFFECTS[1]])
    assert reach == pytest.approx(1.2 * 3)
    figure = chart(reach=reach)
    assert figure.layout.xaxis.range == (-reach, reach)
    assert [each.text for each in figure.layout.annotations] == ["◀ -20.0"]
