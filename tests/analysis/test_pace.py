"""Time left, from recorded and from made-up sequences of reports."""

import pytest

from analysis.pace import Pace

# Seconds and units done, recorded on a busy machine: the scores of 200 samples in seven batches of
# ten backward passes and sixteen layers; in the first batch memory is taken and kernels are chosen.
SCORED = 182
SCORING = (
    (0.04, 1), (0.12, 6), (0.17, 10), (0.51, 12), (1.18, 16), (1.53, 18), (3.33, 22), (3.42, 24),
    (4.05, 29), (4.09, 32), (4.18, 40), (4.24, 48), (4.36, 56), (4.47, 64), (4.53, 72), (4.62, 80),
    (4.72, 88), (4.80, 96), (4.86, 104), (4.97, 112), (5.05, 120), (5.11, 128), (5.42, 136),
    (5.75, 145), (5.85, 156), (5.93, 168), (6.00, 180), (6.05, 182),
)  # fmt: skip
# An ablation of four pieces, three of them from the store; the fourth trains for forty steps.
PIECES = 4000
ABLATION = (
    (0.01, 1000), (0.04, 2000), (0.08, 3000), (1.22, 3000), (1.46, 3025), (1.67, 3050),
    (1.92, 3075), (2.15, 3100), (2.55, 3125), (2.77, 3150), (2.97, 3175), (3.30, 3200),
    (4.10, 3275), (5.25, 3350), (6.39, 3475), (8.01, 3600), (9.15, 3725),
    (10.60, 3875), (11.90, 3999),
)  # fmt: skip


def watched(reports: tuple[tuple[float, int], ...], total: int) -> list[tuple[float, float | None]]:
    """Return after every report the seconds that were left, and those that were estimated."""
    pace, end = Pace(), reports[-1][0]
    found = []
    for now, done in reports:
        pace.observe(done, total, now)
        found.append((end - now, pace.eta(now)))
    return found


def test_slow_first_units_are_forgotten_while_the_work_goes_on() -> None:
    seen = watched(SCORING, SCORED)
    assert all(eta is None for _, eta in seen[:4])
    halfway = [
        (left, eta) for (left, eta), (_, done) in zip(seen, SCORING, strict=True) if done > 95
    ]
    assert all(eta is not None and eta <= 2 * left + 1 for left, eta in halfway)


def test_pieces_from_the_store_do_not_make_the_rest_look_fast_or_slow() -> None:
    seen = watched(ABLATION, PIECES)
    assert [eta for _, eta in seen[:4]] == [None] * 4
    told = [(left, eta) for left, eta in seen if eta is not None]
    assert len(told) >= 10
    assert all(abs(eta - left) < 0.25 * left + 1 for left, eta in told)


def test_a_piece_that_was_stored_between_two_others_is_not_counted_as_fast() -> None:
    pace = Pace()
    for done in range(11):
        pace.observe(100 * done, 3000, 4.0 * done)
    pace.observe(2000, 3000, 40.02)
    assert pace.eta(40.02) == pytest.approx(1000 * 0.04)


def test_slow_and_fast_units_count_as_often_as_they_occur() -> None:
    pace, now = Pace(), 0.0
    pace.observe(0, 3000, now)
    for done in range(1, 1501):
        now += 1.2 if done % 30 < 10 else 0.06
        pace.observe(done, 3000, now)
    truth = 1500 * (10 * 1.2 + 20 * 0.06) / 30
    assert pace.eta(now) == pytest.approx(truth, rel=0.1)


def test_of_long_units_something_is_promised_before_a_twentieth_is_done() -> None:
    pace = Pace()
    for done in range(3):
        pace.observe(done, 1000, 20.0 * done)
    assert pace.eta(40.0) == pytest.approx(998 * 20)


@pytest.mark.parametrize("units", [1, 2, 40])
def test_of_a_small_share_of_short_units_nothing_is_promised(units: int) -> None:
    pace = Pace()
    for done in range(units + 1):
        pace.observe(done, 1000, 0.5 * done)
    assert pace.eta(0.5 * units) is None


def test_a_slow_start_is_left_out_once_there_is_more() -> None:
    pace = Pace()
    pace.observe(0, 20, 0.0)
    pace.observe(1, 20, 60.0)
    assert pace.eta(60.0) == pytest.approx(19 * 60)
    pace.observe(2, 20, 61.0)
    assert pace.eta(61.0) == pytest.approx(18)


def test_a_training_that_is_taken_up_again_promises_nothing_by_what_was_stored() -> None:
    pace = Pace()
    pace.observe(0, 1000, 0.0)
    pace.observe(400, 1000, 8.0)
    told = []
    for done in range(405, 1000, 5):
        now = 8.0 + 2.0 * (done - 400)
        pace.observe(done, 1000, now)
        told.append((pace.eta(now), 2.0 * (1000 - done)))
    assert told[0][0] is None
    promised = [(eta, left) for eta, left in told if eta is not None]
    assert len(promised) > 0.9 * len(told)
    assert all(eta == pytest.approx(left) for eta, left in promised)
