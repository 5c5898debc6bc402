"""The samples page: hard samples, outliers, predictions and what the networks look at."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.events import result
from analysis.outliers import find_outliers
from analysis.records import Candidate, ScoreTable, Study
from pages.ui import inspector, resources, session

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def page(sample: int | None = None) -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=120).run()
    if sample is not None:
        at.session_state["sample"] = sample
    return at.switch_page("samples.py").run()


def said(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


def titles(at: AppTest) -> list[str]:
    return [
        json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in at.get("plotly_chart")
    ]


@pytest.fixture
def scores(demo_study: Study) -> ScoreTable:
    step = workflow.score(resources.workspace(), demo_study, "hessian_attention")
    return result(step.events(resources.store()))


@pytest.fixture
def inspected(demo_study: Study, scores: ScoreTable) -> None:
    space = resources.workspace()
    table = result(workflow.layers(space, demo_study).events(space.store))
    allocation = uniform_allocation(table, Candidate.parse("w3a8"))
    session_draft = session.Key.DRAFT
    from analysis.catalog import study_id

    space.store.put_part(study_id(demo_study), session_draft, allocation)
    recipe = workflow.Recipe(allocation, file="uniform:w3a8")
    result(workflow.inspect(space, demo_study, recipe).events(space.store))


def test_without_a_study_the_page_says_where_to_open_one(cache_dir: Path) -> None:
    at = page()
    assert not at.exception
    assert "No study is open yet" in said(at)


def test_without_scores_the_page_offers_to_compute_them(demo_study: Study) -> None:
    at = page()
    assert not at.exception
    assert "Score the layers" in [b.label for b in at.button]


def test_hard_samples_are_buttons_that_select_them(scores: ScoreTable) -> None:
    at = page()
    assert not at.exception
    hardest = [b for b in at.button if b.key and b.key.startswith("hardest-")]
    assert len(hardest) == 8
    number = int(hardest[0].key.partition("-")[2])
    hardest[0].click().run()
    assert at.session_state["sample"] == number
    assert "Predict every calibration sample" in [b.label for b in at.button]


def test_a_selected_sample_is_shown_with_both_networks(inspected: None) -> None:
    at = page(sample=17)
    assert not at.exception
    assert "calibration samples change their class" in said(at)
    assert any("Sample #17" in h.value for h in at.subheader)
    assert "Attribution drift" in said(at)
    shown = titles(at)
    assert len(shown) == 5
    assert any("sample 17" in title for title in shown)
    assert any("inspect" in c.value and "uniform:w3a8" in c.value for c in at.code)


def test_without_a_selected_sample_the_page_says_how_to_select_one(inspected: None) -> None:
    at = page()
    assert not at.exception
    assert any("Select a sample" in i.value for i in at.info)


def test_outliers_are_said_with_what_leaving_them_out_changes(scores: ScoreTable) -> None:
    per_sample = np.tile(np.array([1.0, 2.0, 3.0]), (50, 1)) * np.linspace(0.9, 1.1, 50)[:, None]
    per_sample[7] *= 100
    table = replace(scores, layers=("a", "b", "c"), per_sample=per_sample, n=50)
    text = inspector.outlier_words(table, find_outliers(table))
    assert text.startswith("1 of 50 samples stand out")
    assert "#7" in text
    assert "no layer changes its rank" in text
    calm = replace(table, per_sample=np.delete(per_sample, 7, axis=0))
    assert inspector.outlier_words(calm, find_outliers(calm)).startswith("No sample stands out")


@pytest.mark.parametrize(("value", "words"), [(0.0, "the same"), (0.2, "clearly"), (1.4, "else")])
def test_drift_is_said_in_words(value: float, words: str) -> None:
    assert words in inspector.drift_words(value)
