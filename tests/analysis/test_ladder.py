"""Methods beside each other: the plan, the stored step, the command line."""

import json
import shlex

import pytest

from analysis import catalog, workflow
from analysis.allocation_file import uniform_allocation
from analysis.errors import OptionError, QuantizationError, UnknownNameError
from analysis.events import Progress, Started, result
from analysis.records import Candidate, Ladder
from analysis.workflow.ladder_words import verdict
from cache.codec import decode, encode
from tests.analysis.cli_studies import say

EPTQ = "eptq:steps=6:batch_size=4"
METHODS = ("nearest", "nearest@min_max", EPTQ)


def uniform(workspace, study, text: str):
    table = workspace.live(study).network.table
    return uniform_allocation(table, Candidate.parse(text), pin_first_last=False)


@pytest.fixture
def plan(workspace, study) -> workflow.LadderPlan:
    allocations = {text: uniform(workspace, study, text) for text in ("w8a8", "w3a8")}
    return workflow.LadderPlan(allocations, METHODS, seeds=2)


def measured(workspace, study, plan) -> Ladder:
    return result(workflow.ladder(workspace, study, plan, {}).events(workspace.store))


def test_methods_have_one_spelling_and_a_reference(workspace, study):
    allocations = {"w3a8": uniform(workspace, study, "w3a8")}
    plan = workflow.LadderPlan(allocations, (" gptq : act_order = true", "nearest@hmse"))
    assert plan.methods == ("gptq:act_order=true", "nearest@hmse")
    assert plan.reference == "nearest@hmse"
    assert plan.ordered == ("nearest@hmse", "gptq:act_order=true")
    behind = workflow.LadderPlan(allocations, ("equalization + gptq @ min_max",))
    assert behind.methods == ("equalization+gptq@min_max",)
    (recipe,) = behind.recipes("w3a8", behind.reference)
    assert (recipe.recalibrations, recipe.method) == (("equalization",), "gptq")
    (recipe,) = plan.recipes("w3a8", "nearest@hmse")
    assert recipe.settings.weight_range == "hmse"
    for wrong, why in (
        (("nearest", "nearest"), "differ"),
        ((), "no method"),
        (("eptq:seed=3",), "leave it out"),
    ):
        with pytest.raises(OptionError, match=why):
            workflow.LadderPlan(allocations, wrong)
    with pytest.raises(OptionError, match="one of the methods"):
        workflow.LadderPlan(allocations, ("nearest",), "gptq")
    with pytest.raises(OptionError, match="at least one seed"):
        workflow.LadderPlan(allocations, ("nearest",), seeds=0)
    for unknown in ("nearest@huge", "farthest"):
        with pytest.raises(UnknownNameError):
            workflow.LadderPlan(allocations, (unknown,))


def test_methods_that_draw_run_on_every_seed_and_others_once(plan):
    assert [r.chosen.seed for r in plan.recipes("w3a8", plan.reference)] == [0, 1]
    assert len(plan.recipes("w3a8", "nearest")) == 1


def test_everything_is_measured_beside_float_and_the_reference(workspace, study, plan):
    found = measured(workspace, study, plan)
    assert decode(Ladder, *encode(found)).rungs[3].method == "nearest"
    assert [(r.allocation, r.method) for r in found.rungs] == [
        (label, method) for label in ("w8a8", "w3a8") for method in plan.methods
    ]
    by = {(r.allocation, r.method): r for r in found.rungs}
    for (label, method), rung in by.items():
        recipes = plan.recipes(label, method)
        made = [workflow.quantize(workspace, study, r).stored(workspace.store) for r in recipes]
        assert rung.top1.tolist() == [each.measured.top1 for each in made]
        assert rung.kl.tolist() == [each.measured.kl for each in made]
        assert rung.versus_float.difference == pytest.approx(rung.top1.mean() - found.float_top1)
        reference = by[label, plan.reference]
        if rung is reference:
            assert rung.versus_reference is None
        else:
            difference = rung.versus_reference.difference
            assert difference == pytest.approx(rung.top1.mean() - reference.top1.mean())
    assert by["w3a8", EPTQ].top1.shape == (2,)
    assert by["w3a8", "nearest"].top1.shape == (1,)
    assert not catalog.configurations(workspace.store, study)
    assert any(f"beside `{EPTQ}`" in said for said in verdict(found))


