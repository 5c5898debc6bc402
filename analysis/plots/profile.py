"""Samples of a set: one of them over the layers, all of them in a layer; layers as a thin strip."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.outliers import totals
from analysis.plots import theme
from analysis.plots.axes import layer_axis, mark_selected, outlines
from analysis.plots.colours import HIGHEST, NO_VALUE, SCALE, Coding
from analysis.plots.diverging import bar_above, make_room_above
from analysis.plots.labels import count, is_wide, layer_labels, number, plain
from analysis.plots.matrix import setting
from analysis.plots.ranking import column
from analysis.records import Candidate, FloatArray, ScoreTable

HEIGHT, STRIP = 300, 30
BAND = "rgba(128, 140, 160, 0.28)"
DOT = "#8b93a3"
OUTLIER = "#e08a1e"


def sample_profile(scores: ScoreTable, sample: int, selected: str | None = None) -> go.Figure:
    """Draw one sample's scores over the layers before the median and the spread of the set.

    Args:
        scores: With ``per_sample`` of shape (N, L).
        sample: Its number in the set.
        selected: Layer to point out.

    Raises:
        AnalysisError: If the metric gives no scores per sample, or there is no such sample.
    """
    rows = _per_sample(scores, sample)
    own, names, unit = rows[sample], scores.layers, plain(scores.per_sample_unit)
    low, median, high = np.nanquantile(rows, [0.1, 0.5, 0.9], axis=0)
    wide = is_wide(np.concatenate([own, low, high]))
    places = np.arange(len(names))
    above = [int(100 * (rows[:, at] < own[at]).mean()) for at in places]
    hover = [
        [
            plain(name),
            f"sample {sample}: {number(own[at])} {unit}, above {above[at]} % of the set<br>"
            f"median {number(median[at])}, 10 to 90 %: {number(low[at])} to {number(high[at])}",
        ]
        for at, name in enumerate(names)
    ]
    figure = go.Figure(
        [
            go.Bar(
                x=places,
                y=high - low,
                base=low.tolist(),
                width=0.86,
                marker={"color": BAND, "line": {"width": 0}},
                hoverinfo="skip",
            ),
            go.Bar(
                x=places,
                y=own,
                width=0.42,
                customdata=hover,
                marker={"color": theme.ACCENT, "opacity": 0.85},
                hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
            ),
            # Dashes as error bars: these are as wide as the band at any width of the page.
            go.Scatter(
                x=places,
                y=median,
                mode="markers",
                marker={"size": 1, "color": theme.TEXT},
                error_x={
                    "type": "constant",
                    "value": 0.43,
                    "color": theme.TEXT,
                    "thickness": 2.5,
                    "width": 0,
                },
                hoverinfo="skip",
            ),
        ]
    )
    figure.update_layout(
        barmode="overlay",
        xaxis=layer_axis(names) | {"ticklen": 4},
        yaxis=_score_axis(f"score ({unit})", wide),
    )
    if wide:
        ends = np.log10(np.concatenate([own, low, high]))
        gap = 0.06 * float(np.ptp(ends))
        figure.update_yaxes(range=[float(ends.min()) - gap, float(ends.max()) + gap])
    mark_selected(figure, names, selected)
    harder = (totals(rows) < totals(rows)[sample]).mean()
    title = f"{plain(scores.title)} of sample {sample}"
    facts = [
        unit,
        "exact" if scores.exact else "estimated",
        *setting(scores),
        f"over all layers harder than {100 * harder:.0f} % of the set",
        "grey: 10 to 90 % of the set, dash: its median",
        "logarithmic axis" if wide else "",
    ]
    unusual = int(((own < low) | (own > high)).sum())
    alt = (
        f"{title} over {count(len(names), 'layer')}: outside the middle 80 % of the set in "
        f"{unusual}, largest in {names[int(np.nanargmax(own))]} with {number(np.nanmax(own))} "
        f"{scores.per_sample_unit}."
    )
    return theme.dress(figure, title, facts, height=HEIGHT + theme.LABEL_HEIGHT, alt=alt)


def sample_strip(
    scores: ScoreTable,
    layer: str | None = None,
    sample: int | None = None,
    outliers: Sequence[int] = (),
) -> go.Figure:
    """Draw the scores of all samples as dots, the largest first.

    The custom data of every dot begin with its sample's number.

    Args:
        scores: With ``per_sample`` of shape (N, L).
        layer: In which layer; None for all layers, each relative to its mean.
        sample: The sample to point out.
        outliers: Numbers of samples to mark.

    Raises:
        AnalysisError: If the metric gives no scores per sample, or there is no such sample or
            layer.
    """
    rows = _per_sample(scores, sample)
    if layer is not None and layer not in scores.layers:
        raise AnalysisError(
            f"`{scores.metric}` has no score of layer `{layer}`. Choose a layer of its table."
        )
    values = totals(rows) if layer is None else rows[:, scores.layers.index(layer)]
    unit = "relative to the mean" if layer is None else plain(scores.per_sample_unit)
    order = np.argsort(-values, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    wide = is_wide(values)
    marked = [each for each in outliers if 0 <= each < len(values)]
    usual = order[~np.isin(order, marked)]
    # Which samples, how they look, what is written beside them.
    groups = [(usual, {"size": 6, "color": DOT}, "")]
    if marked:
        look = {"size": 9, "color": OUTLIER, "symbol": "diamond"}
        groups.append((np.array(marked), look, ""))
    if sample is not None:
        ring = {"width": 2.5, "color": theme.ACCENT}
        look = {"size": 15, "color": theme.TRANSPARENT, "line": ring}
        groups.append((np.array([sample]), look, f"  sample {sample}  "))
    figure = go.Figure()
    for samples, look, text in groups:
        figure.add_trace(
            go.Scatter(
                x=place[samples],
                y=values[samples],
                # Lists, because a click must give a list back.
                customdata=samples[:, None].tolist(),
                mode="markers+text" if text else "markers",
                text=text or None,
                textposition="top right"
                if place[samples[:1]].sum() < len(values) / 2
                else "top left",
                textfont={"size": 13, "color": theme.ACCENT},
                cliponaxis=False,
                marker=look,
                hovertemplate="<b>sample %{customdata[0]}</b><br>%{y:.4g} "
                f"{unit}<extra></extra>",
            )
        )
    figure.add_hline(
        y=float(np.nanmedian(values)),
        line={"color": theme.OUTLINE, "width": 1.5, "dash": "dash"},
        layer="below",
    )
    figure.update_layout(
        xaxis={
            "title": {"text": "samples, largest first", "standoff": 8, "font": {"size": 13}},
            "range": [-0.02 * len(values) - 0.5, 1.02 * len(values) - 0.5],
            "showgrid": False,
            "zeroline": False,
            "tickfont": {"size": 12},
        },
        yaxis=_score_axis(f"score ({unit})", wide),
    )
    where = "over all layers" if layer is None else f"in {plain(layer)}"
    title = f"{plain(scores.title)} of the samples {where}"
    facts = [
        "relative to each layer's mean" if layer is None else unit,
        "exact" if scores.exact else "estimated",
        *setting(scores),
        "dashed: median",
        f"◆ {count(len(marked), 'outlier')}" if marked else "",
        "logarithmic axis" if wide else "",
    ]
    alt = (
        f"{title}: {count(len(values), 'sample')} from {number(np.nanmin(values))} to "
        f"{number(np.nanmax(values))}, median {number(float(np.nanmedian(values)))} {unit}; "
        f"largest for sample {order[0]}."
    )
    return theme.dress(figure, title, facts, height=HEIGHT, alt=alt)


def network_strip(
    scores: ScoreTable, candidate: Candidate | None, selected: str | None = None
) -> go.Figure:
    """Draw the layers as a thin strip of cells in network order, coloured by score.

    Args:
        scores: Values of shape (L,) or (L, C).
        candidate: Which of the C candidates; None for a metric without candidates.
        selected: Layer to point out.

    Raises:
        AnalysisError: If the metric needs a candidate, or has none.
        UnknownNameError: If the candidate was not scored.
    """
    values, _ = column(scores, candidate)
    names, unit = scores.layers, plain(scores.unit)
    coding = Coding.of(values)
    # Bars of one height, because they can be outlined one by one.
    figure = go.Figure(
        go.Bar(
            x=np.arange(len(names)),
            y=np.ones(len(names)),
            customdata=[
                [plain(name), number(value)] for name, value in zip(names, values, strict=True)
            ],
            marker={
                "color": np.nan_to_num(coding.position(values), nan=NO_VALUE),
                "colorscale": SCALE,
                "cmin": NO_VALUE,
                "cmax": HIGHEST,
                "line": outlines(names, selected),
                "showscale": True,
                "colorbar": bar_above(*coding.ticks()),
            },
            hovertemplate=f"<b>%{{customdata[0]}}</b><br>%{{customdata[1]}} {unit}<extra></extra>",
        )
    )
    figure.update_layout(
        bargap=0.06 if len(names) < 100 else 0,
        xaxis=layer_axis(names) | {"ticklen": 4},
        yaxis={"visible": False, "range": [0, 1], "fixedrange": True},
        # Plotly would take the room for a higher plot from the labels.
        minreducedheight=STRIP,
    )
    title = plain(scores.title) + (f" at {candidate.text}" if candidate else "")
    facts = [unit, *setting(scores), "logarithmic colours" if coding.logarithmic else ""]
    alt = f"{title}: strip of {count(len(names), 'layer')}"
    if np.isfinite(values).any():
        worst = int(np.nanargmax(values))
        alt += f", largest {number(values[worst])} {scores.unit} in {names[worst]}"
    longest = max(map(len, layer_labels(names)), default=0)
    height = STRIP + max(theme.LABEL_HEIGHT, 48 + 5 * longest)
    figure = theme.dress(figure, title, facts, height=height, alt=f"{alt}.")
    return make_room_above(figure, unit)


def _per_sample(scores: ScoreTable, sample: int | None) -> FloatArray:
    """Return the scores per sample (N, L) after checking that there are such."""
    if scores.per_sample is None:
        raise AnalysisError(
            f"Samples are drawn by their scores, and `{scores.metric}` gives none per sample. "
            "Choose a metric that does, such as `hessian_attention`."
        )
    if sample is not None and not 0 <= sample < len(scores.per_sample):
        raise AnalysisError(
            f"The sample must be a number from 0 to {len(scores.per_sample) - 1}, got {sample}."
        )
    return scores.per_sample


def _score_axis(title: str, wide: bool) -> dict[str, object]:
    """Return the vertical axis."""
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": 13}},
        "tickfont": {"size": 12},
        "type": "log" if wide else "linear",
        "exponentformat": "power",
        "dtick": 1 if wide else None,
    }
