"""What accuracy curves say in words, and what they do not."""

import numpy as np
import pytest

from analysis.curves.verdict import (
    as_good,
    as_good_text,
    at_limit,
    compared,
    holm,
    verdict,
)
from analysis.curves.words import (
    fewer_limits,
    held_text,
    point_text,
    series_text,
    signed,
    significant,
    versus_text,
)
from analysis.records import Absent, Candidate, Series
from analysis.records.curve import METRIC, SIZE_ONLY, baseline_of
from analysis.records.curve import UNIFORM as UNIFORM_KIND
from tests.analysis.curves_to_say import curve, found

OURS, OTHER, SIZE, UNIFORM, RANDOM = range(5)


def test_a_lead_outside_the_noise_is_said_with_both_accuracies_and_its_interval():
    made = curve([found(OURS, 0, 364), found(SIZE, 0, 340)])
    (said, *_) = at_limit(made, 0)
    assert said.startswith("At 0.5 × the w8a8 size, made_up + milp keeps 91.0 % (87.8-93.4, n")
    assert "size-only 85.0 %: difference +6.0 points (" in said
    assert said.endswith("outside the noise.")


def test_a_lead_of_one_sample_is_inside_the_noise():
    made = curve([found(OURS, 0, 361), found(SIZE, 0, 360)])
    assert at_limit(made, 0)[0].endswith("inside the noise.")


def test_equal_allocations_are_called_so_and_not_compared():
    made = curve([found(OURS, 0, 360), found(SIZE, 0, 360), found(OTHER, 0, 350)])
    assert any("leads to the same allocation" in said for said in at_limit(made, 0))
    assert compared(made).startswith("1 difference to size-only")


def test_many_random_assignments_as_good_mean_that_the_metric_does_not_help():
    random = [found(RANDOM, 0, 300 + i, candidates="w4a8 w2a8") for i in range(12)]
    better = [found(RANDOM, 0, 370 + i, candidates="w4a8 w2a8") for i in range(8)]
    made = curve([found(OURS, 0, 364), found(SIZE, 0, 340), *random, *better])
    assert "8 of 20 random assignments are as good: made_up + milp does not help here." in at_limit(
        made, 0
    )


@pytest.mark.parametrize(
    ("count", "better", "words"),
    [
        (20, 0, "0 of 20 random assignments are as good as made_up + milp."),
        (20, 1, "1 of 20 random assignments is as good: not enough to say that"),
        (4, 1, "1 of 4 random assignments is as good: not enough to say that"),
        (4, 2, "2 of 4 random assignments are as good: made_up + milp does not help here."),
        (4, 0, "0 of 4 random assignments are as good: too few were drawn to say that"),
    ],
)
def test_few_random_assignments_as_good_are_weighed_by_how_many_were_drawn(count, better, words):
    rights = [370] * better + [300 - i for i in range(count - better)]
    random = [found(RANDOM, 0, right, candidates="w4a8 w2a8") for right in rights]
    made = curve([found(OURS, 0, 364), found(SIZE, 0, 340), *random])
    assert any(said.startswith(words) for said in at_limit(made, 0))


def test_every_metric_is_held_against_chance_and_equal_bits_once():
    random = [found(RANDOM, 0, 300 + i, candidates="w4a8 w2a8") for i in range(20)]
    made = curve([found(OURS, 0, 364), found(OTHER, 0, 310), found(SIZE, 0, 340), *random])
    said = at_limit(made, 0)
    assert "0 of 20 random assignments are as good as made_up + milp." in said
    assert "10 of 20 random assignments are as good: other + milp does not help here." in said
    assert [as_good_text(made, p) for p in made.points[:3]] == ["0 of 20", "10 of 20", "0 of 20"]
    same = curve([found(OURS, 0, 364), found(OTHER, 0, 364), *random])
    assert sum("random assignments" in each for each in at_limit(same, 0)) == 1


def test_the_verdict_holds_the_best_metric_of_every_limit_against_both_baselines():
    random = [found(RANDOM, 1, 300 + i, candidates="w4a8 w2a8") for i in range(20)]
    points = [found(OURS, 0, 364), found(SIZE, 0, 340), found(OURS, 1, 310), found(SIZE, 1, 312)]
    said = verdict(curve([*points, *random], limits=(0.5, 0.8)))
    assert "size-only 85.0 %: difference +6.0 points" in said[0]
    assert said[1].startswith("At 0.8 × the w8a8 size, made_up + milp keeps 77.5 %")
    assert said[2] == "10 of 20 random assignments are as good: made_up + milp does not help here."


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0123, "+1.2"), (-0.5, "-50.0"), (0.0003, "+0.03"), (-0.0004, "-0.04"), (0.0, "0")],
)
def test_no_sign_is_rounded_away(share, text):
    assert signed(share) == text


