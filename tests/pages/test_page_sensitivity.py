"""The sensitivity page: what it offers, what it shows of stored scores."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import workflow
from analysis.events import result
from analysis.records import ScoreTable, Study
from pages.ui import resources

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def sensitivity() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    return at.switch_page("sensitivity.py").run()


@pytest.fixture
def scores(demo_study: Study) -> ScoreTable:
    step = workflow.score(resources.workspace(), demo_study, "hessian_attention")
    return result(step.events(resources.store()))


def charts(at: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


def test_without_a_study_the_page_says_where_to_open_one(cache_dir: Path) -> None:
    at = sensitivity()
    assert not at.exception
    assert any("No study is open yet" in m.value for m in at.markdown)


def test_without_scores_the_page_offers_to_compute_them_and_says_what_it_takes(
    demo_study: Study,
) -> None:
    at = sensitivity()
    assert not at.exception
    assert "Score the layers" in [button.label for button in at.button]
    assert any("200 calibration samples" in m.value for m in at.markdown)
    assert any("analysis score" in code.value for code in at.code)


def test_stored_scores_are_drawn_at_once_with_their_provenance(scores: ScoreTable) -> None:
    at = sensitivity()
    assert not at.exception
    titles = [chart["layout"]["title"]["text"] for chart in charts(at)]
    assert len(titles) == 2
    assert all("n = 200" in title for title in titles)
    assert any("isolated" in m.value and "exact" in m.value for m in at.markdown)
    assert any("Most sensitive samples" in h.value for h in at.subheader)


def test_the_ranking_shows_the_chosen_candidate(scores: ScoreTable) -> None:
    at = sensitivity()
    first = charts(at)[0]["layout"]["title"]["text"]
    at.button_group(key="score-candidate").set_value("w4a8").run()
    assert not at.exception
    assert "w2a8" in first
    assert "w4a8" in charts(at)[0]["layout"]["title"]["text"]


def test_a_started_job_is_shown_with_a_way_to_cancel_it(demo_study: Study) -> None:
    at = sensitivity()
    next(b for b in at.button if b.label == "Score the layers").click().run()
    job = resources.jobs().jobs()[0]
    assert not at.exception
    assert job.title.startswith("Sample-layer attention")
    if resources.jobs().job(job.id).active:
        assert "Cancel" in [button.label for button in at.button]
    assert resources.jobs().wait(job.id, timeout=120).state == "finished"
    at.run()
    assert len(charts(at)) == 2


def test_the_selected_layer_and_sample_are_marked_and_a_sample_can_be_selected_here(
    scores: ScoreTable,
) -> None:
    at = sensitivity()
    heatmap = charts(at)[1]["layout"]
    assert not heatmap.get("shapes")
    hardest = next(b for b in at.button if b.key and b.key.startswith("sensitive-"))
    number = hardest.key.removeprefix("sensitive-")
    hardest.click().run()
    at.selectbox(key="layer").set_value(scores.layers[2]).run()
    assert not at.exception
    assert at.number_input(key="sample").value == int(number)
    row, column = charts(at)[1]["layout"]["shapes"]
    assert (row["y0"], column["x0"]) == (scores.layers[2], number)
