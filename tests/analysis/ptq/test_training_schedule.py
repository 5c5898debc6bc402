import pytest

from analysis.ptq.schedule import Schedule


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 2000])
def test_whatever_the_length_everything_is_fixed_at_the_end(steps):
    assert Schedule(steps).fixed(steps - 1) == 1.0
    assert Schedule(steps).quantized(steps - 1) == 1.0


@pytest.mark.parametrize("steps", [20, 2000])
def test_nothing_is_fixed_before_the_begin_and_what_is_fixed_only_grows(steps):
    schedule = Schedule(steps)
    shares = [schedule.fixed(step) for step in range(steps)]
    assert shares[: steps // 5] == [0.0] * (steps // 5)
    assert shares == sorted(shares)
    assert shares[round(0.85 * steps) - 1] == pytest.approx(1.0)
    assert shares[round(0.84 * steps) - 2] < 1.0


@pytest.mark.parametrize("steps", [1, 2, 100])
def test_roundings_can_be_left_open_until_the_last_step(steps):
    schedule = Schedule(steps, begin=1.0, end=1.0)
    assert [schedule.fixed(step) for step in range(steps)] == [0.0] * (steps - 1) + [1.0]


def test_the_exponent_falls_from_twenty_to_two():
    schedule = Schedule(1000)
    exponents = [schedule.exponent(step) for step in range(1000)]
    assert exponents[:201] == [20.0] * 201
    assert exponents == sorted(exponents, reverse=True)
    assert exponents[600] == pytest.approx(11.0)  # half way between a fifth and the end
    assert exponents[-1] == pytest.approx(2.0, abs=0.05)


def test_runs_of_other_lengths_are_stretched_copies():
    short, long = Schedule(100), Schedule(1000)
    for step in range(100):
        assert short.fixed(step) == pytest.approx(long.fixed(10 * step + 9))
        assert short.rate(step) == pytest.approx(long.rate(10 * step))
