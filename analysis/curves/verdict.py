"""What accuracy curves say, in words and no further than the data reach."""

from collections.abc import Sequence
from math import isfinite

from analysis.records import Curve, CurvePoint, Paired
from analysis.records.curve import METRIC, RANDOM, SIZE_ONLY, UNIFORM

# At least this share of random allocations as good: the metric does not help there.
NO_HELP = 0.25
LEVEL = 0.05
_LIMITS = {
    "size": "{} × the w8a8 size",
    "bops": "{} × the w8a8 BOPs",
    "size_mib": "{} MiB",
    "stored_mib": "{} MiB with scales",
    "avg_bits": "{} bits per weight",
    "act": "{} × the w8a8 activation peak",
    "act_mib": "{} MiB of activations",
    "ace": "{} × the w8a8 arithmetic cost",
    "latency_ms": "{} ms",
}


def verdict(curve: Curve) -> tuple[str, ...]:
    """Say in sentences whether a metric is worth its bits on this network.

    One sentence per limit on the best metric there against the size-only baseline, then
    :func:`summary`.
    """
    sentences = [at_limit(curve, place)[0] for place in range(len(curve.limits))]
    return (*sentences, *summary(curve))


def summary(curve: Curve) -> tuple[str, ...]:
    """Say what holds over all limits, how many differences were looked at, and what is absent."""
    return (*_overall(curve), compared(curve), *_absent(curve))


def at_limit(curve: Curve, place: int) -> tuple[str, ...]:
    """Say what the series keep within one limit: the best metric first, then the others.

    The last sentences are on the uniform and the random baseline and on what is left of the budget.
    """
    where = limit_text(curve, place)
    points = [p for p in curve.points if p.place == place]
    if not points:
        return (f"At {where} nothing is measured.",)
    if len({p.configuration for p in points}) == 1 and len(points) > 1:
        return (f"At {where} only one allocation was found: {kept(points[0])}.",)
    metrics = sorted(_kind(curve, points, METRIC), key=lambda p: p.measured.merit, reverse=True)
    sentences = [_against_size_only(curve, p, where) for p in metrics]
    if not sentences:
        sentences = [f"At {where} no metric leads to an allocation."]
    sentences += _told_apart(curve, metrics)
    sentences += _uniform(curve, place)
    if metrics:
        sentences.append(_against_random(curve, metrics[0], points))
    sentences += _slack(curve, place, metrics)
    return tuple(each for each in sentences if each)


def compared(curve: Curve) -> str:
    """Say how many differences were looked at, and how many stay after a correction for that."""
    # Metrics that lead to the same bits are one comparison.
    known = list(
        {
            (p.configuration, p.place, curve.series[p.series].solver): paired
            for p, paired in tested(curve)
        }.values()
    )
    if not known:
        if not curve.float_.labelled:
            return "Without labels differences have no interval: no ranking here is tested."
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


def size_only(curve: Curve, point: CurvePoint) -> CurvePoint | None:
    """Return the size-only baseline of a point: same limit and method, and solver if it has one.

    The baseline has none itself.
    """
    own = curve.series[point.series]
    for i, series in enumerate(curve.series):
        same = series.method == own.method and own.solver in ("", series.solver)
        if series.kind == SIZE_ONLY and own.kind != SIZE_ONLY and same:
            return curve.at(i, point.place)
    return None


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


def significant(paired: Paired) -> bool:
    """Tell whether the 95 % interval of a difference leaves out zero."""
    return paired.low > 0 or paired.high < 0


def as_good(point: CurvePoint, random: Sequence[CurvePoint]) -> int:
    """Count the random allocations that measure at least as well as a point."""
    if point.measured.labelled:
        return sum(p.measured.top1 >= point.measured.top1 for p in random)
    return sum(p.measured.kl <= point.measured.kl for p in random)


def limit_text(curve: Curve, place: int) -> str:
    """Return a limit with its unit."""
    limit = f"{curve.limits[place]:.3g}"
    return _LIMITS.get(curve.resource, f"{curve.resource} {{}}").format(limit)


