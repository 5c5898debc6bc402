"""What the range estimators choose, as points beside a curve of clipping and error."""

from collections.abc import Sequence
from itertools import islice, permutations
from math import hypot, log10

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.decibels import in_sentence, sqnr
from analysis.plots.labels import number, plain
from analysis.plots.placement import Box, place_labels
from analysis.records import FloatArray, RangeExploration

WIDTH, HEIGHT = 700.0, 360.0
CHOICE = "#e08a1e"
REFERENCE = "min_max"
# Choices closer than this many pixels share a label.
_TOGETHER = 5.0
# Orders of placing labels that are tried: all for up to four.
_ORDERS = 24


def shares_of(exploration: RangeExploration) -> FloatArray:
    """Return where the estimators stand: larger end of their range over min-max's, mean, (E,).

    NaN for an estimator that failed.

    Raises:
        AnalysisError: If there are estimators, but not min-max.
    """
    if not exploration.estimators:
        return np.zeros(0)
    full = next((each for each in exploration.estimators if each.estimator == REFERENCE), None)
    if full is None:
        raise AnalysisError(
            f"Choices of estimators are placed beside `{REFERENCE}`, which is not among "
            f"{', '.join(f'`{each.estimator}`' for each in exploration.estimators)}. "
            f"Explore `{REFERENCE}` too."
        )
    reach = [np.maximum(-each.low, each.high) for each in exploration.estimators]
    live = np.maximum(-full.low, full.high) > 0
    whole = np.maximum(-full.low, full.high)[live]
    return np.array(
        [float(np.mean(each[live] / whole)) if live.any() else np.nan for each in reach]
    )


def draw_choices(
    figure: go.Figure,
    exploration: RangeExploration,
    shares: FloatArray,
    across: Sequence[float],
    up: Sequence[float],
    upright: Sequence[float],
) -> None:
    """Draw what the estimators choose, with titles that overlap neither each other nor the curve.

    Choices without an error above zero have no place on the axis and are left out.

    Args:
        figure: Changed in place.
        exploration: With its estimators.
        shares: Where they stand, from :func:`shares_of`.
        across: Exponents at the ends of the horizontal axis.
        up: Exponents at the ends of the vertical axis.
        upright: Shares at which upright lines are drawn.
    """
    errors = np.array([each.error / exploration.signal for each in exploration.estimators])
    known = [at for at in range(len(errors)) if errors[at] > 0]
    if not known:
        return
    figure.add_trace(
        go.Scatter(
            x=shares[known],
            y=errors[known],
            mode="markers",
            marker={
                "symbol": "diamond",
                "size": 11,
                "color": CHOICE,
                "line": {"width": 1, "color": theme.OUTLINE},
            },
            customdata=[
                [
                    plain(each.title),
                    f"limit {number(float(shares[at]))}, {number(100 * each.clipped)} % clipped"
                    f"<br>rounding {number(each.rounding / exploration.signal)}, "
                    f"clipping {number(each.clipping / exploration.signal)}"
                    f"<br>{in_sentence(sqnr(each))}",
                ]
                for at in known
                for each in [exploration.estimators[at]]
            ],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        )
    )

    def pixels(share: float, error: float) -> tuple[float, float]:
        right = (log10(share) - across[0]) / (across[1] - across[0])
        return WIDTH * right, HEIGHT * (up[1] - log10(error)) / (up[1] - up[0])

    groups: list[tuple[int, tuple[float, float], list[str]]] = []
    for at in known:
        place = pixels(float(shares[at]), float(errors[at]))
        near = [each for each in groups if max(abs(np.subtract(each[1], place))) < _TOGETHER]
        if near:
            near[0][2].append(exploration.estimators[at].title)
        else:
            groups.append((at, place, [exploration.estimators[at].title]))
    rounding, clipping = (
        each / exploration.signal for each in (exploration.rounding, exploration.clipping)
    )
    lines = [
        pixels(float(share), float(error))
        for errors_ in (rounding, clipping, rounding + clipping)
        for share, error in zip(exploration.share, errors_, strict=True)
        if error > 0
    ]
    obstacles: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in lines]
    obstacles += [(x - 3, 0, x + 3, HEIGHT) for x in (pixels(each, 1.0)[0] for each in upright)]
    texts = [", ".join(titles) for _, _, titles in groups]
    offsets = _placed([place for _, place, _ in groups], texts, obstacles)
    for (at, _, _), text, (aside, below) in zip(groups, texts, offsets, strict=True):
        figure.add_annotation(
            # Annotations on logarithmic axes take exponents.
            x=log10(shares[at]),
            y=log10(errors[at]),
            text=plain(text),
            ax=aside,
            ay=below,
            arrowhead=0,
            arrowwidth=1,
            arrowcolor=theme.OUTLINE,
            standoff=7,
            font={"size": 12},
        )


def _placed(
    points: Sequence[tuple[float, float]], texts: Sequence[str], obstacles: Sequence[Box]
) -> list[tuple[float, float]]:
    """Return the labels' offsets, those with the shortest lines of all orders of placing them."""
    found: list[tuple[float, list[tuple[float, float]]]] = []
    for order in islice(permutations(range(len(points))), _ORDERS):
        chosen = [points[at] for at in order]
        offsets = place_labels(chosen, [texts[at] for at in order], WIDTH, HEIGHT, obstacles)
        back = [offsets[order.index(at)] for at in range(len(points))]
        found.append((sum(hypot(*offset) for offset in back), back))
    return min(found)[1]
