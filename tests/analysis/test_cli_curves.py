"""The steps ``pareto`` and ``curve`` on the command line, and the workflow behind them."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest

from analysis import workflow
from analysis.catalog import configurations
from analysis.cli.session import Session
from analysis.events import Finished, Note, Progress, result
from analysis.records import Budget, Configuration, QuantSettings, StudySpec
from analysis.records.curve import METRIC, RANDOM, SIZE_ONLY
from tests.analysis.cli_studies import MODEL, say

FEW = ("--candidates", "w2a8,w4a8,w8a8", "--release-first-last")


PLAN = workflow.CurvePlan(
    metrics=("layer_mse",),
    points=3,
    random=3,
    settings=QuantSettings(pin_first_last=False),
)


def test_pareto_lists_allocations_with_costs_objective_and_gap(lab):
    found = lab.json("pareto", "--metric", "layer_mse", "--points", "4", *FEW)
    assert len(found["points"]) == 4
    limits = [p["limit"] for p in found["points"]]
    assert limits == sorted(limits)
    for point in found["points"]:
        assert point["status"] == "optimal"
        assert point["gap"] == pytest.approx(0, abs=1e-9)
        assert point["used"] <= point["limit"]
        assert set(point["allocation"].values()) <= {"w2a8", "w4a8", "w8a8"}
    assert found["points"][0]["objective"] > found["points"][-1]["objective"]
    again = lab.json("pareto", "--metric", "layer_mse", "--points", "4", *FEW)
    assert again["cached"]


def test_pareto_says_limits_that_cannot_be_met(lab, monkeypatch):
    monkeypatch.setattr("analysis.workflow.sweeping.even_limits", lambda *words: (0.01, 1.0))
    found = lab.json("pareto", "--metric", "layer_mse", *FEW)
    assert [p["status"] for p in found["points"]] == ["infeasible", "optimal"]
    assert "must be at least" in found["points"][0]["reason"]
    text = lab("pareto", "--metric", "layer_mse", *FEW)
    assert "size 0.01: No allocation meets" in text.out
    assert "1 of 2 points on the front" in text.out


def test_curve_measures_metrics_and_every_baseline(lab):
    out = lab.folder / "curve.json"
    words = ("curve", "--metric", "layer_mse", "--points", "3", "--random", "2", *FEW)
    found = lab.json(*words, "--out", out)
    kinds = {p["kind"] for p in found["points"]}
    assert kinds == {"metric", "size_only", "uniform", "random"}
    ours = [p for p in found["points"] if p["kind"] == "metric"]
    assert [p["limit"] for p in ours] == found["limits"]
    for point in found["points"]:
        measured = point["measured"]
        assert measured["n"] == 30
        assert measured["low"] <= measured["top1"] <= measured["high"]
        assert point["used"] <= point["limit"]
        assert point["predicted"]["layer_mse"] is not None
    assert all(p["versus_size_only"] for p in ours)
    assert found["verdict"]
    assert json.loads(out.read_text())["resource"] == "size"
    text = lab(*words)
    assert text.status == 0
    assert "against size-only, paired" in text.out
    assert "layer_mse ranks the measured KL with Spearman" in text.out


def test_latency_is_swept_by_the_times_of_a_table(lab):
    times = {"0": (1, 2, 4), "3": (2, 3, 9), "7": (1, 1, 1)}
    rows = [
        f"{layer},w{bits}a8,{ms}"
        for layer, own in times.items()
        for bits, ms in zip((2, 4, 8), own, strict=True)
    ]
    path = lab.folder / "times.csv"
    path.write_text("\n".join(("layer,candidate,ms", *rows)))
    words = ("--metric", "layer_mse", "--resource", "latency_ms", "--points", "3", *FEW)
    found = lab.json("pareto", *words, "--latency", path)
    assert [p["limit"] for p in found["points"]] == [4.0, 9.0, 14.0]
    assert [p["used"] for p in found["points"]][::2] == [4.0, 14.0]
    made = lab.json("curve", *words, "--latency", path, "--random", "1")
    assert made["limits"] == [4.0, 9.0, 14.0]
    assert all(p["used"] == p["costs"]["latency_ms"] for p in made["points"])
    refused = lab("pareto", *words)
    assert refused.status == 1
    assert "must come with a latency table" in refused.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("curve", "--metric", "layer_mso"), "did you mean `layer_mse`"),
        (("curve", "--metric", "size_only"), "at least one metric besides"),
        (("curve", "--metric", "layer_mse", "--points", "1"), "at least 2"),
        (("curve", "--metric", "layer_mse", "--solver", "mlip"), "did you mean `milp`"),
        (("pareto", "--metric", "layer_mse", "--resource", "sise"), "did you mean `size`"),
        (("pareto", "--metric", "layer_mse", "--budget", "size=1"), "must have no other limit"),
        (("pareto", "--metric", "layer_mse", "--budget", "bops=0.001"), "must be at least"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_one_line(lab, words, hint):
    said = lab(*words)
    assert said.status in (1, 2, 3)
    assert hint in said.err
    assert "Traceback" not in said.err


def test_a_curve_stopped_in_the_middle_goes_on_where_it_stopped(workspace, study, monkeypatch):
    monkeypatch.setattr("analysis.workflow.curves._SAVE_EVERY", 2)
    step = workflow.curve(workspace, study, PLAN)
    events = step.events(workspace.store)
    for event in events:
        if isinstance(event, Progress) and event.message.startswith("5 of"):
            events.close()
            break
    so_far = workflow.curve_so_far(workspace, step)
    assert so_far is not None
    assert not so_far.complete
    assert len(so_far.points) == 4
    kept = [workspace.store.contains(p.configuration) for p in so_far.points]
    assert kept == [True] * 4
    whole = result(step.events(workspace.store))
    assert whole.complete
    assert [p.configuration for p in whole.points[:4]] == [p.configuration for p in so_far.points]
    assert workflow.curve_so_far(workspace, step) is None


def test_a_curve_measures_each_allocation_once_and_holds_what_was_measured(workspace, study):
    made, last = None, -1
    for event in workflow.curve(workspace, study, PLAN).events(workspace.store):
        if isinstance(event, Progress):
            assert event.done >= last  # progress never goes back
            last = event.done
        elif isinstance(event, Finished):
            made = event.result
    assert made is not None
    keys = {p.configuration for p in made.points}
    stored = [e for e in workspace.store.entries() if e.step == "quantize"]
    assert {e.key for e in stored} == keys
    assert len(keys) < len(made.points)
    assert configurations(workspace.store, study) == {}  # dozens would bury what a person named
    assert made.of_kind(RANDOM)
    for point in made.points:
        own = workspace.store.get(point.configuration, Configuration)
        assert own is not None
        assert own.allocation == point.allocation
        assert own.costs == point.costs
        assert own.measured.top1 == point.measured.top1
        assert point.used == pytest.approx(point.costs.size_ratio)
        assert point.used <= made.limits[point.place]


def test_a_metric_that_cannot_be_computed_is_absent_with_its_reason(lab, workspace):
    np.savez(
        lab.folder / "calibration.npz",
        x=np.random.default_rng(5).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8),
    )
    spec = StudySpec(
        model=MODEL,
        calibration=f"npz:{lab.folder / 'calibration.npz'}",
        evaluation=f"npz:{lab.folder / 'evaluation.npz'}",
        normalize="none",
    )
    unlabelled = result(workflow.opening(workspace, spec))
    plan = replace(PLAN, metrics=("fisher_output", "layer_mse"), random=0)
    notes, made = [], None
    for event in workflow.curve(workspace, unlabelled, plan).events(workspace.store):
        if isinstance(event, Note):
            notes.append(event.text)
        elif isinstance(event, Finished):
            made = event.result
    assert made is not None
    assert made.metrics == ("layer_mse",)
    assert [(a.place, "labels" in a.reason) for a in made.absent] == [(-1, True)]
    assert any("`fisher_output` is left out" in note for note in notes)


def test_fixed_budgets_hold_for_every_point_and_what_breaks_them_is_absent(workspace, study):
    plan = replace(PLAN, fixed=(Budget(resource="avg_bits", limit=5.0),), resource="bops")
    made = result(workflow.curve(workspace, study, plan).events(workspace.store))
    assert all(p.costs.avg_weight_bits <= 5.0 for p in made.points)
    assert any("w8a8 does not fit avg_bits=5" in a.reason for a in made.absent)
    kinds = [made.series[p.series].kind for p in made.points]
    assert kinds.count(METRIC) == kinds.count(SIZE_ONLY) == len(made.limits)


def test_commands_make_the_same_keys(lab, workspace, study, monkeypatch):
    class EnoughError(Exception):
        pass

    keys = []

    def remember(self, step):
        keys.append(step.key)
        raise EnoughError

    monkeypatch.setattr(Session, "run", remember)
    plan = replace(
        PLAN,
        resource="bops",
        fixed=(Budget(resource="size", limit=0.75),),
        methods=("nearest", "bias_correction"),
        solvers=("milp",),
        random=0,
        seed=3,
    )
    scores = workflow.score(workspace, study, "layer_mse")
    steps = [
        workflow.curve(workspace, study, plan),
        workflow.pareto(
            workspace,
            study,
            scores,
            "bops",
            points=7,
            fixed=[Budget(resource="size", limit=0.5)],
            pin_first_last=False,
        ),
    ]
    for step in steps:
        with pytest.raises(EnoughError):
            say(*shlex.split(step.command)[3:], *lab.store)
    assert keys == [step.key for step in steps]


def test_solvers_that_know_the_whole_curve_and_methods_are_compared_side_by_side(lab):
    words = ("--metric", "layer_mse", "--points", "3", "--random", "1", *FEW)
    ways = [w for s in ("milp", "dp", "prefix") for w in ("--solver", s)]
    methods = ("--method", "nearest", "--method", "bias_correction")
    found = lab.json("curve", *words, *ways, *methods)
    predicted = {
        (p["solver"], p["method"]): p["predicted"]["layer_mse"]
        for p in found["points"]
        if p["kind"] == "metric" and p["limit"] == found["limits"][1]
    }
    assert len(predicted) == 6
    assert predicted["dp", "nearest"] == pytest.approx(predicted["milp", "nearest"])
    assert predicted["prefix", "nearest"] >= predicted["milp", "nearest"] - 1e-12
    statuses = {p["solver"]: p["status"] for p in found["points"] if p["solver"]}
    assert statuses == {"milp": "optimal", "dp": "optimal", "prefix": "feasible"}
    assert not found["absent"]
    assert all(found["at_limits"])


def test_what_picks_by_the_evaluation_set_is_refused_with_the_reason(lab):
    said = lab("curve", "--metric", "layer_mse", "--solver", "evolution", *FEW)
    assert said.status == 2
    assert "look better than they are" in said.err


def test_a_solver_of_interactions_is_compared_with_size_alone_through_milp(lab):
    words = ("--metric", "clado", "--points", "3", "--random", "0", *FEW)
    found = lab.json("curve", *words, "--solver", "rlt")
    equal = [p for p in found["points"] if p["kind"] == "size_only"]
    assert {p["solver"] for p in equal} == {"milp"}
    assert [p["limit"] for p in equal] == found["limits"]
    ours = [p for p in found["points"] if p["kind"] == "metric"]
    assert {p["solver"] for p in ours} == {"rlt"}
    assert all(p["versus_size_only"] for p in ours)
    assert not found["absent"]


def test_size_only_through_milp_is_measured_once_for_all_solvers_that_share_it():
    plan = workflow.CurvePlan(metrics=("clado",), solvers=("rlt", "milp", "local", "dp"))
    equal = [s.solver for s in plan.series if s.kind == SIZE_ONLY]
    assert equal == ["milp", "dp"]
    assert ("size_only", "milp") in plan.ways
    assert ("size_only", "rlt") not in plan.ways
