"""What accuracy curves say, in words and no further than the data reach."""

from collections.abc import Sequence
from math import comb, isfinite

from analysis.curves.words import (
    difference_text,
    kept,
    limit_text,
    series_text,
    several,
    significant,
    size_only,
)
from analysis.records import Curve, CurvePoint, Paired
from analysis.records.curve import METRIC, RANDOM, UNIFORM

# At least this share of random allocations as good: the metric does not help there.
NO_HELP = 0.25
LEVEL = 0.05


def verdict(curve: Curve) -> tuple[str, ...]:
    """Say in sentences whether a metric is worth its bits on this network.

    For each limit the best metric there against size-only and against chance, then :func:`summary`.
    """
    places = range(len(curve.limits))
    return (*(each for place in places for each in headline(curve, place)), *summary(curve))


def summary(curve: Curve) -> tuple[str, ...]:
    """Say what holds over all limits, how many differences were looked at, and what is absent."""
    return (*_overall(curve), compared(curve), *_absent(curve))


def headline(curve: Curve, place: int) -> tuple[str, ...]:
    """Say what the best metric within one limit keeps, against size-only and random allocations."""
    points = [p for p in curve.points if p.place == place]
    where = limit_text(curve, place)
    if not points:
        return (f"At {where} nothing is measured.",)
    if len({p.configuration for p in points}) == 1 and len(points) > 1:
        return (f"At {where} only one allocation was found: {kept(points[0])}.",)
    metrics = _metrics(curve, points)
    if not metrics:
        return (f"At {where} no metric leads to an allocation.",)
    best = metrics[0]
    said = (
        f"At {where}, {_against_size_only(curve, best)}",
        _against_random(curve, best, points),
    )
    return tuple(each for each in said if each)


def at_limit(curve: Curve, place: int) -> tuple[str, ...]:
    """Say all that holds within one limit: every metric, the best first, against the baselines.

    The last sentence is on what is left of the budget.
    """
    points = [p for p in curve.points if p.place == place]
    if len({p.configuration for p in points}) <= 1 < len(points) or not points:
        return headline(curve, place)
    metrics = _metrics(curve, points)
    first = {p.configuration: p for p in reversed(metrics)}
    distinct = [p for p in metrics if first[p.configuration] is p]
    sentences = [headline(curve, place)[0]]
    sentences += [_against_size_only(curve, p) for p in distinct[1:]]
    sentences += [
        f"{series_text(curve, p.series)} leads to the same allocation as "
        f"{series_text(curve, first[p.configuration].series)}."
        for p in metrics
        if first[p.configuration] is not p
    ]
    sentences += _told_apart(curve, metrics)
    sentences += [_against_random(curve, p, points) for p in distinct]
    sentences += _uniform(curve, place)
    sentences += _slack(curve, place, metrics)
    return tuple(each for each in sentences if each)


