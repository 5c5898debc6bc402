"""Every range of one tensor: what clipping less or more of it costs."""

from collections.abc import Sequence
from math import isfinite, log10

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.clip_choices import CHOICE, HEIGHT, draw_choices, shares_of
from analysis.plots.decibels import decibels, in_sentence, sqnr, without_noise
from analysis.plots.labels import count, number, plain
from analysis.plots.log_axis import exponents, log_axis
from analysis.plots.runs import key
from analysis.records import FloatArray, GridError, RangeExploration

ROUNDING, CLIPPING = "#22a37a", "#c9599f"
# An optimum farther out than this many times the largest magnitude is said, not drawn.
FARTHEST = 4.0
# Where more than this share of the signal is lost, the curve is left of the axis.
HOPELESS = 0.5


def clip_curve(exploration: RangeExploration) -> go.Figure:
    """Draw the error of a tensor on a grid over the share of its range that is kept.

    Errors are over the mean squared value, so that their inverse is the SQNR. The least one of the
    curve is a ring, what the estimators choose are diamonds with their titles. On the curve all
    channels keep the same share, and shares are tried in steps: choices on a grid per channel lie
    off it, and a fine search may fall below it. The best of all is said. Dashed lines are the best
    shares of a Gauss and of a Laplace distribution.

    Args:
        exploration: The curve. An estimator stands at the mean over the channels of the larger end
            of its range over that of min-max's, which must be among them; one that failed is named.

    Raises:
        AnalysisError: If the tensor holds nothing but zeros, or estimators come without min-max.
    """
    if not exploration.signal > 0:
        raise AnalysisError(
            f"A relative error needs values other than zero, and `{exploration.title}` has none. "
            "Choose another tensor."
        )
    exploration = without_noise(exploration)
    rounding, clipping = (
        each / exploration.signal for each in (exploration.rounding, exploration.clipping)
    )
    total = rounding + clipping
    shares = shares_of(exploration)
    errors = np.array([each.error / exploration.signal for each in exploration.estimators])
    kept = total <= HOPELESS if (total <= HOPELESS).any() else np.full(total.shape, True)
    across = _across(exploration, exploration.share[kept], shares)
    every = np.concatenate([total[kept], errors])
    # The room below is for titles of estimators.
    up = exponents(every, 0.3, 0.12) if (every > 0).any() else None
    figure = go.Figure(
        [
            _line(exploration.share, rounding, "rounding", ROUNDING),
            _line(exploration.share, clipping, "clipping", CLIPPING),
            _line(exploration.share, total, "error", theme.ACCENT),
        ]
    )
    figure.update_layout(
        xaxis=log_axis(across, "clip limit over the largest magnitude", 9), yaxis=_error_axis(up)
    )
    optima = _optima(figure, exploration, across)
    best = exploration.best
    least = in_sentence(decibels(float(total[best]), 1.0))
    chosen = _best_choice(exploration)
    if up is not None:
        figure.add_trace(_ring(float(exploration.share[best]), float(total[best])))
        draw_choices(figure, exploration, shares, across, up, _within(exploration))
    facts = [
        plain(exploration.format),
        "symmetric" if exploration.symmetric else "affine",
        f"{exploration.levels:,} levels",
        "a range per channel" if exploration.per_channel else "one range",
        key(theme.ACCENT, "error"),
        key(ROUNDING, "rounding"),
        key(CLIPPING, "clipping"),
        f"○ least error of the curve at {number(float(exploration.share[best]))}: {least}",
        f"best range: {plain(chosen.title)}, {in_sentence(sqnr(chosen))}" if chosen else "",
        key(CHOICE, count(int(np.isfinite(errors).sum()), "range estimator"))
        if len(errors)
        else "",
        *(
            plain(each.title)
            for each, error in zip(exploration.estimators, errors, strict=True)
            if not isfinite(error)
        ),
        *optima,
        "no error at any range" if up is None else "logarithmic axes",
        "begins where half of the signal is kept" if not kept.all() else "",
    ]
    figure = theme.dress(
        figure,
        f"Clipping and error of {plain(exploration.title)}",
        facts,
        height=int(HEIGHT) + 70,
        alt=_sentence(exploration, least, chosen),
    )
    # The optima are named above the plot.
    return figure.update_layout(
        height=figure.layout.height + 40, margin_t=figure.layout.margin.t + 40
    )


