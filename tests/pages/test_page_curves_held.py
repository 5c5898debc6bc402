"""What the page of accuracy curves keeps of the assignment page: pins and ties."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.allocation_file import uniform_allocation
from analysis.demo_studies import DEMOS
from analysis.events import result
from analysis.records import Allocation, Candidate, Curve, LayerTable, Study
from pages.ui import resources, session

MAIN = Path(__file__).parents[2] / "pages" / "main.py"
KEEP = "curve-held"
TIED = ("layer1.0.conv1", "layer1.1.conv1")
W4A8, W8A8 = Candidate.parse("w4a8"), Candidate.parse("w8a8")


@pytest.fixture
def study(cache_dir: Path) -> Study:
    del cache_dir  # it is where the store is
    return result(workflow.opening(resources.workspace(), DEMOS[0].spec))


@pytest.fixture
def table(study: Study) -> LayerTable:
    return result(workflow.layers(resources.workspace(), study).events(resources.store()))


def page(study: Study, **held: Mapping[str, object] | tuple[object, ...]) -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=120).run()
    at.session_state["curve-metrics"] = ["weight_mse"]
    at.session_state["curve-points"] = 2
    at.session_state["curve-random"] = 1
    at.session_state["curve-candidates-weight"] = ["int4", "int8"]
    for name, value in held.items():
        at.session_state[name] = {catalog.study_id(study): value}
    return at.switch_page("curves.py").run()


def said(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


def command(at: AppTest) -> str:
    return str(at.code[0].value)


def test_nothing_is_offered_while_only_first_and_last_are_held(study: Study) -> None:
    at = page(study)
    assert not at.exception
    assert KEEP not in [t.key for t in at.toggle]
    assert "--pin" not in command(at)
    assert "--tie" not in command(at)


def test_ties_are_offered_and_kept_when_that_is_asked_for(study: Study) -> None:
    at = page(study, ties_of=(TIED,))
    assert "`layer1.0.conv1` and `layer1.1.conv1` tied" in said(at)
    assert "--tie" not in command(at)
    at.toggle(key=KEEP).set_value(True).run()
    assert not at.exception
    assert "--tie layer1.0.conv1,layer1.1.conv1" in command(at)
    assert "All of them keep: `layer1.0.conv1` and `layer1.1.conv1` tied." in said(at)
    plan = workflow.CurvePlan(
        metrics=("weight_mse",), points=2, random=1, candidates=(W4A8, W8A8), ties=(TIED,)
    )
    step = workflow.curve(resources.workspace(), study, plan)
    assert command(at) == step.command
    made: Curve = result(step.events(resources.store()))
    for point in made.points:
        bits = point.allocation.as_dict()
        assert bits[TIED[0]] == bits[TIED[1]]
    at.run()
    assert not at.exception
    assert "`layer1.0.conv1` and `layer1.1.conv1` tied; scope tensor" in said(at)


def test_a_pin_keeps_what_the_draft_gives_its_layer(study: Study, table: LayerTable) -> None:
    draft = uniform_allocation(table, W4A8)
    at = page(study, pins_of=("conv1", "layer2.0.conv1", "fc"), draft_of=draft)
    at.toggle(key=KEEP).set_value(True).run()
    assert not at.exception
    assert "--pin layer2.0.conv1=w4a8" in command(at)
    assert "--pin conv1" not in command(at)
    assert "--release-first-last" not in command(at)


def test_a_released_first_layer_is_released_in_the_curve(study: Study) -> None:
    at = page(study, pins_of=("fc",))
    assert "first and last layer released" in said(at)
    at.toggle(key=KEEP).set_value(True).run()
    assert not at.exception
    assert "--pin fc=w8a8" in command(at)
    assert "--release-first-last" in command(at)


def test_a_point_that_is_loaded_respects_the_ties_of_the_draft(
    study: Study, table: LayerTable
) -> None:
    plan = workflow.CurvePlan(metrics=("weight_mse",), points=2, random=1, candidates=(W4A8, W8A8))
    step = workflow.curve(resources.workspace(), study, plan)
    made: Curve = result(step.events(resources.store()))
    assert made.points[0].allocation == uniform_allocation(table, W4A8)
    at = page(study, ties_of=(("conv1", "layer1.0.conv1"),))  # a pinned layer with another
    picked = f"curve-point-{step.key[:12]}"
    at.session_state[picked] = "0"
    at.run()
    at.button(key=f"{picked}-load").click().run()
    assert not at.exception
    draft = resources.store().get_part(catalog.study_id(study), session.Key.DRAFT, Allocation)
    assert draft is not None
    assert draft.as_dict()["layer1.0.conv1"] == draft.as_dict()["conv1"] == W8A8
    assert any("Tied layers take one format" in t.value for t in at.toast)
