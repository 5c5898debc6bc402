from dataclasses import replace
from pathlib import Path

import pytest

from analysis.options import build
from analysis.ptq import PTQ_METHODS
from analysis.recalibration import RECALIBRATIONS
from analysis.records import Allocation, Candidate, QuantSettings
from analysis.steps import Step
from analysis.workflow.naming import default_name, free_name
from analysis.workflow.recipe import Recipe
from cache.store import Store

W4, W8 = Candidate.parse("w4a8"), Candidate.parse("w8a8")


def recipe(*candidates: Candidate, **more: object) -> Recipe:
    names = tuple("abcd"[: len(candidates)])
    return Recipe(Allocation(layers=names, candidates=candidates), **more)


def test_a_recipe_under_its_defaults_is_named_by_allocation_and_method():
    assert default_name(recipe(W8, W4, W4, W8)) == "uniform w4a8, ends w8a8, nearest"


def test_every_setting_and_option_that_was_changed_is_in_the_name():
    settings = QuantSettings(
        scope="layer_input", weight_range="min_max", percentile=99.0, per_channel=False,
        pin_first_last=False,
    )  # fmt: skip
    options = build(PTQ_METHODS["bias_correction"].options, {"estimate": "analytic"})
    made = recipe(
        W4, W4, method="bias_correction", options=options, settings=settings,
        recalibrations=("equalization", "absorption:padding=mean"),
    )  # fmt: skip
    assert default_name(made) == (
        "uniform w4a8, per tensor, scope layer_input, weights min_max, percentile 99, "
        "equalization + absorption:padding=mean + bias_correction:estimate=analytic"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"scope": "layer_input"},
        {"weight_range": "min_max"},
        {"activation_range": "entropy"},
        {"percentile": 99.0},
        {"per_channel": False},
        {"pin_first_last": False},
    ],
)
def test_recipes_of_other_settings_have_other_names_where_their_keys_differ(changed):
    plain = recipe(W8, W4, W8)
    other = replace(plain, settings=replace(QuantSettings(), **changed))
    assert plain.key != other.key
    assert default_name(plain) != default_name(other)


def test_a_recalibration_that_works_differently_now_makes_another_key(monkeypatch):
    made = recipe(W8, recalibrations=("equalization",))
    before = made.key
    newer = replace(RECALIBRATIONS["equalization"], version=99)
    monkeypatch.setitem(RECALIBRATIONS._methods, "equalization", newer)
    assert made.key != before


def test_a_name_is_kept_by_its_owner_and_free_for_others(tmp_path: Path):
    store = Store(tmp_path)

    def step(key: str, name: str = "mine") -> Step:
        return Step(
            name="quantize", version=1, title="", command="", record=QuantSettings, inputs={},
            options={"key": key}, work=lambda parts: None, names=(("kind", name),),
        )  # fmt: skip

    first, second, third = step("a"), step("b"), step("c")
    assert free_name(store, first) == "mine"
    store.name("kind", "mine", first.key)
    assert free_name(store, first) == "mine"
    assert free_name(store, second) == "mine (2)"
    store.name("kind", "mine (2)", second.key)
    assert free_name(store, third) == "mine (3)"
    # What is listed under another name already keeps that one.
    assert free_name(store, step("b", "yours")) == "mine (2)"


def test_recalibrations_of_a_recipe_have_one_spelling():
    spelled = recipe(W4, recalibrations=("absorption:padding=mean:deviations=2.0",))
    assert spelled.recalibrations == ("absorption:deviations=2:padding=mean",)
    assert recipe(W4, recalibrations=("absorption:padding=refuse",)).key == (
        recipe(W4, recalibrations=("absorption",)).key
    )
