"""Pins on the command line of ``pareto`` and ``curve``, and in the workflow behind them."""

import shlex

import pytest

from analysis import workflow
from analysis.cli.session import Session
from analysis.records import Budget, Candidate
from tests.analysis.cli_studies import say

METRIC = ("--metric", "layer_mse", "--candidates", "w2a8,w4a8,w8a8")
FREE = (*METRIC, "--release-first-last")
PINS = {"3": Candidate.parse("w4a8"), "0": Candidate.parse("w5a8")}


def test_every_point_of_a_front_keeps_the_pins_and_what_is_not_scored_is_said(lab):
    words = ("pareto", *FREE, "--points", "4", "--pin", "3=w4a8", "--pin", "0=w5a8")
    found = lab.json(*words)
    assert {p["allocation"]["3"] for p in found["points"]} == {"w4a8"}
    assert {p["allocation"]["0"] for p in found["points"]} == {"w5a8"}
    assert len({p["allocation"]["7"] for p in found["points"]}) > 1
    note = "`0` is pinned to w5a8, which has no score: it counts 0."
    assert note in found["points"][0]["notes"]
    assert lab(*words).out.count(note) == 1


def test_every_series_of_a_curve_keeps_the_pins_and_is_predicted(lab):
    words = ("curve", *FREE, "--points", "3", "--random", "3")
    pins = ("--pin", "3=w4a8", "--pin", "0=w5a8")
    found = lab.json(*words, *pins)
    assert {p["kind"] for p in found["points"]} == {"metric", "size_only", "uniform", "random"}
    for point in found["points"]:
        assert (point["allocation"]["3"], point["allocation"]["0"]) == ("w4a8", "w5a8")
        assert point["predicted"]["layer_mse"] is not None
    assert found["pins"] == {"3": "w4a8", "0": "w5a8"}
    assert found["ties"] == []
    text = lab(*words, *pins).out
    assert "In every allocation: `3` pinned to w4a8; `0` pinned to w5a8; first and last" in text


def test_a_pin_overrules_that_first_and_last_are_held(lab):
    found = lab.json("pareto", *METRIC, "--points", "2", "--pin", "7=w2a8")
    assert [p["allocation"]["7"] for p in found["points"]] == ["w2a8", "w2a8"]
    assert [p["allocation"]["0"] for p in found["points"]] == ["w8a8", "w8a8"]


@pytest.mark.parametrize("step", ["pareto", "curve"])
def test_a_pin_of_an_unknown_layer_is_an_error(lab, step):
    said = lab(step, *METRIC, "--points", "2", "--pin", "conv9=w8a8")
    assert said.status == 1
    assert "no layer `conv9`" in said.err


def test_a_resource_that_hardly_varies_has_fewer_limits_and_that_is_said(lab):
    said = lab("pareto", *METRIC, "--points", "4", "--resource", "act")
    assert "There is 1 limit instead of 4" in said.out
    measured = lab("curve", *METRIC, "--points", "3", "--random", "0", "--resource", "act")
    assert "There is 1 limit instead of 3" in measured.out


def test_commands_with_pins_make_the_same_keys_and_others_keep_theirs(
    lab, workspace, study, monkeypatch
):
    class EnoughError(Exception):
        pass

    keys = []

    def remember(self, step):
        keys.append(step.key)
        raise EnoughError

    monkeypatch.setattr(Session, "run", remember)
    scores = workflow.score(workspace, study, "layer_mse")

    def steps(pins):
        plan = workflow.CurvePlan(metrics=("layer_mse",), pins=pins)
        return [
            workflow.pareto(workspace, study, scores, "size", pins=pins),
            workflow.curve(workspace, study, plan),
        ]

    for pins in ({}, PINS):
        for step in steps(pins):
            assert ("pins" in step.options) == ("--pin 3=w4a8" in step.command) == bool(pins)
            with pytest.raises(EnoughError):
                say(*shlex.split(step.command)[3:], *lab.store)
    made = [step.key for pins in ({}, PINS) for step in steps(pins)]
    assert keys == made
    assert len(set(made)) == 4


def test_two_budgets_of_one_resource_never_reach_a_key(workspace, study):
    scores = workflow.score(workspace, study, "layer_mse")
    both = [Budget(resource="size", limit=limit) for limit in (0.5, 0.6)]
    for make in (
        lambda: workflow.allocate(workspace, study, scores, both, "milp"),
        lambda: workflow.pareto(workspace, study, scores, "bops", fixed=both),
        lambda: workflow.CurvePlan(metrics=("layer_mse",), resource="bops", fixed=tuple(both)),
    ):
        with pytest.raises(Exception, match=r"one budget, got size=0\.5, size=0\.6"):
            make()
