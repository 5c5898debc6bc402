from math import exp

import pytest

from analysis.events import Events, Finished, Progress, Started
from analysis.jobs import Job
from tests.analysis.jobs.steps import Clock, Make, run


def test_at_a_constant_pace_the_estimate_is_exact_and_the_fraction_only_grows(make: Make) -> None:
    clock = Clock()
    manager = make(clock=clock)
    seen: list[Job] = []

    def step() -> Events[None]:
        yield Progress(0, 5)
        for done in range(1, 6):
            clock.now += 2
            yield Progress(done, 5)
            seen.append(manager.jobs()[0])
        yield Finished(None)

    ended = run(manager, step)
    assert [job.eta_seconds for job in seen] == [8, 6, 4, 2, 0]
    assert [job.fraction for job in seen] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert ended.eta_seconds is None
    assert ended.fraction == 1.0


def test_the_estimate_is_unknown_until_a_unit_was_timed(make: Make) -> None:
    clock = Clock()
    manager = make(clock=clock)
    seen: list[float | None] = []

    def step() -> Events[None]:
        clock.now += 100  # loading: no unit of the work
        yield Started("score", "Scoring")
        seen.append(manager.jobs()[0].eta_seconds)
        yield Progress(40, 50, "read from the store")
        seen.append(manager.jobs()[0].eta_seconds)
        clock.now += 3
        yield Progress(41, 50)
        seen.append(manager.jobs()[0].eta_seconds)
        yield Finished(None)

    run(manager, step)
    assert seen == [None, None, 27]


def test_the_estimate_counts_down_within_a_unit_and_waits_for_a_late_one(make: Make) -> None:
    clock = Clock()
    manager = make(clock=clock)
    seen: list[float | None] = []

    def step() -> Events[None]:
        yield Progress(0, 3)
        clock.now += 10
        yield Progress(1, 3)
        for _ in range(4):
            seen.append(manager.jobs()[0].eta_seconds)
            clock.now += 4
            yield Progress(1, 3, "the same unit still")
        yield Finished(None)

    run(manager, step)
    assert seen == [20, 16, 12, 10]


def test_one_slow_unit_moves_the_estimate_by_a_part_only(make: Make) -> None:
    clock = Clock()
    manager = make(clock=clock)
    seen: list[float | None] = []

    def step() -> Events[None]:
        yield Progress(0, 100)
        for done in range(1, 11):
            clock.now += 2 if done < 10 else 12
            yield Progress(done, 100)
            seen.append(manager.jobs()[0].eta_seconds)
        yield Finished(None)

    run(manager, step)
    assert seen[-2] == pytest.approx(91 * 2)
    # Ten units later a unit counts 1 / e; the very first one is left out.
    weights = [exp(-age / 10) for age in range(9)]
    assert seen[-1] == pytest.approx(90 * (2 + 10 / sum(weights)))


def test_nothing_is_promised_before_a_second_was_timed(make: Make) -> None:
    clock = Clock()
    manager = make(clock=clock)
    seen: list[float | None] = []

    def step() -> Events[None]:
        yield Progress(0, 100)
        for done in range(1, 9):
            clock.now += 0.125
            yield Progress(done, 100)
            seen.append(manager.jobs()[0].eta_seconds)
        yield Finished(None)

    run(manager, step)
    assert seen == [None] * 7 + [pytest.approx(92 * 0.125)]


@pytest.mark.parametrize(
    "restart", [Progress(0, 7), Progress(0, 3), Started("score", "Second part")]
)
def test_another_phase_starts_its_own_estimate(make: Make, restart: Progress | Started) -> None:
    clock = Clock()
    manager = make(clock=clock)
    seen: list[float | None] = []

    def step() -> Events[None]:
        yield Progress(0, 3)
        clock.now += 50
        yield Progress(1, 3)
        seen.append(manager.jobs()[0].eta_seconds)
        yield restart
        seen.append(manager.jobs()[0].eta_seconds)
        yield Progress(0, 7)
        clock.now += 2
        yield Progress(1, 7)
        seen.append(manager.jobs()[0].eta_seconds)
        yield Finished(None)

    run(manager, step)
    assert seen == [100, None, 12]


def test_a_clock_set_back_does_not_give_a_negative_estimate(make: Make) -> None:
    clock = Clock()
    manager = make(clock=clock)
    seen: list[float | None] = []

    def step() -> Events[None]:
        yield Progress(0, 4)
        clock.now += 2
        yield Progress(1, 4)
        clock.now -= 500
        yield Progress(2, 4)
        seen.append(manager.jobs()[0].eta_seconds)
        clock.now += 3
        yield Progress(3, 4)
        seen.append(manager.jobs()[0].eta_seconds)
        yield Finished(None)

    run(manager, step)
    assert seen == [None, 3]


@pytest.mark.parametrize(
    ("done", "total", "fraction"), [(0, 0, 0.0), (1, 4, 0.25), (5, 4, 1.0), (-1, 4, 0.0)]
)
def test_the_fraction_stays_within_its_range(done: int, total: int, fraction: float) -> None:
    job = Job(id="i", key="k", title="", step="", command="", submitted=0.0, done=done, total=total)
    assert job.fraction == fraction