def _line(share: FloatArray, values: FloatArray, name: str, colour: str) -> go.Scatter:
    """Draw one error; zeros have no place on a logarithmic axis."""
    whole = name == "error"
    shown = np.where(values > 0, values, np.nan)
    return go.Scatter(
        x=share,
        y=shown,
        mode="lines",
        line={
            "color": colour,
            "width": 3 if whole else 1.6,
            "dash": "solid" if whole else "dot",
        },
        customdata=-10 * np.log10(shown) if whole else None,
        name=name,
        hovertemplate=f"limit %{{x:.3g}}<br>{name} %{{y:.3g}}"
        + ("<br>SQNR %{customdata:.1f} dB" if whole else "")
        + "<extra></extra>",
    )


def _ring(share: float, error: float) -> go.Scatter:
    """Mark the least error of the curve."""
    return go.Scatter(
        x=[share],
        y=[error],
        mode="markers",
        marker={
            "size": 17,
            "color": theme.TRANSPARENT,
            "line": {"width": 2.5, "color": theme.ACCENT},
        },
        hoverinfo="skip",
    )


def _optima(figure: go.Figure, exploration: RangeExploration, across: Sequence[float]) -> list[str]:
    """Draw the analytic optima as dashed lines and return what must be said of them."""
    said = []
    for level, (name, share) in enumerate(_analytic(exploration)):
        if share > FARTHEST:
            said.append(f"{name} optimum at {number(share)}, beyond the axis")
            continue
        figure.add_shape(
            type="line",
            **{"x0": share, "x1": share, "xref": "x", "y0": 0, "y1": 1, "yref": "paper"},
            line={"color": theme.TEXT, "width": 1.6, "dash": "dash"},
            layer="below",
        )
        figure.add_annotation(
            text=f"{name} {number(share)}",
            **{"x": log10(share), "xref": "x", "y": 1, "yref": "paper", "yanchor": "bottom"},
            xanchor="left" if log10(share) - across[0] < 0.7 * (across[1] - across[0]) else "right",
            yshift=18 * level,
            showarrow=False,
            font={"size": 12},
        )
    return said


def _analytic(exploration: RangeExploration) -> list[tuple[str, float]]:
    """Return the optima of the two distributions that have one."""
    both = (("Gauss", exploration.gauss), ("Laplace", exploration.laplace))
    return [(name, share) for name, share in both if isfinite(share) and share > 0]


def _within(exploration: RangeExploration) -> list[float]:
    """Return the analytic optima that are drawn."""
    return [share for _, share in _analytic(exploration) if share <= FARTHEST]


def _across(exploration: RangeExploration, curve: FloatArray, shares: FloatArray) -> list[float]:
    """Return the exponents between which the shares of a curve and all others lie."""
    return exponents(np.array([*curve, *shares, *_within(exploration)]), 0.03, 0.03)


def _error_axis(ends: Sequence[float] | None) -> dict[str, object]:
    """Return the error axis; linear where there is no error at all."""
    title = "mean squared error / mean square"
    if ends is None:
        return {"title": {"text": title, "standoff": 10, "font": {"size": 13}}}
    return log_axis(ends, title)


def _best_choice(exploration: RangeExploration) -> GridError | None:
    """Return the estimator with the least error, None where none has any."""
    known = [each for each in exploration.estimators if isfinite(each.error)]
    return min(known, key=lambda each: each.error, default=None)


def _sentence(exploration: RangeExploration, least: str, chosen: GridError | None) -> str:
    """Say where the error is least and which estimator is best."""
    start = (
        f"Error of {exploration.title} over its clip limit: least on the curve at "
        f"{number(float(exploration.share[exploration.best]))} of the largest magnitude, {least}"
    )
    if chosen is None:
        return f"{start}."
    return f"{start}; best estimator {chosen.title}, {in_sentence(sqnr(chosen))}."
