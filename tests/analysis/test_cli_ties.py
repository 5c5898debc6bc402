"""Ties on the command line and in the workflow behind it: allocate, pareto and curve."""

import shlex

import pytest

from analysis import workflow
from analysis.cli.session import Session
from analysis.records import Budget, QuantSettings
from tests.analysis.cli_studies import say

METRIC = ("--metric", "layer_mse", "--candidates", "w2a8,w4a8,w8a8")
FREE = (*METRIC, "--release-first-last")
TIES = (("0", "7"),)


def test_tied_layers_get_one_candidate_and_that_is_said(lab):
    words = ("--budget", "avg_bits=5", *FREE)
    free = lab.json("allocate", *words)
    tied = lab.json("allocate", *words, "--tie", "0,3, 7")
    assert len(set(tied["allocation"].values())) == 1
    assert len(set(free["allocation"].values())) > 1
    assert tied["objective"] > free["objective"]
    assert "Tied, so that they take the same candidate: `0`, `3`, `7`." in tied["notes"]
    baselines = tied["baselines"]
    assert baselines["uniform"]["objectives"] == [tied["objective"]]
    assert not tied["cached"]


def test_a_pinned_layer_holds_the_layers_that_it_is_tied_to(lab):
    words = ("allocate", "--budget", "size=1", *METRIC, "--tie", "3,7")
    assert lab.json(*words)["allocation"] == dict.fromkeys(("0", "3", "7"), "w8a8")
    said = lab(*words, "--pin", "3=w4a8")
    assert said.status == 1
    assert "`3`: w4a8; `7`: w8a8" in said.err


@pytest.mark.parametrize("tie", ["0", "0,", ",", ""])
def test_a_tie_of_fewer_than_two_layers_is_wrong_usage(lab, tie):
    said = lab("allocate", "--budget", "size=1", *FREE, "--tie", tie)
    assert said.status == 2
    assert "A tie must look like `layer1.0.conv1,layer1.0.conv2`" in said.err


@pytest.mark.parametrize(
    ("ties", "text"),
    [(("0,conv9",), "no layer `conv9`"), (("0,3", "3,7"), "got `3` more often")],
)
def test_a_tie_that_does_not_fit_the_network_is_an_error(lab, ties, text):
    words = [word for tie in ties for word in ("--tie", tie)]
    said = lab("allocate", "--budget", "size=1", *FREE, *words)
    assert said.status == 1
    assert text in said.err


def test_every_point_of_a_front_keeps_the_ties(lab):
    found = lab.json("pareto", *FREE, "--points", "4", "--tie", "0,7")
    for point in found["points"]:
        assert point["allocation"]["0"] == point["allocation"]["7"]
    assert len({point["allocation"]["3"] for point in found["points"]}) > 1


def test_every_series_of_a_curve_keeps_the_ties(lab):
    words = ("curve", *FREE, "--points", "3", "--random", "3")
    found = lab.json(*words, "--tie", "0,7")
    assert {p["kind"] for p in found["points"]} == {"metric", "size_only", "uniform", "random"}
    for point in found["points"]:
        assert point["allocation"]["0"] == point["allocation"]["7"]


def test_uniform_bits_follow_a_pin_through_a_tie_and_are_predicted(lab):
    few = ("--metric", "layer_mse", "--candidates", "w2a8,w4a8", "--points", "2", "--random", "0")
    found = lab.json("curve", *few, "--tie", "3,7")
    uniform = [p for p in found["points"] if p["kind"] == "uniform"]
    assert uniform
    for point in found["points"]:
        assert set(point["allocation"].values()) == {"w8a8"}
        assert point["predicted"] == {"layer_mse": 0.0}


def test_commands_with_ties_make_the_same_keys_and_others_keep_theirs(
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
    budgets = [Budget(resource="size", limit=0.75)]
    free = QuantSettings(pin_first_last=False)

    def steps(ties):
        plan = workflow.CurvePlan(metrics=("layer_mse",), settings=free, ties=ties)
        return [
            workflow.allocate(workspace, study, scores, budgets, "milp", ties=ties),
            workflow.pareto(workspace, study, scores, "size", ties=ties),
            workflow.curve(workspace, study, plan),
        ]

    for ties in ((), TIES):
        for step in steps(ties):
            assert ("ties" in step.options) == ("--tie 0,7" in step.command) == bool(ties)
            with pytest.raises(EnoughError):
                say(*shlex.split(step.command)[3:], *lab.store)
    made = [step.key for ties in ((), TIES) for step in steps(ties)]
    assert keys == made
    assert len(set(made)) == 6
    turned = [step.key for step in steps((("7", "0"),))]
    assert turned == made[3:]
