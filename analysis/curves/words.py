"""How accuracy curves name limits, series and differences."""

from collections import Counter
from collections.abc import Mapping, Sequence

from analysis.records import Candidate, Curve, CurvePoint, Paired
from analysis.records.curve import METRIC, RANDOM, SIZE_ONLY, UNIFORM

_LIMITS = {
    "size": "{} × the w8a8 size",
    "bops": "{} × the w8a8 BOPs",
    "gbops": "{} billion BOPs per sample",
    "size_mib": "{} MiB",
    "stored_mib": "{} MiB with scales",
    "avg_bits": "{} bits per weight",
    "act": "{} × the w8a8 activation peak",
    "act_mib": "{} MiB of activations",
    "ace": "{} × the w8a8 arithmetic cost",
    "latency_ms": "{} ms",
}


def limit_text(curve: Curve, place: int) -> str:
    """Return a limit with its unit."""
    limit = f"{curve.limits[place]:.3g}"
    return _LIMITS.get(curve.resource, f"{curve.resource} {{}}").format(limit)


def fewer_limits(found: int, asked: int) -> str:
    """Say that there are fewer limits than were asked for, which is so where they would be equal.

    Args:
        found: How many limits there are.
        asked: How many there should be.
    """
    if found >= asked:
        return ""
    there = "There is 1 limit" if found == 1 else f"There are {found} limits"
    why = (
        "the cheapest and the dearest allocation need the same"
        if found == 1
        else "the cheapest and the dearest allocation lie so close that others would be equal"
    )
    return f"{there} instead of {asked}: {why}."


def held_text(
    pins: Mapping[str, Candidate], ties: Sequence[Sequence[str]], *, first_last: bool = True
) -> str:
    """Say what every allocation has in common: pinned and tied layers; empty if nothing unusual.

    Args:
        pins: Layers that have a given candidate, besides the first and the last.
        ties: Layers that have one candidate together.
        first_last: Whether the first and the last layer are held at w8a8, which is usual.
    """
    held = [f"`{name}` pinned to {candidate.text}" for name, candidate in pins.items()]
    held += [f"{' and '.join(f'`{name}`' for name in own)} tied" for own in ties]
    held += [] if first_last else ["first and last layer released"]
    return "; ".join(held)


def series_text(curve: Curve, series: int) -> str:
    """Name a series as shortly as tells it from the others."""
    own = curve.series[series]
    words = {SIZE_ONLY: "size-only", UNIFORM: "uniform", RANDOM: "random"}
    text = words.get(own.kind, own.metric)
    if own.solver and (own.kind == METRIC or several(curve, "solver")):
        text += f" + {own.solver}"
    return f"{text} + {own.method}" if several(curve, "method") else text


def point_text(curve: Curve, point: CurvePoint) -> str:
    """Name a point's series, a uniform allocation with its candidate: a limit may have several."""
    text = series_text(curve, point.series)
    if curve.series[point.series].kind != UNIFORM:
        return text
    # What no allocation changes is held, and says nothing of this one.
    columns = zip(*(p.allocation.candidates for p in curve.points), strict=True)
    chosen = zip(point.allocation.candidates, columns, strict=True)
    free = [own.text for own, column in chosen if len(set(column)) > 1]
    texts = free or [own.text for own in point.allocation.candidates]
    return text.replace("uniform", f"uniform {Counter(texts).most_common(1)[0][0]}", 1)


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
    return f"{signed(paired.difference)} points ({span(paired)}), {side} the noise"


def span(paired: Paired) -> str:
    """Return the 95 % interval of a paired difference in points."""
    return f"{signed(paired.low)} to {signed(paired.high)}"


def signed(share: float) -> str:
    """Return a share in points with its sign, which one decimal must not round away."""
    points = 100 * share
    if abs(points) < 1e-9:
        return "0"
    return f"{points:+.1f}" if abs(points) >= 0.05 else f"{points:+.1g}"


def versus_text(curve: Curve, point: CurvePoint) -> str:
    """Return the paired difference of a point to size-only; empty where there is none."""
    other = size_only(curve, point)
    if other is None or point.versus_size_only is None:
        return ""
    if other.configuration == point.configuration:
        return "the same bits"
    return difference_text(point.versus_size_only) if point.measured.labelled else ""


def significant(paired: Paired) -> bool:
    """Tell whether the 95 % interval of a difference leaves out zero."""
    return paired.low > 0 or paired.high < 0


def size_only(curve: Curve, point: CurvePoint) -> CurvePoint | None:
    """Return the size-only baseline of a point at its limit; the baseline has none itself."""
    series = curve.baseline(point.series)
    return None if series is None else curve.at(series, point.place)


def several(curve: Curve, field: str) -> bool:
    """Tell whether the series of a curve differ in a field."""
    return len({getattr(s, field) for s in curve.series if getattr(s, field)}) > 1
