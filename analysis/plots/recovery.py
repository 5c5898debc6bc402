"""What a method changed in every layer: errors of outputs before and after, weights that moved."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.axes import layer_axis, mark_selected
from analysis.plots.labels import count, number, plain
from analysis.plots.log_axis import exponents, log_axis
from analysis.records import FloatArray, Recovery

_BEFORE, _AFTER, _MOVED = "#8b93a3", theme.ACCENT, "#e08a1e"


def recovery_chart(found: Recovery, selected: str | None = None) -> go.Figure:
    """Draw every layer's error rounded to nearest and by the method, and its moved weights.

    Args:
        found: What the method changed.
        selected: Layer to point out.

    Raises:
        AnalysisError: If no layer has an error.
    """
    before, after = 100 * found.before, 100 * found.after
    both = np.concatenate([before, after])
    if not (np.isfinite(both) & (both > 0)).any():
        raise AnalysisError(
            "At least one layer's output must differ from float to be drawn, none does."
        )
    places = np.arange(len(found.layers), dtype=np.float64)
    hover = [_hover(found, at) for at in range(len(found.layers))]
    # Where no weight moved the panel of them would be empty.
    moved = bool((found.moved > 0).any())
    rows, heights = (2, [0.68, 0.32]) if moved else (1, [1.0])
    figure = make_subplots(
        rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=heights
    )
    figure.add_trace(_links(places, before, after), row=1, col=1)
    for values, colour, symbol in ((before, _BEFORE, "circle-open"), (after, _AFTER, "circle")):
        figure.add_trace(
            go.Scatter(
                x=places,
                y=np.where(values > 0, values, np.nan),
                mode="markers",
                marker={
                    "size": 9,
                    "symbol": symbol,
                    "color": colour,
                    "line": {"width": 2, "color": colour},
                },
                customdata=hover,
                hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
            ),
            row=1,
            col=1,
        )
    axis = layer_axis(found.layers) | {"ticklen": 4}
    figure.update_xaxes(axis, row=rows, col=1)
    figure.update_yaxes(
        log_axis(exponents(both), "error of the output (% of variance)", 6), row=1, col=1
    )
    if moved:
        figure.update_xaxes({**axis, "title": None, "showticklabels": False}, row=1, col=1)
        _add_moved(figure, places, 100 * found.moved, hover)
    mark_selected(figure, found.layers, selected)
    facts = [
        f"<span style='color:{_BEFORE}'>○</span> rounded to nearest",
        f"<span style='color:{_AFTER}'>●</span> {plain(found.method)}",
        "accumulated: all layers quantized",
        f"n = {found.n:,} calibration samples",
        f"<span style='color:{_MOVED}'>■</span> share of weights whose code is not the nearest"
        if moved
        else "no weight moved",
        _missing(found),
    ]
    return theme.dress(
        figure,
        f"What {plain(found.method)} changed in every layer",
        facts,
        height=470 if moved else 380,
        alt=_sentence(found),
    )


def _add_moved(
    figure: go.Figure, places: FloatArray, percent: FloatArray, hover: list[list[str]]
) -> None:
    """Draw the share of weights that moved as bars below the errors."""
    figure.add_trace(
        go.Bar(
            x=places,
            y=percent,
            width=0.7,
            marker={"color": _MOVED, "opacity": 0.8, "line": {"width": 0}},
            customdata=hover,
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        ),
        row=2,
        col=1,
    )
    figure.update_yaxes(
        title={"text": "moved (%)", "standoff": 10, "font": {"size": 13}},
        tickfont={"size": 12},
        range=[0, 1.1 * float(np.nanmax(percent))],
        nticks=4,
        row=2,
        col=1,
    )


def _links(places: FloatArray, before: FloatArray, after: FloatArray) -> go.Scatter:
    """Return a line from before to after in every layer."""
    gap = np.full(len(places), np.nan)
    ends = np.stack([np.where(v > 0, v, np.nan) for v in (before, after)] + [gap], axis=1)
    return go.Scatter(
        x=np.repeat(places, 3),
        y=ends.ravel(),
        mode="lines",
        line={"color": theme.OUTLINE, "width": 2},
        hoverinfo="skip",
    )


def _hover(found: Recovery, at: int) -> list[str]:
    before, after, gain = found.before[at], found.after[at], found.gain[at]
    moved = found.moved[at]
    lines = [
        f"error rounded to nearest {number(100 * before)} % of the variance",
        f"by {plain(found.method)} {number(100 * after)} %"
        + (f", {gain:+.1f} dB" if np.isfinite(gain) else ""),
        f"{number(100 * moved)} % of {count(int(found.weights[at]), 'weight')} moved"
        if np.isfinite(moved)
        else "weights stay float",
    ]
    return [plain(found.layers[at]), "<br>".join(lines)]


def _missing(found: Recovery) -> str:
    """Say how many layers have no place on a logarithmic axis."""
    errors = np.stack([found.before, found.after])
    exact = int((errors == 0).any(0).sum())
    constant = int(np.isnan(errors).any(0).sum())
    said = [
        f"no error to draw in {count(exact, 'layer')}" if exact else "",
        f"the output of {count(constant, 'layer')} does not vary" if constant else "",
    ]
    return ", ".join(each for each in said if each)


def _sentence(found: Recovery) -> str:
    gain = found.gain[np.isfinite(found.gain)]
    share = 0.0 if np.isnan(found.share) else found.share
    start = f"Errors of {count(len(found.layers), 'layer output')} before and after {found.method}"
    fall = f"{number(float(np.median(gain)))} dB smaller in the median" if gain.size else "equal"
    return f"{start}: {fall}; {number(100 * share)} % of the weights moved."
