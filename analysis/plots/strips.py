"""Weight bits of several configurations, layer by layer."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.axes import NUMBERED, layer_axis
from analysis.plots.labels import count, number, plain
from analysis.plots.names import short_names
from analysis.quant.formats import bits_of
from analysis.records import Configuration

ROW = 34


def per_layer_bits(configurations: Mapping[str, Configuration]) -> go.Figure:
    """Draw one row per configuration and one cell per layer, coloured by weight bits.

    Bits are written into the cells up to 48 layers; with more, they are on hover. A layer that a
    configuration does not hold stays empty.

    Raises:
        AnalysisError: If there is no configuration.
    """
    if not configurations:
        raise AnalysisError("A comparison needs at least one configuration, got none.")
    layers = list(
        dict.fromkeys(name for each in configurations.values() for name in each.allocation.layers)
    )
    chosen = [each.allocation.as_dict() for each in configurations.values()]
    bits = np.array(
        [
            [bits_of(row[name].weight) if name in row else np.nan for name in layers]
            for row in chosen
        ]
    )
    formats = [[row[name].text if name in row else "absent" for name in layers] for row in chosen]
    averages = [each.costs.avg_weight_bits for each in configurations.values()]
    steps = sorted({int(value) for value in bits[np.isfinite(bits)]})
    ranks = np.full(bits.shape, np.nan)
    for rank, step in enumerate(steps):
        ranks[bits == step] = rank
    rows = [
        f"{plain(name)}  {average:.2f}"
        for name, average in zip(short_names(list(configurations)), averages, strict=True)
    ]
    numbered = len(layers) <= NUMBERED
    figure = go.Figure(
        go.Heatmap(
            z=ranks,
            customdata=[
                [
                    [plain(config), plain(layer), text]
                    for layer, text in zip(layers, row, strict=True)
                ]
                for config, row in zip(configurations, formats, strict=True)
            ],
            text=[["" if np.isnan(b) else f"{b:.0f}" for b in row] for row in bits]
            if numbered
            else None,
            texttemplate="%{text}" if numbered else None,
            textfont={"size": 12},
            zmin=-0.5,
            zmax=len(steps) - 0.5,
            colorscale=_steps(len(steps)),
            colorbar=theme.colour_bar(
                "weight bits", list(range(len(steps))), [str(s) for s in steps]
            ),
            xgap=2 if numbered else 0,
            ygap=3,
            hoverongaps=False,
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}"
            "<extra></extra>",
        )
    )
    figure.update_layout(
        xaxis=layer_axis(layers) | {"ticklen": 4},
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": rows,
            "range": [len(rows) - 0.5, -0.5],
            "showgrid": False,
            "ticks": "",
            "ticklabelstandoff": 5,
            "zeroline": False,
            "title": {"text": "configuration", "standoff": 10, "font": {"size": 13}},
        },
    )
    facts = [
        "bits per weight",
        count(len(layers), "layer") + "",
        "beside each name: average bits per weight",
        "" if numbered else "point at a cell for its format",
    ]
    parts = (f"{name} {number(avg)}" for name, avg in zip(configurations, averages, strict=True))
    alt = (
        f"Weight bits in {count(len(layers), 'layer')} of "
        f"{count(len(rows), 'configuration')}; average bits: {', '.join(parts)}."
    )
    height = max(120, ROW * len(rows)) + theme.LABEL_HEIGHT + 20
    return theme.dress(figure, "Weight bits per layer", facts, height=height, alt=alt)


def _steps(number_of_steps: int) -> list[list[object]]:
    """Return a colour scale of flat steps."""
    scale: list[list[object]] = []
    for step in range(number_of_steps):
        at = step * (len(theme.CIVIDIS) - 1) / max(1, number_of_steps - 1)
        colour = theme.CIVIDIS[round(at)]
        scale += [[step / number_of_steps, colour], [(step + 1) / number_of_steps, colour]]
    return scale