def series_text(curve: Curve, series: int) -> str:
    """Name a series as shortly as tells it from the others."""
    own = curve.series[series]
    words = {SIZE_ONLY: "size-only", UNIFORM: "uniform", RANDOM: "random"}
    text = words.get(own.kind, own.metric)
    if own.solver and (own.kind == METRIC or _several(curve, "solver")):
        text += f" + {own.solver}"
    return f"{text} + {own.method}" if _several(curve, "method") else text


def kept(point: CurvePoint) -> str:
    """Return what a point measured: accuracy with its interval, or the divergence."""
    measured = point.measured
    if not measured.labelled:
        return f"KL {measured.kl:.3g} nats from float (n = {measured.n:,}, no labels)"
    low, high = 100 * measured.low, 100 * measured.high
    return f"{100 * measured.top1:.1f} % ({low:.1f}-{high:.1f}, n = {measured.n:,})"


def difference_text(paired: Paired) -> str:
    """Return a paired difference in points, and whether it stands out of the noise."""
    side = "outside" if significant(paired) else "inside"
    return (
        f"{100 * paired.difference:+.1f} points ({100 * paired.low:+.1f} to "
        f"{100 * paired.high:+.1f}), {side} the noise"
    )


def versus_text(curve: Curve, point: CurvePoint) -> str:
    """Return the paired difference of a point to size-only; empty where there is none."""
    other = size_only(curve, point)
    if other is None or point.versus_size_only is None:
        return ""
    if other.configuration == point.configuration:
        return "the same bits"
    return difference_text(point.versus_size_only) if point.measured.labelled else ""


def _against_size_only(curve: Curve, point: CurvePoint, where: str) -> str:
    text = f"At {where}, {series_text(curve, point.series)} keeps {kept(point)}"
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
        return [f"The ranking of the {len(metrics)} metrics is inside the noise."]
    names = ", ".join(series_text(curve, p.series) for p in worse)
    return [f"Shown to be worse than the best there: {names}."]


def _uniform(curve: Curve, place: int) -> list[str]:
    sentences = []
    for i, series in enumerate(curve.series):
        if series.kind != UNIFORM:
            continue
        fits = [p for p in curve.points if p.series == i and p.place <= place]
        if not fits:
            sentences.append("No uniform bits fit.")
            continue
        dearest = max(fits, key=lambda p: p.used)
        sentences.append(
            f"Uniform bits that fit use {dearest.used / curve.limits[place]:.0%} of it and keep "
            f"{kept(dearest)}."
        )
    return sentences


def _against_random(curve: Curve, best: CurvePoint, points: Sequence[CurvePoint]) -> str:
    method = curve.series[best.series].method
    random = [
        p
        for p in _kind(curve, points, RANDOM)
        if curve.series[p.series].method == method and p.configuration != best.configuration
    ]
    if not random:
        return ""
    good = as_good(best, random)
    name = series_text(curve, best.series)
    what = f"{good} of {len(random)} random assignments {'is' if good == 1 else 'are'} as good"
    if good >= NO_HELP * len(random):
        return f"{what}: {name} does not help here."
    if (good + 1) / (len(random) + 1) <= LEVEL:
        return f"{what} as {name}."
    why = "not enough" if good else "too few were drawn"
    return f"{what}: {why} to say that {name} beats chance."


def _slack(curve: Curve, place: int, metrics: Sequence[CurvePoint]) -> list[str]:
    if not metrics:
        return []
    left = [(1 - p.used / curve.limits[place]) for p in metrics]
    low, high = 100 * min(left), 100 * max(left)
    span = f"{low:.1f} %" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} %"
    return [f"Left of the budget: {span}."]


def _overall(curve: Curve) -> list[str]:
    ahead: dict[str, list[bool]] = {}
    for point, paired in tested(curve):
        ahead.setdefault(series_text(curve, point.series), []).append(paired.low > 0)
    return [
        f"{name} is ahead of size-only outside the noise at {sum(own)} of the "
        f"{_count(len(own), 'limit')} where the two differ."
        for name, own in ahead.items()
    ]


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


def _several(curve: Curve, field: str) -> bool:
    return len({getattr(s, field) for s in curve.series if getattr(s, field)}) > 1


def _count(amount: int, what: str) -> str:
    return f"{amount} {what}" if amount == 1 else f"{amount} {what}s"
