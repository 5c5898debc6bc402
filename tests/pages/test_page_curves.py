"""The page of accuracy curves: what it asks, draws and says, and what a chosen point offers."""

import json
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.curves.calibration import calibrations
from analysis.demo_studies import DEMOS
from analysis.events import result
from analysis.records import Allocation, Candidate, Curve, Study
from analysis.steps import Step
from pages.ui import curving, resources, session

MAIN = Path(__file__).parents[2] / "pages" / "main.py"
PLAN = workflow.CurvePlan(
    metrics=("weight_mse",),
    points=3,
    random=2,
    candidates=tuple(Candidate.parse(text) for text in ("w4a8", "w8a8")),
)


def page() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=120).run()
    at.session_state["curve-metrics"] = list(PLAN.metrics)
    at.session_state["curve-points"] = PLAN.points
    at.session_state["curve-random"] = PLAN.random
    at.session_state["curve-candidates-weight"] = ["int4", "int8"]
    return at.switch_page("curves.py").run()


def said(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


def step(study: Study) -> Step[Curve]:
    return workflow.curve(resources.workspace(), study, PLAN)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study, Curve]:
    """A store with the demo and its measured curve, made once."""
    root = tmp_path_factory.mktemp("prepared") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITLENS_CACHE", str(root))
        study = result(workflow.opening(resources.workspace(), DEMOS[0].spec))
        return root, study, result(step(study).events(resources.store()))


@pytest.fixture
def study(prepared: tuple[Path, Study, Curve], cache_dir: Path) -> Study:
    """The demo with its measured curve, in a store of this test alone."""
    shutil.copytree(prepared[0], cache_dir)
    return prepared[1]


def test_without_a_study_the_page_leads_to_one(cache_dir: Path) -> None:
    at = AppTest.from_file(MAIN, default_timeout=60).run().switch_page("curves.py").run()
    assert not at.exception
    assert "No study is open yet" in said(at)


def test_before_measuring_the_page_says_what_it_takes(study: Study) -> None:
    resources.store().delete(step(study).key)
    at = page()
    assert not at.exception
    assert "Measure the curves" in [b.label for b in at.button]
    text = said(at)
    assert "at most 14 allocations of 597 samples" in text
    assert "A metric that does not beat these does not help" in text
    assert at.code[0].value == step(study).command
    at.multiselect(key="curve-metrics").set_value([]).run()
    assert not at.exception
    assert any("at least one metric" in i.value for i in at.info)


def test_a_measured_curve_is_drawn_said_and_listed_and_a_point_can_be_loaded(
    study: Study, prepared: tuple[Path, Study, Curve]
) -> None:
    at = page()
    assert not at.exception
    layouts = [json.loads(c.proto.spec)["layout"] for c in at.get("plotly_chart")]
    assert "Accuracy against size" in layouts[0]["title"]["text"]
    assert "weight_mse: predicted against measured" in layouts[1]["title"]["text"]
    text = said(at)
    assert "to size-only compared" in text
    assert "Click a point" in text
    rows = at.dataframe[0].value
    assert set(rows["n"]) == {597}
    assert sum("random" in name for name in rows["Bits by"]) == 3
    assert rows["Predicted"].notna().sum() == 3

    picked = f"curve-point-{step(study).key[:12]}"
    point = prepared[2].points[1]
    at.session_state[picked] = "1"
    at.run()
    assert not at.exception
    assert {"Measured accuracy", "Predicted", "Left of the budget"} <= {m.label for m in at.metric}
    at.button(key=f"{picked}-load").click().run()
    draft = resources.store().get_part(catalog.study_id(study), session.Key.DRAFT, Allocation)
    assert draft == point.allocation
    other = at.selectbox(key=f"{picked}-other")
    other.set_value(other.options[0]).run()
    assert not at.exception
    assert "n = 597)" in said(at)
    at.button(key=f"{picked}-save").click().run()
    named = catalog.configurations(resources.store(), study)
    assert [each.allocation for each in named.values()] == [point.allocation]


def test_an_unfinished_curve_shows_what_there_is(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources.store().delete(step(study).key)
    monkeypatch.setattr("analysis.workflow.curves._SAVE_EVERY", 2)
    events = step(study).events(resources.store())
    for event in events:
        if getattr(event, "message", "").startswith("6 of"):
            events.close()  # type: ignore[attr-defined]
            break
    at = page()
    assert not at.exception
    assert any("4 allocations are measured so far" in i.value for i in at.info)
    assert "Measure the curves" in [b.label for b in at.button]


def test_calibration_is_said_with_its_interval_and_what_it_is_worth(
    prepared: tuple[Path, Study, Curve],
) -> None:
    text = curving.calibration_words(calibrations(prepared[2])[0])
    assert "Spearman ρ" in text
    assert "fewer bits are worse is most of it" in text
