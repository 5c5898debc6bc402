"""Ranks of the layers by several metrics, one below the other."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from scipy.stats import rankdata

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.axes import layer_axis
from analysis.plots.colours import EDGE, HIGHEST, LOWEST, NO_VALUE
from analysis.plots.labels import count, number, plain
from analysis.plots.ranking import column
from analysis.records import Candidate, FloatArray, ScoreTable

ROW = 34
NUMBERED = 36
LONGEST = 30

# Cells without a rank are fainter than any colour of the scale.
EMPTY = "rgba(128, 140, 160, 0.2)"
SCALE: list[tuple[float, str]] = [
    (0.0, EMPTY),
    (EDGE, EMPTY),
    *((EDGE + (1 - EDGE) * step, colour) for step, colour in theme.SCALE),
]


def ranks(values: FloatArray) -> FloatArray:
    """Rank scores (L,) from 1, the largest; equal scores share the mean of their ranks.

    What is not finite has no rank: NaN.
    """
    found = np.full(values.shape, np.nan)
    known = np.isfinite(values)
    found[known] = rankdata(-values[known], method="average")
    return found


def rank_table(
    tables: Sequence[ScoreTable],
    candidate: Candidate | None = None,
    selected: str | None = None,
) -> go.Figure:
    """Draw the rank of every layer by every metric, the most sensitive layer brightest.

    A metric that scores layers alone is ranked by its only column. A layer that a metric skipped
    is grey, and so is a row without a ranking: all scores equal, or the candidate not scored.

    Args:
        tables: One row each, of one protocol.
        candidate: Which candidate to rank at; None where no metric scores candidates.
        selected: Layer whose column is outlined.

    Raises:
        AnalysisError: If there is no table, if the tables mix protocols, or if a metric scores
            candidates and none was chosen.
    """
    protocols = sorted({table.protocol for table in tables})
    if len(protocols) != 1:
        raise AnalysisError(
            "Ranks are compared within one protocol, got "
            + (" and ".join(f"`{each}`" for each in protocols) or "no score table")
            + ". Choose score tables of the same protocol."
        )
    names = _network_order(tables)
    found = np.full((len(tables), len(names)), np.nan)
    hover = [[f"<b>{plain(name)}</b><br>skipped" for name in names] for _ in tables]
    remarks = []
    for row, table in enumerate(tables):
        values, remark = _column(table, candidate)
        remarks.append(remark)
        if values is None:
            hover[row] = [f"<b>{plain(name)}</b><br>{remark}" for name in names]
            continue
        own = ranks(values)
        for layer, value, rank in zip(table.layers, values, own, strict=True):
            place = names.index(layer)
            text = f"no ranking, score {number(value)}" if remark else _rank_text(rank, value, own)
            hover[row][place] = f"<b>{plain(layer)}</b><br>{text} {plain(table.unit)}"
            found[row, place] = np.nan if remark else rank
    figure = _cells(found, hover, [plain(table.title) for table in tables])
    figure.update_layout(
        xaxis=layer_axis(names) | {"range": [-0.5, len(names) - 0.5], "ticklen": 4},
        yaxis={
            "tickvals": list(range(len(tables))),
            "ticktext": _row_labels(tables),
            "range": [len(tables) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
            "ticklabelstandoff": 5,
        },
    )
    for row, remark in enumerate(remarks):
        if remark:
            figure.add_annotation(
                text=remark,
                x=(len(names) - 1) / 2,
                y=row,
                xref="x",
                yref="y",
                showarrow=False,
                font={"size": 12},
            )
    _outline(figure, names, selected)
    at = f" at {candidate.text}" if candidate else ""
    sets = {table.data for table in tables if table.n}
    ns = {table.n for table in tables if table.n}
    facts = [
        "rank, 1: most sensitive",
        protocols[0],
        f"{' and '.join(sorted(sets))} set" if sets else "",
        f"n = {' and '.join(f'{n:,}' for n in sorted(ns))}" if ns else "",
        f"seed {', '.join(str(seed) for seed in sorted({table.seed for table in tables}))}",
        "equal scores share a rank",
        "grey: skipped or no ranking" if np.isnan(found).any() else "",
    ]
    return theme.dress(
        figure,
        f"Ranks of the layers{at}",
        facts,
        height=max(110, ROW * len(tables)) + theme.LABEL_HEIGHT,
        alt=_sentence(tables, names, found, at),
    )


def _network_order(tables: Sequence[ScoreTable]) -> list[str]:
    """Return every layer of the tables; one that is new comes after its neighbour before."""
    names: list[str] = []
    for table in sorted(tables, key=lambda each: -len(each.layers)):
        place = 0
        for layer in table.layers:
            if layer not in names:
                names.insert(place, layer)
            place = names.index(layer) + 1
    return names


def _column(table: ScoreTable, candidate: Candidate | None) -> tuple[FloatArray | None, str]:
    """Return the scores to rank, and why they give no ranking."""
    if table.values.ndim == 1:
        values, _ = column(table, None)
    elif candidate is not None and candidate not in table.candidates:
        return None, f"not scored at {candidate.text}"
    else:
        values, _ = column(table, candidate)
    known = values[np.isfinite(values)]
    constant = len(known) > 1 and bool(np.all(known == known[0]))
    return values, "no ranking: all scores are equal" if constant else ""


def _rank_text(rank: float, value: float, own: FloatArray) -> str:
    """Return rank and score as hover text."""
    if not np.isfinite(rank):
        return f"no finite score ({number(value)})"
    return f"rank {rank:g} of {int(np.isfinite(own).sum())}<br>score {number(value)}"


def _cells(found: FloatArray, hover: list[list[str]], titles: list[str]) -> go.Figure:
    """Draw the ranks as coloured cells."""
    last = max(2.0, float(np.nanmax(found, initial=1.0)))
    codes = HIGHEST - (found - 1) / (last - 1) * (HIGHEST - LOWEST)
    steps = np.unique(np.rint(np.linspace(1, last, min(5, int(last)))))
    numbered = found.shape[1] <= NUMBERED
    return go.Figure(
        go.Heatmap(
            z=np.nan_to_num(np.rint(codes), nan=NO_VALUE).astype(np.uint8),
            hovertext=[
                [f"{title}<br>{text}" for text in row]
                for title, row in zip(titles, hover, strict=True)
            ],
            text=[["" if np.isnan(rank) else f"{rank:g}" for rank in row] for row in found]
            if numbered
            else None,
            texttemplate="%{text}" if numbered else None,
            textfont={"size": 11},
            zmin=NO_VALUE,
            zmax=HIGHEST,
            colorscale=SCALE,
            colorbar=theme.colour_bar(
                "rank",
                [float(HIGHEST - (s - 1) / (last - 1) * (HIGHEST - LOWEST)) for s in steps],
                [f"{step:g}" for step in steps],
            ),
            xgap=2 if numbered else 0,
            ygap=3,
            hoverinfo="text",
        )
    )


def _row_labels(tables: Sequence[ScoreTable]) -> list[str]:
    """Return the metrics' titles, with the set where the rows differ in it."""
    mixed = len({table.data for table in tables if table.n}) > 1
    labels = []
    for table in tables:
        title = table.title if len(table.title) <= LONGEST else f"{table.title[: LONGEST - 1]}…"
        samples = f"{table.data}, n = {table.n:,}" if table.n else "no samples"
        size = "font-size:11px"
        below = f"<br><span style='{size}'>{samples}</span>" if mixed else ""
        labels.append(plain(title) + below)
    return labels


def _outline(figure: go.Figure, names: list[str], selected: str | None) -> None:
    """Draw a frame round the selected layer's column."""
    if selected is not None and selected in names:
        at = names.index(selected)
        figure.add_shape(
            type="rect",
            x0=at - 0.5,
            x1=at + 0.5,
            y0=0,
            y1=1,
            yref="y domain",
            line={"color": theme.ACCENT, "width": 2},
        )


def _sentence(tables: Sequence[ScoreTable], names: list[str], found: FloatArray, where: str) -> str:
    """Say which layer the metrics find most sensitive."""
    start = f"Ranks of {count(len(names), 'layer')}{where} by {count(len(tables), 'metric')}"
    ranked = np.isfinite(found).any(1)
    if not ranked.any():
        return f"{start}, none with a ranking."
    worst = [names[int(np.nanargmin(row))] for row in found[ranked]]
    most = max(dict.fromkeys(worst), key=worst.count)
    return (
        f"{start}; most sensitive for {worst.count(most)} of {int(ranked.sum())} metrics with a "
        f"ranking: {most}."
    )
