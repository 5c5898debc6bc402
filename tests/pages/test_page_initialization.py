"""The initialization page: the lab's form, its runs, and a loaded model beside its start."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import workflow
from analysis.events import result
from analysis.records import InitStudy, Study
from pages.ui import resources

MAIN = Path(__file__).parents[2] / "pages" / "main.py"
SMALL = {"lab-initializers": ["he_normal"], "lab-architectures": ["regular"], "lab-epochs": 1}


def page(**state: object) -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=120).run()
    for key, value in (SMALL | state).items():
        at.session_state[key] = value
    return at.switch_page("initialization.py").run()


def titles(at: AppTest) -> list[str]:
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    return [chart["layout"]["title"]["text"] for chart in charts]


@pytest.fixture
def trained(cache_dir: Path) -> InitStudy:
    lab = workflow.Lab(resources.workspace())
    step = workflow.initialization(lab, ("he_normal",), ("regular",), seeds=2, epochs=1, workers=1)
    return result(step.events(resources.store()))


def test_before_training_the_page_says_what_it_takes(cache_dir: Path) -> None:
    at = page()
    assert not at.exception
    assert "Train the networks" in [button.label for button in at.button]
    assert any("initialization --inits he_normal" in code.value for code in at.code)
    # A run of six epochs takes 1.5 s.
    assert any("3 runs, about 1 s on two cores" in m.value for m in at.markdown)
    at.number_input(key="lab-epochs").set_value(60).run()
    assert any("3 runs, about 45 s on two cores" in m.value for m in at.markdown)


def test_runs_that_are_there_are_shown_and_more_seeds_extend_them(trained: InitStudy) -> None:
    at = page(**{"lab-seeds": 2})
    assert not at.exception
    assert len(titles(at)) == 5
    assert "Accuracy lost at 4 bits" in titles(at)[0]
    at.number_input(key="lab-seeds").set_value(3).run()
    assert not at.exception
    assert "Train the other 1" in [button.label for button in at.button]
    assert any("2 of 3 runs are there" in i.value for i in at.info)
    assert len(titles(at)) == 5


def test_runs_of_another_combination_are_put_together_at_once(trained: InitStudy) -> None:
    at = page(**{"lab-seeds": 1})
    assert not at.exception
    assert not [button.label for button in at.button if button.label.startswith("Train")]
    assert len(titles(at)) == 5


def test_runs_that_all_diverged_leave_the_page_whole(cache_dir: Path, demo_study: Study) -> None:
    lab = workflow.Lab(resources.workspace())
    one = workflow.initialization(lab, ("uniform:1e30:1e31",), ("regular",), seeds=1, epochs=1)
    result(one.events(resources.store()))
    at = page(**{"lab-initializers": [], "lab-own": "uniform:1e30:1e31", "lab-seeds": 1})
    assert not at.exception
    assert any("1 run 1 diverged" in i.value for i in at.info)
    assert any("This run diverged: epoch 0" in w.value for w in at.warning)
    shown = titles(at)
    assert any("Range of the weights through training" in text for text in shown)
    assert any("now and from initializers" in text for text in shown)
    assert not any("`" in text for text in shown)
    assert any("initialization --inits" in code.value for code in at.code)


def test_charts_sentences_and_table_speak_of_titles(trained: InitStudy) -> None:
    at = page(**{"lab-seeds": 2})
    for text in [*titles(at), *(m.value for m in at.markdown)]:
        assert "he_normal" not in text
    table = at.dataframe[0].value
    assert (table["Initializer"][0], table["Architecture"][0]) == ("He normal", "Regular")
    assert "(n = 2)" in table["Float (%)"][0]
    assert any("two seeds are too few" in m.value for m in at.markdown)
    # One epoch from 10 % upwards.
    assert any("training had not finished after 1 epoch" in m.value for m in at.markdown)


def test_images_that_are_too_small_are_refused_before_anything_is_offered(
    demo_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = replace(demo_study, model=replace(demo_study.model, input_shape=(1, 1, 12)))
    monkeypatch.setattr("pages.ui.session.study", lambda: flat)
    at = page(**{"lab-data": f"Study: {demo_study.spec.name}"})
    assert any("8 x 8 pixels at least" in error.value for error in at.error)
    assert not [button.label for button in at.button if button.label.startswith("Train")]


def test_an_initializer_of_ones_own_is_checked(cache_dir: Path) -> None:
    at = page(**{"lab-own": "normal:0:0.3, uniform:-1:1"})
    assert not at.exception
    assert any("normal:0:0.3,uniform:-1:1" in code.value for code in at.code)
    at.text_input(key="lab-own").set_value("normal:0:-3").run()
    assert not at.exception
    assert at.error
    at.text_input(key="lab-own").set_value("gaussian").run()
    assert not at.exception
    assert "gaussian" in at.error[0].value


def test_a_loaded_model_is_laid_beside_what_it_would_have_been_given(demo_study: Study) -> None:
    at = page()
    assert not at.exception
    assert any("now and from initializers" in title for title in titles(at))
    assert any("before BatchNorm is folded" in m.value for m in at.markdown)
