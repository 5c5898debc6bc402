"""The page of accuracy curves: what it asks, draws and says, and what a chosen point offers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.allocation import SOLVERS
from analysis.demo_studies import DEMOS
from analysis.events import result
from analysis.latency.table_file import read_latency
from analysis.ptq import PTQ_METHODS
from analysis.records import Allocation, Budget, Candidate, Curve, Study
from analysis.steps import Step
from pages.ui import resources, session

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
    assert "predicted against measured" in layouts[1]["title"]["text"]
    text = said(at)
    assert "to size-only compared" in text
    assert "Spearman ρ" in text
    assert "that fewer bits are worse is most of it" in text
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


def test_a_curve_over_latency_asks_for_times_and_takes_their_candidates(study: Study) -> None:
    at = page()
    at.selectbox(key="curve-resource").set_value("latency_ms").run()
    assert not at.exception
    assert any("needs times of the layers" in i.value for i in at.info)
    table = catalog.layer_table(resources.store(), study)
    assert table is not None
    rows = [f"{name},w{b}a8,{0.1 * b:.1f}" for name in table.names for b in (2, 4, 8)]
    text = "\n".join(["layer,candidate,ms", *rows])
    at.file_uploader(key="curve-times-upload").upload("times.csv", text.encode(), "text/csv").run()
    assert at.multiselect(key="curve-timed").value == ["w2a8", "w4a8", "w8a8"]
    at.multiselect(key="curve-timed").set_value(["w4a8", "w8a8"]).run()
    assert "--resource latency_ms" in at.code[0].value
    assert "--candidates w4a8,w8a8" in at.code[0].value
    assert "--latency latency.csv" in at.code[0].value
    made = replace(
        PLAN, resource="latency_ms", latency=read_latency(text, "x"), latency_file="latency.csv"
    )
    found = result(workflow.curve(resources.workspace(), study, made).events(resources.store()))
    assert found.limits[-1] == pytest.approx(0.8 * len(table.names))
    at.run()
    assert not at.exception
    layout = json.loads(at.get("plotly_chart")[0].proto.spec)["layout"]
    assert layout["xaxis"]["title"]["text"] == "latency by the table (ms)"
    assert "Summed time of the layers in ms" in str(at.dataframe[0].proto.columns)


def test_further_budgets_are_kept_at_every_point_and_said(study: Study) -> None:
    at = page()
    offered = at.multiselect(key="curve-fixed").options
    assert "Size, share of w8a8" not in offered
    at.multiselect(key="curve-fixed").set_value(["avg_bits"]).run()
    at.number_input(key="curve-fixed-avg_bits").set_value(6.5).run()
    assert "All of them keep: Average weight bits ≤ 6.5." in said(at)
    assert "--budget avg_bits=6.5" in at.code[0].value
    plan = replace(PLAN, fixed=(Budget(resource="avg_bits", limit=6.5),))
    found = result(workflow.curve(resources.workspace(), study, plan).events(resources.store()))
    assert all(p.costs.avg_weight_bits <= 6.5 for p in found.points)
    at.run()
    assert not at.exception
    assert (
        "avg_bits ≤ 6.5"
        in json.loads(at.get("plotly_chart")[0].proto.spec)["layout"]["title"]["text"]
    )
    assert "Average weight bits ≤ 6.5" in said(at)


def test_every_solver_that_can_be_swept_and_every_method_is_offered(study: Study) -> None:
    at = page()
    solvers = at.multiselect(key="curve-solvers")
    names = [text.split(":")[0] for text in solvers.options]
    assert {"milp", "dp", "greedy", "prefix"} <= set(names) <= set(SOLVERS.names())
    assert "evolution" not in names
    assert "look better than they are" in solvers.help
    methods = at.multiselect(key="curve-methods")
    assert [text.split(":")[0] for text in methods.options] == list(PTQ_METHODS.names())
