"""What initializers would have given every layer beside what it holds now."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.axes import layer_axis, mark_selected
from analysis.plots.labels import count, number, plain
from analysis.plots.log_axis import exponents, log_axis
from analysis.plots.runs import legend_above, look
from analysis.records import FloatArray

HEIGHT = 340
NOW = "now"


def expected_ranges(
    layers: Sequence[str],
    present: FloatArray,
    expected: Mapping[str, FloatArray],
    selected: str | None = None,
    *,
    what: str = "range of the weights",
) -> go.Figure:
    """Draw what initializers would have given every layer beside what it holds now.

    The custom data of every point begin with the name of its layer.

    Args:
        layers: Names in network order, (L,).
        present: What the layers hold, (L,).
        expected: By initializer, (L,) each; NaN where it gives none.
        selected: Layer to point out.
        what: Name of the quantity.

    Raises:
        AnalysisError: If nothing is expected, lengths differ, or no value is positive.
    """
    if not expected:
        raise AnalysisError("At least one initializer must be compared, got none.")
    wrong = [name for name, values in expected.items() if len(values) != len(layers)]
    if wrong or len(present) != len(layers):
        raise AnalysisError(
            f"There must be one value for each of the {len(layers)} layers, which "
            f"{', '.join(wrong) or 'the present values'} does not have."
        )
    everything = np.concatenate([present, *expected.values()])
    positive = everything[np.isfinite(everything) & (everything > 0)]
    if not positive.size:
        raise AnalysisError(f"No {what} is positive, so none can be drawn. Choose other layers.")
    places = np.arange(len(layers))
    figure = go.Figure()
    for at, (name, values) in enumerate(expected.items()):
        colour, symbol = look(at + 1)
        moved = present / np.where(values > 0, values, np.nan)
        figure.add_trace(
            go.Scatter(
                x=places,
                y=np.where(values > 0, values, np.nan),
                mode="lines+markers",
                name=plain(name),
                line={"width": 1, "color": colour, "dash": "dot"},
                marker={"size": 8, "color": colour, "symbol": symbol},
                customdata=[
                    [plain(layer), f"{number(float(now))}, {number(float(times))} times this"]
                    for layer, now, times in zip(layers, present, moved, strict=True)
                ],
                hovertemplate=f"<b>%{{customdata[0]}}</b><br>{plain(name)} %{{y:.3g}}<br>"
                "now %{customdata[1]}<extra></extra>",
            )
        )
    figure.add_trace(_present(layers, present))
    figure.update_layout(
        xaxis=layer_axis(layers) | {"ticklen": 4},
        yaxis=log_axis(exponents(positive), plain(what)),
    )
    mark_selected(figure, layers, selected)
    hidden = int((~(present > 0)).sum())
    facts = [
        count(len(layers), "layer"),
        count(len(expected), "initializer"),
        f"{count(hidden, 'layer')} without a positive value now" if hidden else "",
        "logarithmic axis",
    ]
    theme.dress(
        figure,
        f"{plain(what).capitalize()} now and from initializers",
        facts,
        height=HEIGHT + theme.LABEL_HEIGHT,
        alt=_moved(layers, present, expected, what),
    )
    return legend_above(figure, [NOW, *expected])


def _present(layers: Sequence[str], present: FloatArray) -> go.Scatter:
    """Draw what the layers hold as wide dashes."""
    return go.Scatter(
        x=np.arange(len(layers)),
        y=np.where(present > 0, present, np.nan),
        mode="markers",
        name=NOW,
        legendrank=1,
        marker={
            "symbol": "line-ew",
            "size": 18 if len(layers) <= 40 else 9,
            "line": {"width": 4, "color": theme.ACCENT},
        },
        customdata=[[plain(layer)] for layer in layers],
        hovertemplate="<b>%{customdata[0]}</b><br>now %{y:.3g}<extra></extra>",
    )


def _moved(
    layers: Sequence[str], present: FloatArray, expected: Mapping[str, FloatArray], what: str
) -> str:
    """Say for each initializer which layer lies farthest from it."""
    parts = []
    for name, values in expected.items():
        both = (present > 0) & (values > 0)
        if both.any():
            apart = np.abs(np.log(np.where(both, present, 1) / np.where(both, values, 1)))
            at = int(np.argmax(apart))
            parts.append(
                f"farthest from {name} is {layers[at]}, {number(float(present[at] / values[at]))} "
                "times that"
            )
    start = f"{what.capitalize()} of {count(len(layers), 'layer')} now and from initializers"
    return f"{start}: {'; '.join(parts)}." if parts else f"{start}, none to compare."
