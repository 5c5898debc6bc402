"""Measured configurations: accuracy against size, and their bits side by side."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import count, number, plain
from analysis.plots.names import short_names
from analysis.plots.placement import place_labels
from analysis.plots.runs import COLOURS
from analysis.records import Allocation, Configuration, Evaluation

WIDTH, HEIGHT = 790.0, 360.0
# Between the marks of configurations of one size, in pixels.
_APART = 13.0


@dataclass(frozen=True, slots=True)
class _Point:
    """A configuration as it is drawn; percentages, NaN where there is no interval.

    ``aside`` is how many pixels to the right of its size it is drawn.
    """

    name: str
    method: str
    size: float
    value: float
    low: float
    high: float
    uniform: bool
    details: str
    aside: float = 0.0


def accuracy_against_size(
    configurations: Mapping[str, Configuration],
    float_: Evaluation,
    *,
    methods: Mapping[str, str] | None = None,
    lowest: float | None = None,
) -> go.Figure:
    """Draw measured top-1 with its 95 % Wilson interval over the size of each configuration.

    Each method has a colour; uniform bits, the compulsory baseline, are open squares, and
    configurations of one size stand side by side. Without labels the agreement with the float
    predictions is drawn instead, named as such and without an interval.

    Args:
        configurations: By the name to write beside the point.
        float_: The float network on the same evaluation set.
        methods: What each configuration was quantized by, by its name; their methods' names if
            None.
        lowest: Percentage at which the axis begins, to look closer at the top; configurations
            below it are named in the line under the title. None shows all.

    Raises:
        AnalysisError: If there is no configuration.
    """
    if not configurations:
        raise AnalysisError("A comparison needs at least one measured configuration, got none.")
    labelled = float_.labelled
    spelled = methods or {name: each.method for name, each in configurations.items()}
    points = [_point(name, spelled[name], each, labelled) for name, each in configurations.items()]
    drawn = _side_by_side([point for point in points if isfinite(point.value)])
    horizontal = _horizontal(drawn)
    figure = go.Figure()
    for at, method in enumerate(dict.fromkeys(point.method for point in drawn)):
        group = [point for point in drawn if point.method == method]
        figure.add_trace(_markers(group, method, COLOURS[at % len(COLOURS)], horizontal))
    reference = 100.0 * (float_.top1 if labelled else 1.0)
    _float_line(figure, reference, float_ if labelled else None)
    what = "top-1 accuracy" if labelled else "agreement with float predictions"
    vertical = _vertical(drawn, reference, lowest)
    figure.update_layout(
        xaxis={
            "title": {"text": "size (MiB)", "standoff": 8, "font": {"size": 13}},
            "range": horizontal,
        },
        yaxis={
            "title": {"text": f"{what} (%)", "standoff": 10, "font": {"size": 13}},
            "range": vertical,
        },
    )
    _write_names(figure, drawn, horizontal, vertical, reference)
    sizes = sorted({each.measured.n for each in configurations.values()} | {float_.n})
    below = [p for p in drawn if lowest is not None and p.value < vertical[0]]
    missing = [point.name for point in points if not isfinite(point.value)]
    facts = [
        "%",
        "measured",
        f"n = {', '.join(f'{n:,}' for n in sizes)}",
        "95 % Wilson intervals" if labelled else "no labels, so no intervals",
        "□ uniform bits, ends may differ" if any(p.uniform for p in drawn) else "",
        "● mixed precision" if any(not p.uniform for p in drawn) else "",
        "equal sizes stand side by side" if any(p.aside for p in drawn) else "",
        f"below the axis: {', '.join(f'{plain(p.name)} {p.value:.1f} %' for p in below)}"
        if below
        else "",
        f"not measured: {', '.join(map(plain, missing))}" if missing else "",
    ]
    figure = theme.dress(
        figure,
        f"{what.capitalize()} against size",
        facts,
        height=int(HEIGHT) + 100,
        alt=_sentence(drawn, what, reference),
    )
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.19, "yanchor": "top", "font": {"size": 12}},
    )
    return figure


def is_uniform(allocation: Allocation) -> bool:
    """Say whether all layers but perhaps the first and the last have the same candidate."""
    inner = allocation.candidates[1:-1] or allocation.candidates
    return len(Counter(inner)) == 1


def _point(name: str, method: str, configuration: Configuration, labelled: bool) -> _Point:
    measured, costs = configuration.measured, configuration.costs
    versus = measured.versus_float
    if labelled:
        value, low, high = 100 * measured.top1, 100 * measured.low, 100 * measured.high
        interval = f"<br>95 % interval {low:.2f} to {high:.2f} %"
    else:
        value = 100 * versus.agreement if versus else float("nan")
        low = high = float("nan")
        interval = ""
    details = (
        f"{interval}<br>n = {measured.n:,}<br>{number(costs.bops)} BOPs"
        f"<br>KL from float {number(measured.kl)} nats<br>{plain(method)}"
    )
    uniform = is_uniform(configuration.allocation)
    return _Point(name, method, costs.size_mib, value, low, high, uniform, details)


def _side_by_side(points: list[_Point]) -> list[_Point]:
    """Move points of one size apart, in their order."""
    of_size = Counter(point.size for point in points)
    seen: Counter[float] = Counter()
    moved = []
    for point in points:
        aside = _APART * (seen[point.size] - (of_size[point.size] - 1) / 2)
        moved.append(replace(point, aside=aside))
        seen[point.size] += 1
    return moved


def _markers(points: list[_Point], method: str, colour: str, horizontal: list[float]) -> go.Scatter:
    values = np.array([p.value for p in points])
    above = np.array([p.high for p in points]) - values
    below = values - np.array([p.low for p in points])
    pixel = (horizontal[1] - horizontal[0]) / WIDTH
    return go.Scatter(
        x=np.array([p.size + p.aside * pixel for p in points]),
        y=values,
        mode="markers",
        name=plain(method),
        marker={
            "symbol": ["square-open" if p.uniform else "circle" for p in points],
            "size": 11,
            "color": colour,
            "line": {"width": 2, "color": colour},
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.nan_to_num(above),
            "arrayminus": np.nan_to_num(below),
            "color": colour,
            "thickness": 1.2,
            "width": 4,
        },
        customdata=[[plain(p.name), p.details, p.size] for p in points],
        hovertemplate="<b>%{customdata[0]}</b><br>%{y:.2f} %<br>%{customdata[2]:.4g} MiB"
        "%{customdata[1]}<extra></extra>",
    )


def _float_line(figure: go.Figure, value: float, measured: Evaluation | None) -> None:
    """Draw the float network as a line across, with the band of its interval."""
    if not isfinite(value):
        return
    if measured is not None:
        figure.add_hrect(
            y0=100 * measured.low,
            y1=100 * measured.high,
            fillcolor="rgba(128, 140, 160, 0.16)",
            line_width=0,
            layer="below",
        )
    figure.add_hline(y=value, line={"color": theme.TEXT, "width": 1.5, "dash": "dash"})
    figure.add_trace(
        go.Scatter(
            x=[None],
            y=[None],
            mode="lines",
            name=f"float {value:.2f} %" + (" with its interval" if measured else ""),
            line={"color": theme.TEXT, "width": 1.5, "dash": "dash"},
            hoverinfo="skip",
        )
    )


def _vertical(points: list[_Point], reference: float, lowest: float | None) -> list[float]:
    """Return the limits of the axis in %, leaving room for names above the highest point."""
    ends = [end for p in points for end in (p.value, p.low, p.high) if isfinite(end)]
    ends += [reference] if isfinite(reference) else []
    low, high = (min(ends), max(ends)) if ends else (0.0, 100.0)
    if lowest is not None:
        low = min(lowest, high - 0.1)
    span = max(high - low, 1.0)
    return [low - (0.0 if lowest is not None else 0.08 * span), high + 0.2 * span]


def _horizontal(points: list[_Point]) -> list[float]:
    """Return the limits of the size axis in MiB."""
    sizes = [p.size for p in points]
    low, high = (min(sizes), max(sizes)) if sizes else (0.0, 1.0)
    span = (high - low) or high or 1.0
    return [low - 0.12 * span, high + 0.12 * span]


def _write_names(
    figure: go.Figure, points: list[_Point], across: list[float], up: list[float], reference: float
) -> None:
    """Write names beside the points that are inside the axes.

    The colour says the method; what is left of the names of configurations of one size is written
    once where it is the same, beside the highest of them.
    """
    shown = [p for p in points if p.value >= up[0]]
    pixel = (across[1] - across[0]) / WIDTH

    def right(point: _Point) -> float:
        return (point.size - across[0]) / pixel + point.aside

    def down(value: float) -> float:
        return HEIGHT * (up[1] - value) / (up[1] - up[0])

    bars = [
        (right(p) - 4, down(p.high), right(p) + 4, down(p.low)) for p in shown if isfinite(p.low)
    ]
    bars += [(right(p) - 8, down(p.value) - 8, right(p) + 8, down(p.value) + 8) for p in shown]
    if isfinite(reference):
        bars.append((0.0, down(reference) - 2, WIDTH, down(reference) + 2))
    rest = [_without_method(p) for p in shown]
    short = dict(zip(dict.fromkeys(rest), short_names(list(dict.fromkeys(rest))), strict=True))
    highest: dict[tuple[str, float], _Point] = {}
    for point, name in sorted(zip(shown, rest, strict=True), key=lambda pair: -pair[0].value):
        highest.setdefault((name, point.size), point)
    texts = [short[name] for name, _ in highest]
    named = list(highest.values())
    places = [(right(p), down(p.value)) for p in named]
    offsets = place_labels(places, texts, WIDTH, HEIGHT, bars)
    for point, text, (aside, below) in zip(named, texts, offsets, strict=True):
        figure.add_annotation(
            x=point.size + point.aside * pixel,
            y=point.value,
            text=plain(text),
            ax=aside,
            ay=below,
            arrowhead=0,
            arrowwidth=1,
            arrowcolor=theme.OUTLINE,
            standoff=7,
            font={"size": 12},
        )


def _without_method(point: _Point) -> str:
    """Return a configuration's name without the word that its colour says."""
    parts = point.name.split(", ")
    left = [part for part in parts if part != point.method]
    return ", ".join(left or parts)


def _sentence(points: list[_Point], what: str, reference: float) -> str:
    """Name the best and the smallest configuration."""
    if not points:
        return "No configuration was measured."
    best = max(points, key=lambda p: p.value)
    small = min(points, key=lambda p: p.size)
    return (
        f"{what.capitalize()} against size of {count(len(points), 'configuration')}: "
        f"float {reference:.2f} %; best {best.name} with {best.value:.2f} % "
        f"at {number(best.size)} MiB; smallest {small.name} with {small.value:.2f} % "
        f"at {number(small.size)} MiB."
    )