def _metrics(curve: Curve, points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return the points of metrics, the best measured first."""
    return sorted(_kind(curve, points, METRIC), key=lambda p: p.measured.merit, reverse=True)


def as_good_text(curve: Curve, point: CurvePoint) -> str:
    """Say how many random allocations of a point's limit measure as well; empty without any."""
    random = _rivals(curve, point, curve.points)
    return f"{as_good(point, random)} of {len(random)}" if random else ""


def compared(curve: Curve) -> str:
    """Say how many differences were looked at, and how many stay after a correction for that."""
    # Metrics, solvers and limits that lead to the same two networks are one comparison.
    pairs = {
        (point.configuration, baseline.configuration): paired
        for point, paired in tested(curve)
        if (baseline := size_only(curve, point))
    }
    known = list(pairs.values())
    if not known:
        if not curve.float_.labelled:
            return "Without labels differences have no interval: no ranking here is tested."
        if all(p.versus_size_only is None for p in curve.of_kind(METRIC)):
            return "There is no size-only allocation to compare with: nothing is compared."
        return "No metric leads to another allocation than size-only: nothing is compared."
    outside = sum(significant(paired) for paired in known)
    after = sum(holm([paired.p_value for paired in known]))
    best = len(curve.metrics) * len({s.solver for s in curve.series if s.solver})
    chosen = (
        f" The best of {best} at a limit was chosen after the fact, its lead is optimistic."
        if best > 1
        else ""
    )
    return (
        f"{_count(len(known), 'difference')} to size-only compared, each with its own 95 % "
        f"interval: {outside} outside the noise, where about {LEVEL * len(known):.1f} would be by "
        f"chance alone; {after} after Holm's correction of their McNemar tests.{chosen}"
    )


def tested(curve: Curve) -> list[tuple[CurvePoint, Paired]]:
    """Return the points of metrics whose allocation differs from size-only's, with the pair."""
    found = []
    for point in curve.of_kind(METRIC):
        paired, other = point.versus_size_only, size_only(curve, point)
        if paired is None or other is None or not isfinite(paired.p_value):
            continue
        if other.configuration != point.configuration:
            found.append((point, paired))
    return found


def holm(p_values: Sequence[float], level: float = LEVEL) -> tuple[bool, ...]:
    """Tell which tests reject when all errors together are to stay below ``level``.

    See Holm 1979, Scand. J. Stat. 6:65.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = [False] * len(p_values)
    for step, i in enumerate(order):
        if p_values[i] > level / (len(order) - step):
            break
        rejected[i] = True
    return tuple(rejected)


def as_good(point: CurvePoint, random: Sequence[CurvePoint]) -> int:
    """Count the random allocations that measure at least as well as a point."""
    if point.measured.labelled:
        return sum(p.measured.top1 >= point.measured.top1 for p in random)
    return sum(p.measured.kl <= point.measured.kl for p in random)


def _against_size_only(curve: Curve, point: CurvePoint) -> str:
    text = f"{series_text(curve, point.series)} keeps {kept(point)}"
    other = size_only(curve, point)
    if other is None:
        return f"{text}; there is no size-only allocation to compare with."
    if other.configuration == point.configuration:
        return f"{text}; size-only leads to the same allocation."
    if point.versus_size_only is None or not point.measured.labelled:
        return f"{text}; size-only {kept(other)}."
    return (
        f"{text}, size-only {100 * other.measured.top1:.1f} %: difference "
        f"{difference_text(point.versus_size_only)}."
    )


def _told_apart(curve: Curve, metrics: Sequence[CurvePoint]) -> list[str]:
    """Say whether the ranking of the metrics within one limit stands out of the noise."""
    if len(metrics) < 2 or not metrics[0].measured.labelled:
        return []
    best = curve.points[curve.best[metrics[0].place]]
    rest = [p for p in metrics if p.configuration != best.configuration]
    worse = [p for p in rest if p.versus_best is not None and significant(p.versus_best)]
    if not rest:
        return ["All metrics lead to one allocation."]
    if not worse:
        what = "series of metrics" if several(curve, "solver") or several(curve, "method") else (
            "metrics"
        )  # fmt: skip
        return [f"The ranking of the {len(metrics)} {what} is inside the noise."]
    names = ", ".join(series_text(curve, p.series) for p in worse)
    return [f"Shown to be worse than {series_text(curve, best.series)}: {names}."]


def _uniform(curve: Curve, place: int) -> list[str]:
    sentences = []
    for i, series in enumerate(curve.series):
        if series.kind != UNIFORM:
            continue
        method = f" with {series.method}" if several(curve, "method") else ""
        fits = [p for p in curve.points if p.series == i and p.place <= place]
        if not fits:
            sentences.append(f"No uniform bits fit{method}.")
            continue
        dearest = max(fits, key=lambda p: p.used)
        sentences.append(
            f"Uniform bits that fit use {100 * dearest.used / curve.limits[place]:.0f} % of it and "
            f"keep "
            f"{kept(dearest)}{method}."
        )
    return sentences


def _against_random(curve: Curve, point: CurvePoint, points: Sequence[CurvePoint]) -> str:
    random = _rivals(curve, point, points)
    if not random:
        return ""
    good = as_good(point, random)
    name = series_text(curve, point.series)
    what = f"{good} of {len(random)} random assignments {'is' if good == 1 else 'are'} as good"
    if good >= NO_HELP * len(random) and _chance(good, len(random)) <= LEVEL:
        return f"{what}: {name} does not help here."
    if (good + 1) / (len(random) + 1) <= LEVEL:
        return f"{what} as {name}."
    why = "not enough" if good else "too few were drawn"
    return f"{what}: {why} to say that {name} beats chance."


def _chance(good: int, drawn: int) -> float:
    """Return how likely so many are as good as an allocation that only one in twenty equals."""
    counts = range(good, drawn + 1)
    return sum(comb(drawn, k) * LEVEL**k * (1 - LEVEL) ** (drawn - k) for k in counts)


def _rivals(curve: Curve, point: CurvePoint, points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return the random allocations of a point's limit and method that are not its own bits."""
    method = curve.series[point.series].method
    return [
        p
        for p in _kind(curve, points, RANDOM)
        if p.place == point.place
        and curve.series[p.series].method == method
        and p.configuration != point.configuration
    ]


def _slack(curve: Curve, place: int, metrics: Sequence[CurvePoint]) -> list[str]:
    if not metrics:
        return []
    left = [(1 - p.used / curve.limits[place]) for p in metrics]
    low, high = 100 * min(left), 100 * max(left)
    span = f"{low:.1f} %" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} %"
    return [f"Left of the budget: {span}."]


def _overall(curve: Curve) -> list[str]:
    sides: dict[str, list[Paired]] = {}
    for point, paired in tested(curve):
        sides.setdefault(series_text(curve, point.series), []).append(paired)
    sentences = []
    for name, own in sides.items():
        behind = sum(paired.high < 0 for paired in own)
        sentences.append(
            f"{name} is ahead of size-only outside the noise at "
            f"{sum(paired.low > 0 for paired in own)} of {_count(len(own), 'limit')} where the two "
            f"differ{f', and behind it at {behind}' if behind else ''}."
        )
    return sentences


def _absent(curve: Curve) -> list[str]:
    sentences = []
    for i in range(len(curve.series)):
        own = [a for a in curve.absent if a.series == i]
        whole = [a for a in own if a.place < 0]
        some = [a for a in own if a.place >= 0]
        name = series_text(curve, i)
        sentences += [f"Absent, {name}: {a.reason}" for a in whole]
        if some:
            limits = ", ".join(f"{curve.limits[a.place]:.3g}" for a in some)
            sentences.append(f"Absent, {name} at {curve.resource} {limits}: {some[0].reason}")
    if not curve.complete:
        sentences.append("Not complete: points are still to be measured.")
    return sentences


def _kind(curve: Curve, points: Sequence[CurvePoint], kind: str) -> list[CurvePoint]:
    return [p for p in points if curve.series[p.series].kind == kind]


def _count(amount: int, what: str) -> str:
    return f"{amount} {what}" if amount == 1 else f"{amount} {what}s"
