"""The bit assignment page: edits, pins, groups, the solver and the measured result."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.allocation import allocation_costs
from analysis.allocation_file import allocation_json, uniform_allocation
from analysis.events import result
from analysis.records import Candidate, ScoreTable, Study
from pages.ui import resources

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def assignment() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    return at.switch_page("assignment.py").run()


@pytest.fixture
def scores(demo_study: Study) -> ScoreTable:
    step = workflow.score(resources.workspace(), demo_study, "hessian_attention")
    return result(step.events(resources.store()))


def cards(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def _version(at: AppTest) -> int:
    # The session state of a test has no `get`.
    return at.session_state["draft_version"] if "draft_version" in at.session_state else 0  # noqa: SIM401


def edit(at: AppTest, rows: dict) -> AppTest:
    key = f"bits-{_version(at)}"
    at.session_state[key] = {"edited_rows": rows, "added_rows": [], "deleted_rows": []}
    return at.run()


def draft(at: AppTest, study: Study):
    return at.session_state["draft_of"][catalog.study_id(study)].as_dict()


def test_without_scores_bits_can_be_edited_and_scoring_is_offered(demo_study: Study) -> None:
    at = assignment()
    assert not at.exception
    assert "Score the layers" in [b.label for b in at.button]
    assert cards(at)["Predicted loss increase"] == "no scores"
    assert cards(at)["Average weight bits"] == "8.00"


def test_scores_that_arrive_while_the_page_is_open_are_used(demo_study: Study) -> None:
    at = assignment()
    button(at, "Score the layers").click().run()
    job = resources.jobs().jobs()[0]
    assert resources.jobs().wait(job.id, timeout=120).state == "finished"
    at.run()
    assert not at.exception
    assert cards(at)["Predicted loss increase"].endswith("nats")
    button(at, "Solve").click().run()
    assert "Budget: size ≤ 0.6" in cards(at)


def test_an_edited_cell_changes_size_and_prediction(demo_study: Study, scores: ScoreTable) -> None:
    at = assignment()
    before = cards(at)
    edit(at, {3: {"Weight": "int4"}})
    assert not at.exception
    table = catalog.layer_table(resources.store(), demo_study)
    chosen = draft(at, demo_study)
    assert chosen[table.names[3]] == Candidate.parse("w4a8")
    costs = allocation_costs(table, at.session_state["draft_of"][catalog.study_id(demo_study)])
    assert cards(at)["Size"] == f"{costs.size_mib:.4g} MiB"
    assert cards(at)["Predicted loss increase"] != before["Predicted loss increase"]
    assert cards(at)["Measured accuracy"] == "not measured"


def test_pinned_layers_stay_at_8_bits_until_they_are_released(demo_study: Study) -> None:
    at = assignment()
    table = catalog.layer_table(resources.store(), demo_study)
    edit(at, {0: {"Weight": "int2"}})
    assert not at.exception
    assert draft(at, demo_study)[table.names[0]] == Candidate.parse("w8a8")
    at.toggle(key="pin-first-last").set_value(False).run()
    edit(at, {0: {"Weight": "int2"}})
    assert draft(at, demo_study)[table.names[0]] == Candidate.parse("w2a8")


def test_layers_that_read_one_tensor_change_their_activation_format_together(
    demo_study: Study,
) -> None:
    at = assignment()
    table = catalog.layer_table(resources.store(), demo_study)
    group = next(names for names in table.groups.values() if len(names) > 1)
    edit(at, {table.names.index(group[0]): {"Activation": "int4"}})
    assert not at.exception
    assert {draft(at, demo_study)[name].activation for name in group} == {"int4"}


def test_the_solver_fills_the_table_within_its_budget(
    demo_study: Study, scores: ScoreTable
) -> None:
    at = assignment()
    button(at, "Solve").click().run()
    assert not at.exception
    shown = cards(at)
    assert "Budget: size ≤ 0.6" in shown
    table = catalog.layer_table(resources.store(), demo_study)
    costs = allocation_costs(table, at.session_state["draft_of"][catalog.study_id(demo_study)])
    assert costs.size_ratio <= 0.6


def test_an_infeasible_budget_is_answered_with_the_nearest_feasible_one(
    demo_study: Study, scores: ScoreTable
) -> None:
    at = assignment()
    at.number_input(key="limit-size").set_value(0.05).run()
    button(at, "Solve").click().run()
    assert not at.exception
    assert any("0.2" in e.value for e in at.error)


def test_a_measured_allocation_shows_its_accuracy_with_interval(demo_study: Study) -> None:
    at = assignment()
    button(at, "Quantize and measure").click().run()
    job = resources.jobs().jobs()[0]
    assert resources.jobs().wait(job.id, timeout=120).state == "finished"
    at.run()
    assert not at.exception
    card = next(m for m in at.metric if m.label == "Measured accuracy")
    assert card.value.endswith("%")
    assert "n = 597" in card.delta
    assert any("against float" in m.value and "the noise" in m.value for m in at.markdown)


def test_a_pasted_allocation_becomes_the_draft(demo_study: Study) -> None:
    at = assignment()
    table = catalog.layer_table(resources.store(), demo_study)
    wanted = uniform_allocation(table, Candidate.parse("w3a8"))
    at.text_area[0].set_value(allocation_json(wanted, study="x"))
    button(at, "Use this allocation").click().run()
    assert not at.exception
    assert draft(at, demo_study) == wanted.as_dict()


def test_a_pasted_allocation_of_another_model_is_refused_by_name(demo_study: Study) -> None:
    at = assignment()
    at.text_area[0].set_value(json.dumps({"allocation": {"no.such.layer": "w4a8"}}))
    button(at, "Use this allocation").click().run()
    assert not at.exception
    assert any("no.such.layer" in e.value for e in at.error)


def test_the_draft_survives_a_new_session(demo_study: Study) -> None:
    at = assignment()
    edit(at, {3: {"Weight": "int4"}})
    fresh = assignment()
    assert cards(fresh)["Average weight bits"] == cards(at)["Average weight bits"] != "8.00"