def test_ties_count_as_as_good():
    made = curve([found(OURS, 0, 364), found(RANDOM, 0, 364, candidates="w4a8 w2a8")])
    ours, random = made.points
    assert as_good(ours, [random]) == 1


def test_a_ranking_of_metrics_inside_the_noise_is_called_that():
    made = curve([found(OURS, 0, 361), found(OTHER, 0, 360), found(SIZE, 0, 340)])
    assert "The ranking of the 2 metrics is inside the noise." in at_limit(made, 0)
    made = curve([found(OURS, 0, 380), found(OTHER, 0, 340), found(SIZE, 0, 339)])
    assert "Shown to be worse than made_up + milp: other + milp." in at_limit(made, 0)


def test_the_dearest_uniform_bits_that_fit_are_named_at_dearer_limits_too():
    uniform = found(UNIFORM, 0, 300, used=0.4, candidates="w2a8 w2a8")
    made = curve([found(OURS, 1, 380, used=0.8), uniform], limits=(0.5, 0.8))
    assert any("Uniform bits that fit use 50 % of it" in said for said in at_limit(made, 1))


def test_what_is_left_of_the_budget_is_said():
    made = curve([found(OURS, 0, 364, used=0.45), found(SIZE, 0, 340)])
    assert "Left of the budget: 10.0 %." in at_limit(made, 0)


def test_one_allocation_is_no_contest():
    made = curve([found(i, 0, 100, candidates="w2a8 w2a8") for i in range(5)])
    (said,) = at_limit(made, 0)
    assert said.startswith("At 0.5 × the w8a8 size only one allocation was found: 25.0 %")


def test_the_number_of_comparisons_and_what_survives_their_correction_are_said():
    points = [found(OURS, 0, 380), found(SIZE, 0, 340), found(OURS, 1, 366, used=0.9)]
    points.append(found(SIZE, 1, 365, used=0.9))
    text = compared(curve(points, limits=(0.5, 0.9)))
    assert text.startswith("2 differences to size-only compared")
    assert "1 outside the noise, where about 0.1 would be by chance alone; 1 after Holm" in text


def test_metrics_that_lead_to_the_same_bits_are_one_comparison():
    made = curve([found(OURS, 0, 380), found(OTHER, 0, 380), found(SIZE, 0, 340)])
    assert compared(made).startswith("1 difference to size-only")


def test_the_same_two_networks_at_two_limits_are_one_comparison():
    points = [found(OURS, at, 380) for at in (0, 1)] + [found(SIZE, at, 340) for at in (0, 1)]
    made = curve(points, limits=(0.5, 0.9))
    assert compared(made).startswith("1 difference to size-only compared")
    assert "1 outside the noise, where about 0.1 would" in compared(made)


def test_what_all_allocations_have_in_common_is_said():
    pins = {"conv1": Candidate.parse("w4a8")}
    assert held_text(pins, [("a", "b")]) == "`conv1` pinned to w4a8; `a` and `b` tied"
    assert held_text({}, (), first_last=False) == "first and last layer released"
    assert held_text({}, ()) == ""


def test_uniform_points_of_one_limit_are_told_apart_by_their_candidate():
    points = [
        found(UNIFORM, 0, 300, candidates="w8a8 w2a8"),
        found(UNIFORM, 0, 320, candidates="w8a8 w4a8"),
        found(OURS, 0, 340, candidates="w8a8 w8a8"),
    ]
    made = curve(points)  # the first layer is held: it is the same everywhere
    names = [point_text(made, p) for p in made.points]
    assert names == ["uniform w2a8", "uniform w4a8", "made_up + milp"]
    alone = curve([found(UNIFORM, 0, 300, candidates="w4a8 w4a8")])
    assert point_text(alone, alone.points[0]) == "uniform w4a8"


def test_a_metric_behind_size_only_outside_the_noise_is_said_to_be():
    made = curve([found(OURS, 0, 340), found(SIZE, 0, 380)])
    said = next(each for each in verdict(made) if "is ahead of size-only" in each)
    assert said.endswith("at 0 of 1 limit where the two differ, and behind it at 1.")


