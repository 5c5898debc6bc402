import pytest
from scipy import stats

from analysis.initialization.failures import (
    BEHIND,
    DIVERGED,
    GUESSING,
    failure,
    failures,
    trained,
    yardstick,
)
from analysis.records.initialization import InitRun, InitStudy
from tests.reference.initialization import planted_run


def study(*runs: InitRun) -> InitStudy:
    return InitStudy(runs=runs, data="planted")


def wilson_low(successes: int, n: int) -> float:
    """The smaller root of (p - q)^2 = z^2 q (1 - q) / n, found by bisection in q."""
    z, p = stats.norm.ppf(0.975), successes / n
    low, high = 0.0, p
    for _ in range(60):
        q = (low + high) / 2
        low, high = (q, high) if (p - q) ** 2 > z * z * q * (1 - q) / n else (low, q)
    return low


def test_a_run_that_cannot_be_told_from_guessing_failed():
    guessing = 0.117
    for accuracy in (0.09, 0.117, 0.13, 0.138, 0.14, 0.2):
        run = planted_run(accuracy=accuracy, drop=0.0)
        told = wilson_low(run.float_correct, run.n) > guessing
        one = study(run)
        assert failure(run, yardstick(one, guessing)) == ("" if told else GUESSING)
    assert wilson_low(130, 1000) < guessing < wilson_low(140, 1000)


def test_without_a_share_classes_are_taken_as_equally_frequent():
    # Ten logits.
    assert yardstick(study(planted_run())).guessing == pytest.approx(0.1)
    assert not trained(study(planted_run(accuracy=0.11)), yardstick(study(planted_run())))


def test_a_run_far_behind_the_best_of_its_architecture_failed():
    runs = (
        planted_run(accuracy=0.95),
        planted_run(accuracy=0.70, seed=1),
        planted_run(architecture="separable", accuracy=0.6),
        planted_run(architecture="separable", accuracy=0.46, seed=1),
    )
    found = study(*runs)
    assert failures(found, yardstick(found)) == {("he_normal", "regular", 1): BEHIND}
    assert trained(found, yardstick(found)) == (runs[0], *runs[2:])


def test_the_best_may_be_a_run_that_is_not_looked_at():
    alone = study(planted_run("normal:0:30", accuracy=0.43))
    assert not failures(alone, yardstick(alone, 0.1))
    for best, wanted in ((0.5, ""), (0.98, BEHIND)):
        assert failure(alone.runs[0], yardstick(alone, 0.1, {"regular": best})) == wanted
    # The better of both counts.
    assert yardstick(alone, 0.1, {"regular": 0.2}).best == {"regular": 0.43}


def test_a_diverged_run_is_no_best_and_failed_for_that_reason():
    lost = planted_run(seed=1, diverged="epoch 0")
    assert failure(lost, yardstick(study(lost))) == DIVERGED
    assert yardstick(study(lost)).best == {}
