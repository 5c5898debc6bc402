"""How long a running job will still take, from how fast its units of work have gone by."""

from dataclasses import dataclass
from math import exp

# Nothing is promised before so many seconds and such a share of what was left were timed; of long
# units not before so many seconds.
_SHORTEST, _SHARE, _LONG = 1.0, 0.05, 30.0
# Share of the units after which an observation counts 1 / e.
_MEMORY = 0.1
# Units so fast that the whole would take fewer seconds, or so many times faster than those before,
# were not worked on but read from the store.
_WHOLE, _TIMES = 5.0, 200.0


@dataclass(slots=True)
class Pace:
    """Mean seconds per unit of the work at hand, the latest units counting most.

    It is a mean over units, so slow and fast ones count as often as they occur. Units that come
    from the store tell nothing. The first report of work is left out once there are others: it
    holds what happens once, such as memory that is taken and kernels that are chosen.
    """

    total: int = 0
    done: int = 0
    at: float | None = None
    last: float = 0.0
    timed: float = 0.0
    first_units: int = 0
    first_seconds: float = 0.0
    other_units: int = 0
    units: float = 0.0
    seconds: float = 0.0

    def observe(self, done: int, total: int, now: float) -> None:
        """Take note of ``done`` of ``total`` units at time ``now``; another total starts anew."""
        if self.at is None or total != self.total or done < self.done or now < self.at:
            # The first report may count units that an earlier run stored: it tells no pace.
            self.total, self.done, self.at = total, done, now
            self.timed = self.first_seconds = self.units = self.seconds = 0.0
            self.first_units = self.other_units = 0
        elif done > self.done:
            self._add(done - self.done, now - self.at)
            self.done, self.at = done, now

    def eta(self, now: float) -> float | None:
        """Seconds left: counts down between reports, never below what the later ones need."""
        each = self._each()
        if each is None or self.at is None:
            return None
        left = max(self.total - self.done, 0) * each
        return max(left - min(max(now - self.at, 0.0), self.last), 0.0)

    def _add(self, units: int, seconds: float) -> None:
        if self._stored(units, seconds):
            return
        self.last = seconds
        self.timed += seconds
        if not self.first_units:
            self.first_units, self.first_seconds = units, seconds
            return
        kept = exp(-units / (_MEMORY * self.total))
        self.other_units += units
        self.units = kept * self.units + units
        self.seconds = kept * self.seconds + seconds

    def _stored(self, units: int, seconds: float) -> bool:
        known = self.first_units + self.other_units
        if not known:
            return seconds * self.total < _WHOLE * units
        return seconds * known * _TIMES < self.timed * units

    def _each(self) -> float | None:
        """Seconds of one unit, None where too little was timed."""
        known = self.first_units + self.other_units
        enough = _SHARE * (self.total - self.done + known)
        if self.timed < _SHORTEST:
            return None
        if self.other_units:
            # A large first report before small ones is a training that was taken up again.
            known_enough = self.other_units >= enough or self.timed >= _LONG
            return self.seconds / self.units if known_enough else None
        return self.first_seconds / self.first_units if self.first_units >= enough else None
