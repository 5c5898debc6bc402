"""What single choices of a method are worth: the plan, the stored step, the command line."""

import json
import shlex
from dataclasses import dataclass

import numpy as np
import pytest

from analysis import catalog, workflow
from analysis.allocation_file import uniform_allocation
from analysis.errors import OptionError, QuantizationError, UnknownNameError
from analysis.events import Progress, Started, result
from analysis.options import Options, build, describe, option
from analysis.ptq import PTQ_METHODS
from analysis.ptq.importance import importance
from analysis.records import Ablation, Candidate
from analysis.steps import StoredParts
from analysis.workflow.ablation_words import setting, variant_text, verdict
from cache.codec import decode, encode
from tests.analysis.cli_studies import say

STEPS = 6
FEW = ("--release-first-last", "--allocation", "uniform:w3a8")


@dataclass(frozen=True, slots=True)
class Made(Options):
    """An options record with a choice, a switch of every kind, and lengths."""

    kind: str = option("a", choices=("a", "b", "c"), help="A choice.")
    rate: float = option(0.5, low=0, high=1, help="A number that may be 0.")
    weight: float = option(0.0, low=0, high=0.5, help="One that is.")
    flag: bool = option(True, help="A flag.")
    above: float = option(1.0, low=0.1, high=2, help="A number that may not be 0.")
    steps: int = option(5, low=0, high=10, help="A length.")


@dataclass(frozen=True, slots=True)
class Bound(Options):
    """An options record whose second number may not be 0, though its range says so."""

    low: float = option(0.5, low=0, high=1, help="May be 0.")
    high: float = option(0.5, low=0, high=1, help="May not, whatever the other is.")

    def check(self) -> None:
        if not self.high:
            raise OptionError("`high` must be above 0.")


def recipe_of(workspace, study, **options: object) -> workflow.Recipe:
    table = workspace.live(study).network.table
    allocation = uniform_allocation(table, Candidate.parse("w3a8"), pin_first_last=False)
    kind = PTQ_METHODS["eptq"].options
    chosen = build(kind, {"steps": STEPS, "batch_size": 4} | options)
    return workflow.Recipe(allocation, "eptq", chosen)


@pytest.fixture
def plan(workspace, study) -> workflow.AblationPlan:
    return workflow.AblationPlan(
        recipe_of(workspace, study), ("rounding_rate=0", "optimizer=radam"), seeds=2
    )


def test_every_choice_and_every_switch_is_a_variant():
    assert workflow.default_variants(Made()) == (
        "kind=b", "kind=c", "rate=0", "weight=0.5", "flag=false",
    )  # fmt: skip
    assert "weight=0" in workflow.default_variants(Made(weight=0.3))


def test_the_variants_of_eptq_are_those_of_its_options():
    kind = PTQ_METHODS["eptq"].options
    found = {text.partition("=")[0] for text in workflow.default_variants(kind())}
    rates = {spec.name for spec in describe(kind) if spec.name.endswith("_rate")}
    assert rates | {"weighting", "activations", "optimizer", "logits"} <= found
    assert not found & {"steps", "seed", "batch_size", "memory_mib"}


def test_a_loss_that_is_the_only_one_is_switched_off_where_another_is_switched_on():
    kind = PTQ_METHODS["eptq"].options
    usual = workflow.default_variants(kind())
    assert "reconstruction=0:logits=1" in usual
    assert "logits=1" in usual
    assert "reconstruction=0" not in usual
    by_logits = kind(reconstruction=0.0, logits=2.0)
    assert "reconstruction=1:logits=0" in workflow.default_variants(by_logits)
    both = workflow.default_variants(kind(logits=2.0))
    assert {"reconstruction=0", "logits=0"} <= set(both)


def test_a_change_that_nothing_lets_be_is_no_variant():
    assert workflow.default_variants(Bound()) == ("low=0",)


def test_variants_have_one_spelling_and_change_something(workspace, study):
    recipe = recipe_of(workspace, study)
    given = (" rounding_rate = 0.0 : weighting=none", "optimizer=radam", "scale_rate=0")
    plan = workflow.AblationPlan(recipe, given)
    assert plan.variants == ("scale_rate=0", "optimizer=radam", "weighting=none:rounding_rate=0")
    assert plan.changes(plan.variants[2]) == {"weighting": "none", "rounding_rate": 0.0}
    for wrong in ("optimizer=adam", "seed=3", "optimizer", "rounding_rate=-1"):
        with pytest.raises(OptionError):
            workflow.AblationPlan(recipe, (wrong,))
    with pytest.raises(UnknownNameError):
        workflow.AblationPlan(recipe, ("optimiser=radam",))
    with pytest.raises(OptionError, match="differ from each other"):
        workflow.AblationPlan(recipe, ("optimizer=radam", "optimizer = radam"))
    plain = workflow.Recipe(recipe.allocation)
    with pytest.raises(OptionError, match="has none"):
        workflow.AblationPlan(plain)
    bias = workflow.Recipe(recipe.allocation, "bias_correction")
    with pytest.raises(OptionError, match="on several where the method has one"):
        workflow.AblationPlan(bias, seeds=2)


