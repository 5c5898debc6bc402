"""The bit assignment page: what is said of a solver's answer, and what outlives a tab."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.allocation import allocation_costs
from analysis.allocation_file import allocation_json, uniform_allocation
from analysis.events import result
from analysis.records import (
    Allocation,
    BudgetUse,
    Candidate,
    LayerTable,
    ScoreTable,
    Solution,
    Study,
)
from analysis.sensitivity import METRICS
from pages.equalizer import Start, payload
from pages.ui import drafting, resources
from pages.ui.holding import HELD, Held
from pages.ui.solving import remark

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def page(name: str = "assignment.py") -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    at.switch_page(name).run()
    assert not at.exception
    return at


@pytest.fixture
def table(demo_study: Study) -> LayerTable:
    found = catalog.layer_table(resources.store(), demo_study)
    assert found is not None
    return found


@pytest.fixture
def scores(demo_study: Study) -> ScoreTable:
    step = workflow.score(resources.workspace(), demo_study, "size_only")
    return result(step.events(resources.store()))


def sent(at: AppTest) -> dict:
    proto = at.get("bidi_component")[0].proto
    return json.loads(proto.mixed.json or proto.json)


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def texts(at: AppTest) -> str:
    return "\n".join(each.value for each in at.markdown)


def solve(at: AppTest, solver: str = "milp") -> AppTest:
    at.selectbox(key="solver").set_value(solver).run()
    button(at, "Solve").click().run()
    assert not at.exception
    return at


def solution(table: LayerTable, solver: str, status: str, bound: float | None) -> Solution:
    allocation = uniform_allocation(table, Candidate.parse("w4a8"))
    costs = allocation_costs(table, allocation)
    return Solution(
        allocation=allocation,
        metric="size_only",
        unit="nats",
        solver=solver,
        objective=2.0,
        lower_bound=bound,
        gap=None if bound is None else (2.0 - bound) / 2.0,
        status=status,
        budgets=(),
        costs=costs,
        seconds=0.1,
    )


def test_what_a_solver_notes_stands_on_the_page_until_its_answer_is_edited(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    at = solve(page(), "minmax")
    assert "proven to be the least" in texts(at)
    (budget,) = sent(at)["budgets"]
    assert budget["note"] == f"least largest score certified for {METRICS['size_only'].title}"
    changed = uniform_allocation(table, Candidate.parse("w3a8"))
    at.session_state["draft_of"] = {catalog.study_id(demo_study): changed}
    at.run()
    assert "proven to be the least" not in texts(at)


def test_the_form_closes_over_a_solution_and_stays_open_over_an_error(
    demo_study: Study, scores: ScoreTable
) -> None:
    at = page()
    at.session_state["solve-form"] = True
    solve(at)
    assert at.session_state["solve-form"] is False
    at.session_state["solve-form"] = True
    at.run()
    at.number_input(key="limit-size").set_value(0.05).run()
    button(at, "Solve").click().run()
    (error,) = at.error
    nearest = float(re.search(r"Size, share of w8a8\*\* from ([\d.]+) on", error.value)[1])
    assert at.session_state["solve-form"] is True
    at.number_input(key="limit-size").set_value(nearest).run()
    button(at, "Solve").click().run()
    assert not at.error
    assert at.session_state["solve-form"] is False


def test_only_what_was_minimised_is_called_certified(
    demo_study: Study, table: LayerTable, scores: ScoreTable
) -> None:
    places, columns = scores.values.shape
    paired = replace(scores, interactions=np.ones((places, columns, places, columns)))
    plain, pairs = {scores.metric: scores}, {scores.metric: paired}
    said = [
        remark(solution(table, "milp", "optimal", 2.0), plain),
        remark(solution(table, "milp", "optimal", 2.0), pairs),
        remark(solution(table, "rlt", "optimal", 2.0), pairs),
        remark(solution(table, "minmax", "optimal", None), plain),
        remark(solution(table, "greedy", "feasible", 1.9), plain),
        remark(solution(table, "rlt", "timeout", -3.0), pairs),
        remark(solution(table, "uniform", "feasible", None), plain),
    ]
    by = METRICS["size_only"].title
    assert said == [
        f"optimum certified for {by}",
        f"optimum certified for {by} without interactions",
        f"optimum certified for {by}",
        f"least largest score certified for {by}",
        f"not proven for {by}: at best 1.9 nats",
        f"stopped by its time limit, not proven for {by}: at best -3 nats",
        f"not proven for {by}",
    ]


def test_budgets_have_names_and_units_and_one_that_cannot_be_followed_says_what_was_used(
    table: LayerTable,
) -> None:
    allocation = uniform_allocation(table, Candidate.parse("w4a8"))
    limits = {"size": 0.6, "size_mib": 0.05, "avg_bits": 4.5, "latency_ms": 3.0}
    uses = [BudgetUse(resource=name, limit=limit, used=2.5) for name, limit in limits.items()]
    data = payload(table, Start(allocation, (), (), 0), budgets=uses, solved=allocation)
    shown = [f"{budget['title']} ≤ {budget['text']}" for budget in data["budgets"]]
    assert shown == ["size ≤ 0.6", "size ≤ 0.05 MiB", "average bits ≤ 4.5", "time ≤ 3 ms"]
    time = data["budgets"][-1]
    assert (time["rows"], time["used"], time["limit"]) == (None, 2.5, 3.0)
    assert data["solved"]["weights"] == data["start"]["weights"]


def test_the_last_solution_belongs_to_its_study(demo_study: Study, scores: ScoreTable) -> None:
    at = solve(page())
    own = catalog.study_id(demo_study)
    answers = at.session_state["solutions"]
    assert list(answers) == [own]
    assert sent(at)["solved"] is not None
    at.session_state["solutions"] = {"another study": answers[own]}
    at.run()
    assert not at.exception
    assert sent(at)["solved"] is None
    assert sent(at)["budgets"] == []


def test_pins_and_ties_outlive_a_tab_as_the_draft_does(
    demo_study: Study, table: LayerTable
) -> None:
    names = table.names
    held = Held(pins=(names[2],), ties=((names[3], names[4]),))
    resources.store().put_part(catalog.study_id(demo_study), HELD, held)
    start = sent(page())["start"]
    assert start["pins"] == [2]
    assert start["ties"] == [[3, 4]]


def test_without_anything_kept_first_and_last_layer_are_pinned(
    demo_study: Study, table: LayerTable
) -> None:
    start = sent(page())["start"]
    assert start["pins"] == [0, len(table.names) - 1]
    assert start["ties"] == []


def test_a_configuration_that_is_loaded_respects_ties(demo_study: Study, table: LayerTable) -> None:
    names = table.names
    candidates = [Candidate.parse("w8a8")] * len(names)
    candidates[3] = Candidate.parse("w4a8")
    recipe = workflow.Recipe(Allocation(layers=names, candidates=tuple(candidates)))
    step = workflow.quantize(resources.workspace(), demo_study, recipe, name="one at four")
    result(step.events(resources.store()))
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    at.session_state["ties_of"] = {catalog.study_id(demo_study): ((names[3], names[6]),)}
    at.switch_page("comparison.py").run()
    at.button(key="load-draft").click().run()
    assert not at.exception
    taken = at.session_state["draft_of"][catalog.study_id(demo_study)].candidates
    assert taken[3] == taken[6] == Candidate.parse("w4a8")
    assert drafting.SETTLED in [toast.value for toast in at.toast]


def test_a_pasted_allocation_says_that_it_changed_pinned_layers(
    demo_study: Study, table: LayerTable
) -> None:
    at = page()
    at.session_state["bits-json"] = True
    at.run()
    every = Allocation(layers=table.names, candidates=(Candidate.parse("w4a8"),) * len(table.names))
    at.text_area[0].set_value(allocation_json(every, study="x"))
    button(at, "Use this allocation").click().run()
    assert not at.exception
    assert any("2 pinned layers have other formats" in toast.value for toast in at.toast)
    again = uniform_allocation(table, Candidate.parse("w3a8"))
    kept = Allocation(
        layers=table.names,
        candidates=(every.candidates[0], *again.candidates[1:-1], every.candidates[-1]),
    )
    at.text_area[0].set_value(allocation_json(kept, study="x"))
    button(at, "Use this allocation").click().run()
    assert not any("pinned layer" in toast.value for toast in at.toast)


def test_a_name_is_no_longer_than_a_page_can_show(demo_study: Study) -> None:
    assert page().text_input(key="save-as-name").proto.max_chars == 80


def test_without_scores_nothing_is_called_predicted(demo_study: Study) -> None:
    assert "comes from scores" not in texts(page())