def test_what_was_measured_is_not_measured_again(workspace, study, plan):
    recipe = plan.recipes("w8a8", plan.reference)[1]
    before = result(workflow.training(workspace, study, recipe).events(workspace.store))
    found = measured(workspace, study, plan)
    assert found.rungs[2].seconds[1] == before.seconds
    events = list(workflow.ladder(workspace, study, plan, {}).events(workspace.store))
    assert [e.cached for e in events if isinstance(e, Started)] == [True]


def test_progress_never_goes_back(workspace, study, plan):
    events = workflow.ladder(workspace, study, plan, {}).events(workspace.store)
    shares = [e.done / e.total for e in events if isinstance(e, Progress)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_what_cannot_be_quantized_is_absent_with_its_reason(workspace, study, plan, monkeypatch):
    def refused(*_, **__):
        raise QuantizationError("No memory for it.")

    monkeypatch.setattr("analysis.ptq.eptq.importance", refused)
    short = workflow.LadderPlan(plan.allocations, ("nearest", "eptq:steps=4"))
    found = measured(workspace, study, short)
    assert len(found.rungs) == 2
    assert all(r.versus_reference is None for r in found.rungs)
    assert found.absent[f"w3a8, {short.methods[1]}"] == "No memory for it."
    assert any(said.startswith("Not measured: w8a8") for said in verdict(found))


def test_options_that_do_not_go_together_are_refused_before_anything_is_measured(plan):
    wrong = "eptq:rounding_rate=0:scale_rate=0:bias_rate=0:step_rate=0"
    with pytest.raises(OptionError, match="At least one learning rate"):
        workflow.LadderPlan(plan.allocations, ("nearest", wrong))


def test_the_command_measures_the_same_and_says_it(lab):
    out = lab.folder / "ladder.json"
    words = ("ladder", "--release-first-last", "--allocation", "uniform:w3a8", "--allocation",
             "uniform:w8a8", "--method", "nearest", "--method", "gptq", "--seeds", 2,
             "--out", out)  # fmt: skip
    found = lab.json(*words)
    assert [(e["allocation"], e["method"]) for e in found["measured"]] == [
        (a, m) for a in ("w3a8", "w8a8") for m in ("nearest", "gptq")
    ]
    assert found["reference"] == "gptq"
    for each in found["measured"]:
        effect = each["versus_reference"]
        assert (effect is None) == (each["method"] == "gptq")
        if effect is not None:
            assert effect["inside_the_noise"] == (effect["low"] <= 0 <= effect["high"])
    assert json.loads(out.read_text())["reference"] == "gptq"
    text = lab(*words)
    assert text.status == 0
    assert "the reference" in text.out
    assert "points to float" in text.out


def test_allocations_of_one_name_are_told_apart(lab):
    words = ("ladder", "--release-first-last", "--method", "nearest")
    for folder in ("one", "two"):
        (lab.folder / folder).mkdir()
        lab.json("allocate", "--metric", "size_only", "--budget", "avg_bits=5", "--out",
                 lab.folder / folder / "mine.json")  # fmt: skip
        words += ("--allocation", lab.folder / folder / "mine.json")
    found = lab.json(*words)
    assert list(found["allocations"]) == ["mine", str(lab.folder / "two" / "mine.json")]


def test_the_equal_command_line_is_read_back(workspace, study, lab):
    allocations = {"w3a8": uniform(workspace, study, "w3a8")}
    plan = workflow.LadderPlan(allocations, ("nearest@hmse", "gptq"), "nearest@hmse")
    flags = {"allocation": ["uniform:w3a8"], "method": list(plan.methods),
             "reference": plan.reference}  # fmt: skip
    words = shlex.split(workflow.ladder(workspace, study, plan, flags).command)[3:]
    said = say(*words, *lab.store, "--json", "--release-first-last")
    assert said.status == 0, said.err
    assert said.json["reference"] == "nearest@hmse"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--method", "farthest"), "farthest"),
        (("--method", "nearest", "--reference", "gptq"), "one of the methods"),
        (("--method", "eptq:seed=2"), "leave it out"),
    ],
)
def test_a_method_that_is_none_is_wrong_usage(lab, words, part):
    said = lab("ladder", "--allocation", "uniform:w3a8", *words)
    assert said.status == 2
    assert part in said.err
