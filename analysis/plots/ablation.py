"""What single choices of a method are worth: every variant's effect with its interval."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import count, plain
from analysis.records import Effect

_ROW, _OUTSIDE, _INSIDE = 26, theme.ACCENT, "#8b93a3"
_FAR = 4.0  # times the median, from which on an effect hides the others


def effects_chart(
    names: Sequence[str],
    effects: Sequence[Effect],
    *,
    method: str,
    what: str,
    facts: Sequence[str],
    reach: float | None = None,
) -> go.Figure:
    """Draw the difference of every variant to the base with its 95 % interval, a row each.

    Args:
        names: Of the variants, from top to bottom.
        effects: Their differences.
        method: The base.
        what: What the differences are of: "accuracy".
        facts: What else a reader must know.
        reach: Where the axis ends on both sides, in points; what lies farther is written at its
            end. None for an axis that holds everything.

    Raises:
        AnalysisError: If there is no variant.
    """
    if not effects:
        raise AnalysisError("An ablation must have measured one variant to be drawn, it has none.")
    figure = go.Figure()
    rows = np.arange(len(effects))
    outside = np.array([effect.significant for effect in effects])
    for place, effect in enumerate(effects):
        if len(effect.by_seed) > 1:
            figure.add_trace(_seeds(place, effect))
    for chosen, colour in ((outside, _OUTSIDE), (~outside, _INSIDE)):
        if chosen.any():
            at = rows[chosen]
            figure.add_trace(_points(at, [names[i] for i in at], [effects[i] for i in at], colour))
    if reach is not None:
        _farther(figure, effects, reach)
        figure.update_xaxes(range=[-reach, reach])
    figure.add_vline(x=0, line={"color": theme.TEXT, "width": 1.5, "dash": "dash"})
    figure.update_layout(
        xaxis={
            "title": {
                "text": f"difference in {what} (percentage points)",
                "standoff": 8,
                "font": {"size": 13},
            },
            "tickfont": {"size": 12},
            "zeroline": False,
        },
        yaxis={
            "tickvals": rows,
            "ticktext": [plain(name) for name in names],
            "tickfont": {"size": 12},
            "range": [len(names) - 0.4, -0.6],
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
            "ticklabelstandoff": 6,
        },
    )
    said = [
        f"<span style='color:{_OUTSIDE}'>●</span> outside the noise",
        f"<span style='color:{_INSIDE}'>●</span> inside",
        "95 % intervals, paired",
        "right of the line: better than the base",
        *facts,
    ]
    return theme.dress(
        figure,
        f"One change of {plain(method)} at a time",
        said,
        height=_ROW * len(names) + 80,
        alt=_sentence(names, effects, method, what),
    )


def closer_reach(effects: Sequence[Effect]) -> float | None:
    """Return where an axis may end so that most effects can be told apart, in points.

    None where no effect is far beyond the others.
    """
    ends = np.array([100 * max(abs(effect.low), abs(effect.high)) for effect in effects])
    if not len(ends):
        return None
    near = ends <= _FAR * np.median(ends)
    return None if near.all() else 1.2 * float(ends[near].max())


def _farther(figure: go.Figure, effects: Sequence[Effect], reach: float) -> None:
    """Write the effects that lie beyond the axis at its end."""
    for place, effect in enumerate(effects):
        points = 100 * effect.difference
        if abs(points) <= reach:
            continue
        left = points < 0
        figure.add_annotation(
            x=0 if left else 1,
            xref="x domain",
            xanchor="left" if left else "right",
            y=place,
            text=f"◀ {points:+.1f}" if left else f"{points:+.1f} ▶",
            showarrow=False,
            font={"size": 12, "color": _OUTSIDE if effect.significant else _INSIDE},
        )


def _points(
    rows: Sequence[int], names: Sequence[str], effects: Sequence[Effect], colour: str
) -> go.Scatter:
    values = 100 * np.array([effect.difference for effect in effects])
    low = 100 * np.array([effect.low for effect in effects])
    high = 100 * np.array([effect.high for effect in effects])
    return go.Scatter(
        x=values,
        y=rows,
        mode="markers",
        marker={"size": 10, "color": colour},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": high - values,
            "arrayminus": values - low,
            "color": colour,
            "thickness": 2,
            "width": 4,
        },
        customdata=[
            [plain(name), f"{a:+.1f} to {b:+.1f}"]
            for name, a, b in zip(names, low, high, strict=True)
        ],
        hovertemplate="<b>%{customdata[0]}</b><br>%{x:+.2f} points<br>95 % interval "
        "%{customdata[1]}<extra></extra>",
    )


def _seeds(place: int, effect: Effect) -> go.Scatter:
    """Return a small ring for every seed."""
    return go.Scatter(
        x=100 * effect.by_seed,
        y=np.full(len(effect.by_seed), place),
        mode="markers",
        marker={"size": 6, "symbol": "circle-open", "color": theme.TEXT},
        hovertemplate="one seed: %{x:+.2f} points<extra></extra>",
    )


def _sentence(names: Sequence[str], effects: Sequence[Effect], method: str, what: str) -> str:
    order = sorted(range(len(effects)), key=lambda i: effects[i].difference)
    worst, best = order[0], order[-1]
    inside = sum(not effect.significant for effect in effects)
    return (
        f"Difference in {what} of {count(len(effects), 'variant')} of {method}: from "
        f"{100 * effects[worst].difference:+.2f} points ({names[worst]}) to "
        f"{100 * effects[best].difference:+.2f} ({names[best]}); {inside} inside the noise."
    )
