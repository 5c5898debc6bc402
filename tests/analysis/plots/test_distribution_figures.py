import subprocess
import sys

import numpy as np
import pytest

from analysis.plots.channels import channel_ranges
from analysis.plots.clip_curve import clip_curve
from analysis.plots.epochs import epoch_animation, epoch_heatmap
from analysis.plots.expected import expected_ranges
from analysis.plots.histogram import distribution_histogram
from analysis.plots.lab_bars import drop_bars
from analysis.plots.lab_precision import acp_by_initializer
from analysis.plots.ranges_strip import layer_ridgeline, layer_strip
from analysis.plots.theme import alt_text
from analysis.plots.trajectories import range_trajectories
from tests.analysis.plots.distributions_to_draw import (
    distribution,
    distributions,
    exploration,
    grid_error,
    init_run,
    init_study,
    levels_of,
)

RNG = np.random.default_rng(0)
VALUES = RNG.normal(0, 1, (6, 200))
ODD = "<b>bold</b>"
NETWORK = distributions({ODD: VALUES, "fc": 3 * VALUES, "norm": None})
STUDY = init_study(*(init_run(ODD, a, s) for a in (ODD, "plain") for s in (0, 1)))
FIGURES = {
    "histogram": distribution_histogram(
        distribution(VALUES, ODD),
        other=distribution(2 * VALUES, ODD),
        grid=grid_error(VALUES, 1.0, title=ODD),
        levels=levels_of(1.0, 4),
    ),
    "channels": channel_ranges(distribution(VALUES, ODD), bits=8, highlight=3),
    "strip": layer_strip(NETWORK, "weight", ODD, [ODD]),
    "ridgeline": layer_ridgeline(NETWORK, "weight", ODD),
    "clip": clip_curve(exploration(VALUES, 4, {"Min-max": 1.0, ODD: 0.8}, gauss=0.5, laplace=0.6)),
    "trajectories": range_trajectories(STUDY, ODD),
    "heat map": epoch_heatmap(STUDY.runs[0], "weight", "range", "fc"),
    "animation": epoch_animation(STUDY.runs[0], "weight", "fc"),
    "precision": acp_by_initializer(STUDY, ODD, selected="fc"),
    "drops": drop_bars(STUDY, "default", 4),
    "expected": expected_ranges((ODD, "fc"), np.ones(2), {ODD: np.ones(2)}, what=ODD),
}


@pytest.mark.parametrize("name", FIGURES)
def test_distribution_figures_work_on_light_and_dark_pages(name):
    layout = FIGURES[name].layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert layout.font.color is None
    assert layout.title.font.color is None
    text = FIGURES[name].to_json().lower()
    assert not any(f'"{colour}"' in text for colour in ("black", "white", "#000", "#fff"))
    assert not any(colour in text for colour in ("#000000", "#ffffff"))


@pytest.mark.parametrize("name", FIGURES)
def test_distribution_figures_have_a_sentence_axis_titles_and_plain_hover(name):
    figure = FIGURES[name]
    assert alt_text(figure).endswith(".")
    assert "nan" not in alt_text(figure)
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text
    shown = [trace for trace in figure.data if trace.hoverinfo != "skip"]
    assert shown
    assert all("<extra></extra>" in trace.hovertemplate for trace in shown)


@pytest.mark.parametrize("name", FIGURES)
def test_distribution_figures_read_no_tags_in_names(name):
    # The sentence is not shown as HTML.
    figure = FIGURES[name].to_dict()
    figure["layout"].pop("meta")
    # Keys of categories and groups are not shown either.
    for trace in figure["data"]:
        trace.pop("legendgroup", None)
    assert "<b>bold" not in str(figure)


def test_drawing_distributions_needs_neither_torch_nor_streamlit():
    code = (
        "import sys, analysis.plots.histogram, analysis.plots.channels, "
        "analysis.plots.ranges_strip, analysis.plots.clip_curve, analysis.plots.trajectories, "
        "analysis.plots.epochs, analysis.plots.lab_bars, analysis.plots.lab_precision, "
        "analysis.plots.expected; print({'torch', 'streamlit'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
