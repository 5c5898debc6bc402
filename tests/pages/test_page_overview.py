"""The first page: what a newcomer sees, and what a study adds."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

from analysis.demo_studies import DEMOS
from analysis.records import Study
from pages.ui import resources, session

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def overview() -> AppTest:
    return AppTest.from_file(MAIN, default_timeout=60).run()


def test_without_a_study_every_demo_can_be_opened_at_once(cache_dir: Path) -> None:
    at = overview()
    assert not at.exception
    assert [button.label for button in at.button] == ["Open"] * len(DEMOS)
    assert not any(button.disabled for button in at.button)


def test_one_click_opens_the_demo_and_selects_it(cache_dir: Path) -> None:
    at = overview()
    at.button[0].click().run()
    job = resources.jobs().wait(resources.jobs().jobs()[0].id, timeout=60)
    assert job.state == "finished", job.error
    at.run()
    assert not at.exception
    assert at.selectbox(key=session.Key.STUDY).value == DEMOS[0].spec.name
    assert {m.label: m.value for m in at.metric}["Layers"] == "16"


def test_a_study_in_the_store_is_summed_up_with_what_comes_next(demo_study: Study) -> None:
    at = overview()
    assert not at.exception
    cards = {metric.label: metric.value for metric in at.metric}
    assert cards["Calibration"] == "200 samples"
    assert cards["Evaluation"] == "597 samples"
    assert cards["Float accuracy"] == "not measured"
    assert any("not scored yet" in m.value for m in at.markdown)


def test_a_study_that_is_not_there_is_said_and_another_one_shown(demo_study: Study) -> None:
    at = AppTest.from_file(MAIN, default_timeout=60)
    at.query_params[session.Key.STUDY] = "No such study"
    at.run()
    assert not at.exception
    assert at.selectbox(key=session.Key.STUDY).value == demo_study.spec.name
