"""The agreement page: what it asks, what it says of metrics that were compared."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import workflow
from analysis.events import result
from analysis.records import Agreement, Budget, Candidate, Contest, Study
from pages.ui import agreeing, resources

MAIN = Path(__file__).parents[2] / "pages" / "main.py"
METRICS = ("hessian_attention", "weight_mse", "size_only", "random")
CANDIDATES = tuple(Candidate.parse(text) for text in ("w2a8", "w4a8"))


def page() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=120).run()
    at.session_state["agreement-metrics"] = list(METRICS)
    at.session_state["agreement-candidates-weight"] = ["int2", "int4"]
    return at.switch_page("agreement.py").run()


def said(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


@pytest.fixture
def compared(demo_study: Study) -> Agreement:
    step = workflow.agree(
        resources.workspace(), demo_study, METRICS, "loss_increase", candidates=CANDIDATES
    )
    return result(step.events(resources.store()))


@pytest.fixture
def contested(demo_study: Study) -> Contest:
    budget = Budget(resource="size", limit=0.5)
    step = workflow.contest(
        resources.workspace(), demo_study, METRICS, budget, candidates=CANDIDATES
    )
    return result(step.events(resources.store()))


def test_without_a_study_the_page_says_where_to_open_one(cache_dir: Path) -> None:
    at = AppTest.from_file(MAIN, default_timeout=60).run().switch_page("agreement.py").run()
    assert not at.exception
    assert "No study is open yet" in said(at)


def test_before_comparing_the_page_says_what_it_takes(demo_study: Study) -> None:
    at = page()
    assert not at.exception
    assert {"Compare the metrics", "Measure the allocations"} <= {b.label for b in at.button}
    assert any("agreement --metrics hessian_attention,weight_mse" in c.value for c in at.code)
    assert "4 metrics to score" in said(at)


def test_compared_metrics_are_drawn_with_a_verdict(compared: Agreement) -> None:
    at = page()
    assert not at.exception
    titles = [
        json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in at.get("plotly_chart")
    ]
    assert len(titles) == 3
    assert all("isolated" in title for title in titles)
    assert "Loss increase" in titles[0]
    assert "evaluation" in titles[0]
    frame = at.dataframe[0].value
    assert set(frame["Layers"]) == {16}
    assert frame["Kendall"].notna().sum() == 3
    assert frame["Remark"].str.contains("the same for all layers").sum() == 1
    assert "half of its 597 samples" in said(at)


def test_the_verdict_on_allocations_names_the_best_and_what_is_noise(contested: Contest) -> None:
    text = agreeing.contest_words(contested)
    assert text.startswith("**")
    assert "leads to" in text
    assert "chosen after the fact" in text
    at = page()
    assert not at.exception
    assert text in said(at)


def test_no_metric_is_an_invitation_not_an_error(demo_study: Study) -> None:
    at = page()
    at.multiselect(key="agreement-metrics").set_value([]).run()
    assert not at.exception
    assert any("Choose at least one metric" in i.value for i in at.info)
