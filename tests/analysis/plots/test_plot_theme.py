import subprocess
import sys

import numpy as np
import pytest

from analysis.plots.bits import bit_strip
from analysis.plots.comparison import accuracy_against_size
from analysis.plots.heatmap import attention_heatmap
from analysis.plots.ranking import ranking
from analysis.plots.strips import per_layer_bits
from analysis.plots.theme import alt_text
from analysis.records import Allocation
from tests.analysis.plots.records_to_draw import (
    NAMES,
    W4,
    W8,
    configuration,
    evaluation,
    layer_table,
    score_table,
)

CONFIGURATIONS = {"<b>bold</b>": configuration((W8, W4, W4, W8))}
FIGURES = {
    "ranking": ranking(score_table([1.0, 2.0]), None),
    "heatmap": attention_heatmap(score_table([1.0], per_sample=np.ones((2, 1)))),
    "bits": bit_strip(layer_table(), Allocation(layers=NAMES, candidates=(W4,) * 4)),
    "accuracy": accuracy_against_size(CONFIGURATIONS, evaluation(0.95)),
    "strip": per_layer_bits(CONFIGURATIONS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_works_on_light_and_dark_pages(name):
    layout = FIGURES[name].layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    # A colour set here would not follow the page's theme; the template's does.
    assert layout.font.color is None
    assert layout.title.font.color is None


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_sentence_axis_titles_and_plain_hover(name):
    figure = FIGURES[name]
    assert alt_text(figure).endswith(".")
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text
    shown = [trace for trace in figure.data if trace.hoverinfo != "skip"]
    assert shown
    assert all("<extra></extra>" in trace.hovertemplate for trace in shown)


@pytest.mark.parametrize("name", ["accuracy", "strip"])
def test_tags_in_a_users_name_are_not_read(name):
    assert "<b>bold" not in FIGURES[name].to_json().replace("\\u003c", "<")


def test_drawing_needs_neither_torch_nor_streamlit():
    code = (
        "import sys, analysis.plots.bits, analysis.plots.comparison, analysis.plots.heatmap, "
        "analysis.plots.ranking, analysis.plots.strips; "
        "print({'torch', 'streamlit'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
