"""The bit assignment page: ties, hardest samples, and peaks that bits hardly move."""

import json
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.allocation_file import allocation_json
from analysis.events import result
from analysis.records import Allocation, Candidate, LayerTable, ScoreTable, Study
from pages.equalizer import Echo, Opened
from pages.equalizer.tables import CODES
from pages.ui import resources
from pages.ui.bits import tie_letters

MAIN = Path(__file__).parents[2] / "pages" / "main.py"
TIED = (3, 6)


@pytest.fixture
def table(demo_study: Study) -> LayerTable:
    found = catalog.layer_table(resources.store(), demo_study)
    assert found is not None
    return found


@pytest.fixture
def scores(demo_study: Study) -> ScoreTable:
    step = workflow.score(resources.workspace(), demo_study, "hessian_attention")
    return result(step.events(resources.store()))


def assignment(study: Study, table: LayerTable, ties: tuple[tuple[int, ...], ...] = ()) -> AppTest:
    """The page, with layers tied as the equalizer's echo leaves them."""
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    names = tuple(tuple(table.names[place] for place in own) for own in ties)
    at.session_state["ties_of"] = {catalog.study_id(study): names}
    at.switch_page("assignment.py").run()
    assert not at.exception
    return at


def sent(at: AppTest) -> dict:
    proto = at.get("bidi_component")[0].proto
    return json.loads(proto.mixed.json or proto.json)


def draft(at: AppTest, study: Study) -> list[Candidate]:
    return list(at.session_state["draft_of"][catalog.study_id(study)].candidates)


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def test_a_cell_of_a_tied_layer_changes_all_of_the_tie(
    demo_study: Study, table: LayerTable
) -> None:
    at = assignment(demo_study, table, (TIED,))
    assert sent(at)["start"]["ties"] == [list(TIED)]
    at.session_state["bits-table"] = True
    at.run()
    edit = {"edited_rows": {6: {"Weight": "int4"}}, "added_rows": [], "deleted_rows": []}
    at.session_state["bits-0-0"] = edit
    at.run()
    assert not at.exception
    assert {draft(at, demo_study)[place].weight for place in TIED} == {"int4"}
    assert sent(at)["start"]["weights"][3] == CODES["int4"]
    assert any("tied layers share" in toast.value for toast in at.toast)


def test_the_solver_gives_tied_layers_one_candidate_and_says_so(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    places = tuple(range(2, len(table.layers) - 2, 3))
    at = assignment(demo_study, table, (places,))
    assert any(f"{len(places)} tied layers take one format" in m.value for m in at.markdown)
    button(at, "Solve").click().run()
    assert not at.exception
    found = draft(at, demo_study)
    assert len({found[place] for place in places}) == 1
    assert len(set(found)) > 1
    assert "--tie" in " ".join(code.value for code in at.code)


def test_a_pasted_allocation_is_settled_to_the_ties_and_that_is_said(
    demo_study: Study, table: LayerTable
) -> None:
    at = assignment(demo_study, table, (TIED,))
    at.session_state["bits-json"] = True
    at.run()
    candidates = [Candidate.parse("w3a8")] * len(table.layers)
    candidates[TIED[1]] = Candidate.parse("w6a8")
    wanted = Allocation(layers=table.names, candidates=tuple(candidates))
    at.text_area[0].set_value(allocation_json(wanted, study="x"))
    button(at, "Use this allocation").click().run()
    assert not at.exception
    assert {draft(at, demo_study)[place].weight for place in TIED} == {"int3"}
    assert any("Tied layers take one format" in toast.value for toast in at.toast)


def test_the_hardest_samples_of_each_layer_are_sent_with_their_labels(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    layer = sent(assignment(demo_study, table))["layers"][2]
    assert scores.per_sample is not None
    column = scores.per_sample[:, scores.layers.index(layer["name"])]
    assert [each["number"] for each in layer["hardest"]] == np.argsort(-column)[:3].tolist()
    live = resources.workspace().live(demo_study).calibration
    assert [each["label"] for each in layer["hardest"]] == [
        live.label(each["number"]) for each in layer["hardest"]
    ]


def test_without_scores_per_sample_no_sample_is_named(demo_study: Study, table: LayerTable) -> None:
    result(
        workflow.score(resources.workspace(), demo_study, "weight_mse").events(resources.store())
    )
    at = assignment(demo_study, table)
    assert sent(at)["scores"] is not None
    assert {len(layer["hardest"]) for layer in sent(at)["layers"]} == {0}


def test_a_peak_that_is_mostly_sums_is_said_to_be_so(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    at = assignment(demo_study, table)
    assert not any("tensors that no layer reads" in m.value for m in at.markdown)
    at.multiselect(key="budgets").set_value(["act"]).run()
    at.number_input(key="limit-act").set_value(1.0).run()
    button(at, "Solve").click().run()
    assert not at.exception
    (budget,) = sent(at)["budgets"]
    assert budget["peak"]
    said = [m.value for m in at.markdown if "tensors that no layer reads" in m.value]
    assert len(said) == 2


@pytest.mark.parametrize(
    "ties", [[[1, 1]], [[1]], [[1, 2], [2, 3]], [[1, 99]]], ids=["twice", "alone", "two", "unknown"]
)
def test_an_echo_with_ties_that_cannot_be_is_passed_over(
    demo_study: Study, table: LayerTable, ties: list[list[int]]
) -> None:
    from pages.ui.drafting import fits

    codes = [CODES["int8"]] * len(table.layers)
    state = {"weights": codes, "activations": codes, "pins": [0], "layer": "", "version": 0}
    assert fits(Echo.read({"edit": state | {"ties": [[1, 2], [3, 4]], "seq": 1}}), table)
    assert not fits(Echo.read({"edit": state | {"ties": ties, "seq": 1}}), table)


def test_what_the_component_opens_is_a_page_and_perhaps_a_sample() -> None:
    assert Opened.read({"open": None}) is None
    asked = {"page": "samples", "layer": "fc", "sample": 4}
    assert Opened.read({"open": asked}) == Opened("samples", "fc", 4)
    assert Opened.read({"open": asked | {"sample": None}}) == Opened("samples", "fc", None)


def test_ties_are_lettered_like_columns_of_a_sheet() -> None:
    found = tie_letters([(f"layer{i}", f"other{i}") for i in range(54)])
    assert [found[f"layer{i}"] for i in (0, 1, 25, 26, 27, 52, 53)] == [
        *("A", "B", "Z", "AA", "AB", "BA", "BB")
    ]
    assert found["other26"] == "AA"
