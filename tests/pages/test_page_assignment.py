"""The bit assignment page: edits, pins, groups, the solver and the measured result."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.allocation_file import allocation_json, uniform_allocation
from analysis.events import result
from analysis.records import Allocation, Candidate, LayerTable, ScoreTable, Study
from pages.equalizer.payload import codes
from pages.equalizer.tables import CODES
from pages.ui import resources

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def assignment() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    return at.switch_page("assignment.py").run()


@pytest.fixture
def scores(demo_study: Study) -> ScoreTable:
    step = workflow.score(resources.workspace(), demo_study, "hessian_attention")
    return result(step.events(resources.store()))


@pytest.fixture
def table(demo_study: Study) -> LayerTable:
    found = catalog.layer_table(resources.store(), demo_study)
    assert found is not None
    return found


def sent(at: AppTest) -> dict:
    """What the equalizer was mounted with."""
    proto = at.get("bidi_component")[0].proto
    return json.loads(proto.mixed.json or proto.json)


def cards(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def edit(at: AppTest, rows: dict) -> AppTest:
    """Edit cells of the table, as a user does after opening it."""
    at.session_state["bits-table"] = True
    at.run()
    state = {
        name: at.session_state[name]
        for name in ("draft_version", "column_edits")
        if name in at.session_state
    }
    key = f"bits-{state.get('draft_version', 0)}-{state.get('column_edits', 0)}"
    at.session_state[key] = {"edited_rows": rows, "added_rows": [], "deleted_rows": []}
    return at.run()


def draft(at: AppTest, study: Study) -> Allocation:
    return at.session_state["draft_of"][catalog.study_id(study)]


def test_without_scores_bits_can_be_edited_and_scoring_is_offered(demo_study: Study) -> None:
    at = assignment()
    assert not at.exception
    assert "Score the layers" in [b.label for b in at.button]
    assert sent(at)["scores"] is None
    assert set(sent(at)["start"]["weights"]) == {CODES["int8"]}


def test_scores_that_arrive_while_the_page_is_open_are_used(demo_study: Study) -> None:
    at = assignment()
    button(at, "Score the layers").click().run()
    job = resources.jobs().jobs()[0]
    assert resources.jobs().wait(job.id, timeout=120).state == "finished"
    at.run()
    assert not at.exception
    assert sent(at)["scores"]["unit"] == "nats"
    button(at, "Solve").click().run()
    assert [budget["text"] for budget in sent(at)["budgets"]] == ["0.6"]


def test_a_cell_edited_in_the_table_reaches_the_columns_as_a_newer_version(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    at = assignment()
    before = sent(at)
    edit(at, {3: {"Weight": "int4"}})
    assert not at.exception
    assert draft(at, demo_study).as_dict()[table.names[3]] == Candidate.parse("w4a8")
    assert sent(at)["version"] > before["version"]
    assert sent(at)["start"]["weights"][3] == CODES["int4"]
    assert any("not measured" in m.value for m in at.markdown)


def test_formats_that_are_no_integers_of_the_axis_are_kept(
    demo_study: Study, table: LayerTable
) -> None:
    at = assignment()
    edit(at, {3: {"Weight": "float"}, 4: {"Weight": "int16"}})
    assert sent(at)["start"]["weights"][3:5] == [CODES["float"], CODES["int16"]]


def test_pinned_layers_keep_their_formats_until_they_are_released(
    demo_study: Study, table: LayerTable
) -> None:
    at = assignment()
    edit(at, {0: {"Weight": "int2"}})
    assert not at.exception
    assert draft(at, demo_study).as_dict()[table.names[0]] == Candidate.parse("w8a8")
    at.session_state["pins_of"] = {catalog.study_id(demo_study): (table.names[-1],)}
    edit(at, {0: {"Weight": "int2"}})
    assert draft(at, demo_study).as_dict()[table.names[0]] == Candidate.parse("w2a8")


def test_layers_that_read_one_tensor_change_their_activation_format_together(
    demo_study: Study, table: LayerTable
) -> None:
    at = assignment()
    group = next(names for names in table.groups.values() if len(names) > 1)
    edit(at, {table.names.index(group[0]): {"Activation": "int4"}})
    assert not at.exception
    assert {draft(at, demo_study).as_dict()[name].activation for name in group} == {"int4"}


def test_the_solver_keeps_its_budget_and_the_pins(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    at = assignment()
    held = table.names[5]
    edit(at, {5: {"Weight": "int3"}})
    at.session_state["pins_of"] = {catalog.study_id(demo_study): (table.names[-1], held)}
    at.run()
    button(at, "Solve").click().run()
    assert not at.exception
    (budget,) = sent(at)["budgets"]
    assert budget["note"].startswith("optimum certified")
    (row,) = budget["rows"]
    chosen = codes(draft(at, demo_study))["weights"]
    assert row["fixed"] + sum(own[chosen[i]] for i, own in row["costs"]) <= budget["limit"]
    assert draft(at, demo_study).as_dict()[held].weight == "int3"
    assert "last solution (milp)" in [ghost["name"] for ghost in sent(at)["ghosts"]]


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
    paired = next(m for m in at.metric if m.label == "Against float, paired")
    assert "the noise" in paired.delta


def test_a_prediction_says_its_error_is_unknown_while_too_little_is_measured(
    demo_study: Study, scores: ScoreTable
) -> None:
    at = assignment()
    at.session_state["prediction-error"] = True
    at.run()
    assert not at.exception
    assert sent(at)["calibration"] is None
    assert any("5 are needed" in m.value for m in at.markdown)


def test_a_pasted_allocation_becomes_the_draft(demo_study: Study, table: LayerTable) -> None:
    at = assignment()
    at.session_state["bits-json"] = True
    at.run()
    wanted = uniform_allocation(table, Candidate.parse("w3a8"))
    at.text_area[0].set_value(allocation_json(wanted, study="x"))
    button(at, "Use this allocation").click().run()
    assert not at.exception
    assert draft(at, demo_study) == wanted
    assert sent(at)["start"]["weights"] == codes(wanted)["weights"]


def test_a_pasted_allocation_of_another_model_is_refused_by_name(demo_study: Study) -> None:
    at = assignment()
    at.session_state["bits-json"] = True
    at.run()
    at.text_area[0].set_value(json.dumps({"allocation": {"no.such.layer": "w4a8"}}))
    button(at, "Use this allocation").click().run()
    assert not at.exception
    assert any("no.such.layer" in e.value for e in at.error)


def test_a_saved_allocation_is_loaded_compared_with_and_deleted(
    demo_study: Study, table: LayerTable
) -> None:
    at = assignment()
    edit(at, {3: {"Weight": "int4"}})
    saved = draft(at, demo_study)
    at.text_input(key="save-as-name").set_value("mine").run()
    button(at, "Save").click().run()
    assert [ghost["name"] for ghost in sent(at)["ghosts"]] == ["mine"]
    edit(at, {3: {"Weight": "int2"}})
    assert draft(at, demo_study) != saved
    button(at, "Load").click().run()
    assert draft(at, demo_study) == saved
    button(at, "Delete the name").click().run()
    assert sent(at)["ghosts"] == []


def test_the_draft_survives_a_new_session(demo_study: Study) -> None:
    at = assignment()
    edit(at, {3: {"Weight": "int4"}})
    fresh = assignment()
    assert sent(fresh)["start"] == sent(at)["start"]
    assert CODES["int4"] in sent(fresh)["start"]["weights"]


def test_a_search_by_measured_accuracy_is_a_job_whose_result_is_taken_by_hand(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    at = assignment()
    at.selectbox(key="solver").set_value("prefix").run()
    assert "Solve" not in [b.label for b in at.button]
    button(at, "Search").click().run()
    job = resources.jobs().jobs()[0]
    assert resources.jobs().wait(job.id, timeout=240).state == "finished"
    before = draft(at, demo_study)
    at.run()
    assert not at.exception
    assert any("allocations were measured" in m.value for m in at.markdown)
    assert draft(at, demo_study) == before
    button(at, "Use this allocation").click().run()
    assert not at.exception
    assert draft(at, demo_study) != before
    assert "--solver prefix" in " ".join(code.value for code in at.code)


def test_a_budget_in_ms_asks_for_times_and_keeps_them(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    at = assignment()
    at.multiselect(key="budgets").set_value(["latency_ms"]).run()
    button(at, "Solve").click().run()
    assert any("need times of the layers" in e.value for e in at.error)
    rows = [
        f"{name},{candidate.text},{0.1 * int(candidate.weight.removeprefix('int')):.1f}"
        for name in table.names
        for candidate in (*scores.candidates, Candidate.parse("w8a8"))
    ]
    text = "\n".join(["layer,candidate,ms", *dict.fromkeys(rows)])
    at.file_uploader(key="solve-times-upload").upload("times.csv", text.encode(), "text/csv").run()
    at.number_input(key="limit-latency_ms").set_value(0.4 * len(table.names)).run()
    button(at, "Solve").click().run()
    assert not at.exception
    assert not at.error
    ms = sum(0.1 * int(c.weight.removeprefix("int")) for c in draft(at, demo_study).candidates)
    assert ms <= 0.4 * len(table.names) + 1e-9
    assert "--latency latency.csv" in " ".join(code.value for code in at.code)


def test_a_latency_table_that_misses_layers_is_refused_by_name(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    at = assignment()
    at.multiselect(key="budgets").set_value(["latency_ms"]).run()
    text = f"layer,candidate,ms\n{table.names[0]},w8a8,1.0\n"
    at.file_uploader(key="solve-times-upload").upload("times.csv", text.encode(), "text/csv").run()
    button(at, "Solve").click().run()
    assert not at.exception
    assert any(table.names[1] in e.value for e in at.error)