def test_recipes_differ_from_the_base_in_the_change_and_the_seed(workspace, study):
    plan = workflow.AblationPlan(recipe_of(workspace, study, seed=4), ("weighting=none",), seeds=2)
    assert plan.seed_numbers == (4, 5)
    base = [r.chosen for r in plan.recipes()]
    changed = [r.chosen for r in plan.recipes("weighting=none")]
    assert [o.seed for o in base] == [o.seed for o in changed] == [4, 5]
    assert {o.weighting for o in changed} == {"none"}
    assert base[0] == plan.recipe.chosen


def test_variants_are_measured_against_the_base_on_the_same_seeds(workspace, study, plan):
    found = result(workflow.ablation(workspace, study, plan).events(workspace.store))
    again = decode(Ablation, *encode(found))
    assert again.variants[2].changes == found.variants[2].changes == {"optimizer": "radam"}
    base, *variants = found.variants
    assert base.effect is None
    assert base.changes == {}
    assert len(variants) == 2
    assert found.seeds == (0, 1)
    for place, variant in enumerate(variants):
        for at, recipe in enumerate(plan.recipes(plan.variants[place])):
            made = workflow.quantize(workspace, study, recipe).stored(workspace.store)
            trained = workflow.training(workspace, study, recipe).stored(workspace.store)
            assert made.measured.top1 == variant.top1[at]
            assert made.measured.kl == variant.kl[at]
            assert trained.seconds == variant.seconds[at]
        assert variant.effect.by_seed == pytest.approx(variant.top1 - base.top1)
        assert variant.effect.low <= variant.effect.difference <= variant.effect.high
    assert "seeds 0, 1" in setting(found)
    assert "30 evaluation samples" in setting(found)
    assert f"{found.variants[0].top1.mean():.2%}".replace("%", " %") in verdict(found)[0]
    assert not catalog.configurations(workspace.store, study)


def test_a_finished_training_is_not_repeated_and_an_interrupted_table_goes_on(
    workspace, study, plan
):
    step = workflow.ablation(workspace, study, plan)
    events = step.events(workspace.store)
    seen = []
    for event in events:
        if isinstance(event, Progress):
            seen.append(event.done / event.total)
            if event.message.startswith(plan.variants[1]):
                events.close()
                break
    assert seen == sorted(seen)
    assert any(3 / 7 < share < 3.9 / 7 for share in seen)  # within the third training of six
    partial = workflow.ablation_so_far(workspace, step)
    assert not partial.complete
    assert [v.changes for v in partial.variants] == [{}, {"rounding_rate": 0.0}]
    assert "unfinished" in verdict(partial)[-1]
    cost = workflow.ablation_cost(workspace, study, plan)
    assert (cost.runs, cost.left, cost.steps) == (6, 2, STEPS)
    assert cost.seconds > 0
    before = workflow.training(workspace, study, plan.recipes()[0]).stored(workspace.store)
    found = result(step.events(workspace.store))
    assert found.complete
    assert found.variants[0].seconds[0] == before.seconds
    assert workflow.ablation_cost(workspace, study, plan).left == 0
    assert isinstance(next(iter(step.events(workspace.store))), Started)


def test_no_time_is_promised_before_a_training_was_timed(workspace, study, plan):
    assert workflow.ablation_cost(workspace, study, plan).seconds is None


def test_a_saved_training_of_the_method_gives_the_time(workspace, study, plan):
    other = recipe_of(workspace, study, optimizer="radam", steps=3)
    result(workflow.quantize(workspace, study, other, name="mine").events(workspace.store))
    trained = workflow.training(workspace, study, other).stored(workspace.store)
    cost = workflow.ablation_cost(workspace, study, plan)
    assert cost.left == cost.runs == 6
    assert cost.seconds == pytest.approx(6 * STEPS * trained.seconds / 3)


def test_a_variant_that_cannot_be_trained_is_absent_with_its_reason(workspace, study, monkeypatch):
    def short(teacher, weighting, **kept):
        if weighting == "fisher":
            raise QuantizationError("No memory for it.")
        return importance(teacher, weighting, **kept)

    monkeypatch.setattr("analysis.ptq.eptq.importance", short)
    plan = workflow.AblationPlan(
        recipe_of(workspace, study), ("weighting=fisher", "weighting=none")
    )
    found = result(workflow.ablation(workspace, study, plan).events(workspace.store))
    assert [each.changes for each in found.variants] == [{}, {"weighting": "none"}]
    assert found.absent == {"weighting=fisher": "No memory for it."}
    assert any("Not measured: weighting=fisher: No memory" in said for said in verdict(found))