def test_without_a_size_only_allocation_nothing_is_said_to_be_equal_to_it():
    made = curve([found(OURS, 0, 340), found(OTHER, 0, 320, candidates="w4a8 w4a8")])
    assert compared(made) == (
        "There is no size-only allocation to compare with: nothing is compared."
    )


def test_the_baseline_of_a_series_has_its_method_and_if_it_can_its_solver():
    def series(kind, solver, method="nearest"):
        return Series(kind=kind, metric="", solver=solver, method=method)

    every = (
        series(METRIC, "rlt"),
        series(METRIC, "dp"),
        series(SIZE_ONLY, "milp"),
        series(SIZE_ONLY, "dp"),
        series(UNIFORM_KIND, ""),
        series(SIZE_ONLY, "milp", "gptq"),
        series(METRIC, "milp", "other"),
    )
    partners = [baseline_of(every, i) for i in range(len(every))]
    assert partners == [2, 3, None, None, 2, None, None]


def test_fewer_limits_than_asked_for_are_said():
    assert fewer_limits(4, 4) == ""
    assert fewer_limits(1, 4).startswith("There is 1 limit instead of 4: the cheapest")
    assert fewer_limits(3, 4).startswith("There are 3 limits instead of 4")


def test_equal_bits_are_no_difference_in_a_table():
    made = curve([found(OURS, 0, 340), found(SIZE, 0, 340), found(UNIFORM, 0, 330)])
    assert [versus_text(made, p) for p in made.points][:2] == ["the same bits", ""]
    assert versus_text(made, made.points[2]).startswith("-2.5 points (")


def test_holm_rejects_the_textbook_case_and_stops_at_the_first_that_stands():
    assert holm([0.01, 0.04, 0.03, 0.005]) == (True, False, False, True)
    assert holm([0.06, 0.001]) == (False, True)
    assert holm([]) == ()


def test_holm_never_rejects_more_than_single_tests_do():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.random(6) ** 3
        single = [v <= 0.05 for v in values]
        assert all(s or not h for s, h in zip(single, holm(list(values)), strict=True))


def test_without_labels_nothing_is_called_tested():
    points = [
        found(OURS, 0, 364, labelled=False, kl=0.01),
        found(SIZE, 0, 340, labelled=False, kl=0.2),
        found(RANDOM, 0, 300, labelled=False, kl=0.001, candidates="w4a8 w2a8"),
    ]
    made = curve(points, labelled=False)
    said = at_limit(made, 0)
    assert "KL 0.01 nats from float" in said[0]
    assert "noise" not in " ".join(said)
    assert "1 of 1 random assignments is as good" in " ".join(said)
    assert compared(made).startswith("Without labels")


def test_what_is_absent_or_unfinished_is_said():
    absent = [
        Absent(series=OTHER, place=-1, reason="it needs labels"),
        Absent(series=UNIFORM, place=0, reason="nothing fits"),
    ]
    said = verdict(curve([found(OURS, 0, 364)], absent=absent, complete=False))
    assert "Absent, other + milp: it needs labels" in said
    assert "Absent, uniform at size 0.5: nothing fits" in said
    assert said[-1].startswith("Not complete")


def test_names_hold_a_method_only_where_there_are_several():
    made = curve([found(OURS, 0, 364)])
    assert [series_text(made, i) for i in range(5)] == [
        "made_up + milp",
        "other + milp",
        "size-only",
        "uniform",
        "random",
    ]


def test_pairs_are_those_of_the_same_samples():
    made = curve([found(OURS, 0, 364), found(SIZE, 0, 340), found(UNIFORM, 0, 330)])
    ours, size, uniform = made.points
    assert ours.versus_size_only is not None
    assert (ours.versus_size_only.only_first, ours.versus_size_only.only_second) == (24, 0)
    assert significant(ours.versus_size_only)
    assert size.versus_size_only is None
    assert uniform.versus_best is not None
    assert uniform.versus_best.difference == pytest.approx(-34 / 400)
    assert made.best == (0,)


def test_predictions_are_summed_scores_and_not_known_where_one_is_missing():
    made = curve([found(OURS, 0, 364), found(RANDOM, 0, 300, candidates="w6a8 w2a8")])
    assert made.points[0].predicted.tolist() == [11.0]
    assert np.isnan(made.points[1].predicted).all()
