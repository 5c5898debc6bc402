"""Measured configurations side by side."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.allocation_file import uniform_allocation
from analysis.baselines import UNIFORM, uniform_steps
from analysis.commands import DEMO
from analysis.events import Work, result
from analysis.records import Allocation, Candidate, Study
from pages.ui import configurations, resources, session

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def comparison() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    return at.switch_page("comparison.py").run()


def texts(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


def work_result(work: Work[Study]) -> Study:
    while True:
        try:
            next(work)
        except StopIteration as done:
            return cast(Study, done.value)


def thumbnails(at: AppTest) -> list[str]:
    """Captions of the images."""
    return [each.caption for image in at.get("image") for each in image.proto.imgs]


def measured(study: Study, text: str, name: str) -> None:
    table = catalog.layer_table(resources.store(), study)
    assert table is not None
    allocation = uniform_allocation(table, Candidate.parse(text))
    step = workflow.quantize(resources.workspace(), study, workflow.Recipe(allocation), name=name)
    result(step.events(resources.store()))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """A store with the demo, a good and a useless configuration, made once."""
    root = tmp_path_factory.mktemp("prepared") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITLENS_CACHE", str(root))
        study = work_result(workflow.open_study(resources.workspace(), DEMO))
        measured(study, "w6a8", "six")
        measured(study, "w2a8", "two")
    return root, study


@pytest.fixture
def two(prepared: tuple[Path, Study], cache_dir: Path) -> Study:
    """The demo with a good and a useless configuration, in a store of this test alone."""
    shutil.copytree(prepared[0], cache_dir)
    return prepared[1]


def test_without_a_study_the_page_leads_to_the_demo(cache_dir: Path) -> None:
    at = comparison()
    assert not at.exception
    assert "No study is open yet" in texts(at)


def test_without_configurations_the_page_says_what_to_do(demo_study: Study) -> None:
    at = comparison()
    assert not at.exception
    assert "No configuration of this study is measured yet" in texts(at)
    assert [b.label for b in at.button] == ["Measure the uniform baselines"]


def test_one_click_measures_every_uniform_baseline_in_one_job(
    demo_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uniform_steps, "__defaults__", (UNIFORM[:2],))
    at = comparison()
    at.button[0].click().run()
    job = resources.jobs().wait(resources.jobs().jobs()[0].id, timeout=120)
    assert job.state == "finished", job.error
    at.run()
    assert not at.exception
    assert len(resources.jobs().jobs()) == 1
    rows = at.dataframe[0].value
    assert list(rows["Kind"]) == ["reference"] + ["uniform baseline"] * 2
    assert "Measure the uniform baselines" not in [b.label for b in at.button]


def test_float_comes_first_and_every_row_has_its_interval(two: Study) -> None:
    at = comparison()
    assert not at.exception
    rows = at.dataframe[0].value.set_index("Configuration")
    assert list(rows.index) == ["float", "six", "two"]
    assert list(rows["n"]) == [597] * 3
    stored = catalog.configurations(resources.store(), two)["two"].measured
    assert rows.loc["two", "Measured"] == pytest.approx(100 * stored.top1)
    assert rows.loc["two", "Interval"] == f"{100 * stored.low:.1f}-{100 * stored.high:.1f}"
    assert "outside the noise" in rows.loc["two", "Verdict"]
    assert "inside the noise" in rows.loc["six", "Verdict"]
    assert "Predicted" not in rows


def test_predictions_stand_in_a_column_of_their_own(two: Study) -> None:
    scores = workflow.score(
        resources.workspace(), two, "output_kl", candidates=(Candidate.parse("w6a8"),)
    )
    result(scores.events(resources.store()))
    at = comparison()
    assert not at.exception
    rows = at.dataframe[0].value.set_index("Configuration")
    assert rows["Predicted"].isna().sum() == 2  # w8a8 at the ends was not scored
    assert "2 without a prediction" in texts(at)


def test_only_uniform_bits_rounded_to_nearest_are_the_baseline(two: Study) -> None:
    store = resources.store()
    known = catalog.configurations(store, two)["two"]
    trained = replace(known, method="bias_correction", options={})
    kinds = [configurations.kind(each) for each in (known, trained)]
    assert kinds == ["uniform baseline", "uniform"]
    assert configurations.method(replace(trained, recalibrations=("equalization",))) == (
        "equalization + bias_correction"
    )


def test_a_difference_inside_the_noise_is_called_so(two: Study) -> None:
    at = comparison()
    assert "Inside the noise: six against float" in texts(at)
    at.selectbox(key="pair-first").set_value("two").run()
    assert not at.exception
    assert "float is better than two by" in texts(at)
    assert {m.label for m in at.metric} >= {"McNemar", "Only the second is right"}
    assert "543 predictions differ, 12 of them shown" in texts(at)
    assert len(thumbnails(at)) == 12


def test_changed_layers_are_listed_for_two_configurations(two: Study) -> None:
    at = comparison()
    at.selectbox(key="pair-second").set_value("two").run()
    assert not at.exception
    changed = at.dataframe[1].value
    assert set(changed["First"]) == {"w6a8"}
    assert set(changed["Second"]) == {"w2a8"}
    assert len(changed) == 14


def test_a_configuration_is_loaded_into_the_draft(two: Study) -> None:
    at = comparison()
    at.selectbox(key="manage").set_value("two").run()
    at.button(key="load-draft").click().run()
    assert not at.exception
    draft = resources.store().get_part(catalog.study_id(two), session.Key.DRAFT, Allocation)
    assert draft == catalog.configurations(resources.store(), two)["two"].allocation


def test_a_deleted_configuration_leaves_the_page_whole(two: Study) -> None:
    at = comparison()
    at.selectbox(key="manage").set_value("two").run()
    at.selectbox(key="pair-first").set_value("two").run()
    at.multiselect(key="compare-hidden").set_value(["two"]).run()
    at.button(key="delete-name").click().run()
    assert not at.exception
    assert list(catalog.configurations(resources.store(), two)) == ["six"]
    assert list(at.dataframe[0].value["Configuration"]) == ["float", "six"]


def test_a_configuration_made_elsewhere_appears_on_the_next_run(two: Study) -> None:
    at = comparison()
    measured(two, "w4a8", "from elsewhere")
    at.run()
    assert "from elsewhere" in list(at.dataframe[0].value["Configuration"])