def test_options_that_do_not_go_together_are_refused_before_anything_is_trained(workspace, study):
    recipe = recipe_of(workspace, study)
    with pytest.raises(OptionError, match="both weights are 0"):
        workflow.AblationPlan(recipe, ("reconstruction=0",))


def test_the_time_of_an_interrupted_training_is_that_of_all_its_runs(workspace, study):
    plan = workflow.AblationPlan(recipe_of(workspace, study, steps=8), ("optimizer=radam",))
    step = workflow.training(workspace, study, plan.recipes()[0])
    events = step.events(workspace.store)
    for event in events:
        if isinstance(event, Progress) and event.total == 8 and event.done > 4:
            events.close()
            break
    parts = StoredParts(workspace.store, step.key)
    so_far = float(parts.load("clock")["seconds"])
    assert so_far > 0
    parts.save("clock", {"seconds": np.array(so_far + 1000.0)})
    found = result(workflow.ablation(workspace, study, plan).events(workspace.store))
    assert 1000.0 < found.variants[0].seconds[0] < 2000.0
    assert 0 < found.variants[1].seconds[0] < 1000.0


def test_without_labels_the_agreement_with_float_is_compared(workspace, study, plan, lab):
    x = np.load(lab.folder / "evaluation.npz")["x"]
    np.savez(lab.folder / "unlabelled.npz", x=x)
    words = list(lab.study)
    words[words.index("--evaluation") + 1] = f"npz:{lab.folder / 'unlabelled.npz'}"
    said = say("ablation", *words, *lab.store, *FEW, "--json", "--steps", "4",
               "--variant", "optimizer=radam")  # fmt: skip
    assert said.status == 0, said.err
    base, variant = said.json["variants"]
    assert base["top1"] is None
    difference = variant["agreement"] - base["agreement"]
    assert variant["versus_base"]["difference"] == pytest.approx(difference)
    assert "as float" in said.json["verdict"][0]


def test_the_command_measures_the_same_and_says_it(lab):
    out = lab.folder / "ablation.json"
    words = ("ablation", *FEW, "--steps", 4, "--variant", "weighting=none", "--variant",
             "logits=1", "--out", out)  # fmt: skip
    found = lab.json(*words)
    assert [v["name"] for v in found["variants"]] == ["as it is", "weighting none", "logits 1"]
    for variant in found["variants"][1:]:
        effect = variant["versus_base"]
        assert effect["low"] <= effect["difference"] <= effect["high"]
        assert effect["inside_the_noise"] == (effect["low"] <= 0 <= effect["high"])
        assert variant["seconds"][0] > 0
    assert json.loads(out.read_text())["method"] == "eptq"
    text = lab(*words)
    assert text.status == 0
    assert "inside the noise" in text.out
    assert "KL (nats)" in text.out
    assert lab.json(*words)["cached"]


def test_the_equal_command_line_is_read_back(workspace, study, plan, lab):
    words = shlex.split(workflow.ablation(workspace, study, plan).command)[3:]
    said = say(*words, *lab.store, "--json", "--allocation", "uniform:w3a8")
    assert said.status == 0, said.err
    assert said.json["seeds"] == [0, 1]
    assert [v["changes"] for v in said.json["variants"][1:]] == [
        {"rounding_rate": 0.0}, {"optimizer": "radam"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--variant", "optimizer=sgd"), "sgd"),
        (("--variant", "optimizer=adam"), "must change an option"),
        (("--method", "nearest"), "has none"),
    ],
)
def test_a_variant_that_is_none_is_wrong_usage(lab, words, part):
    said = lab("ablation", *FEW, *words)
    assert said.status == 2
    assert part in said.err


def test_what_is_switched_off_is_said():
    assert variant_text({"rounding_rate": 0.0, "weighting": "none"}) == (
        "rounding rate 0 (off), weighting none"
    )


def test_quantize_says_what_the_method_changed(lab):
    words = ("quantize", *FEW, "--method", "gptq")
    assert lab.json(*words)["recovery"] is None
    found = lab.json(*words, "--recovery")["recovery"]
    assert [layer["name"] for layer in found["layers"]] == ["0", "3", "7"]
    assert found["protocol"] == "accumulated"
    assert found["n"] == 12
    assert 0 < found["moved"] < 1
    for layer in found["layers"]:
        gain = 10 * np.log10(layer["error_nearest"] / layer["error"])
        assert layer["gain_db"] == pytest.approx(gain)
    text = lab(*words, "--recovery")
    assert "accumulated" in text.out
    assert "weights moved" in text.out
    plain = lab("quantize", *FEW, "--recovery")
    assert "nothing to compare" in plain.out
