"""What the page of accuracy curves shows: sentences, chart, tables, calibration."""

from statistics import median
from typing import Any

import pandas as pd
import streamlit as st

from analysis.curves.verdict import as_good_text, at_limit, summary
from analysis.curves.words import (
    fewer_limits,
    held_text,
    limit_text,
    point_text,
    series_text,
    versus_text,
)
from analysis.plots.curve import accuracy_curve
from analysis.plots.curve_places import non_dominated_points
from analysis.prediction_error import curve_calibrations
from analysis.records import Curve
from analysis.records.curve import RANDOM
from analysis.sensitivity import METRICS
from pages.ui import charts, limits, predicting, words
from pages.ui.shell import Page

_CLOSE_POINTS = 15.0
_ROW = 36
_WIDE = 300  # of the longest sentence in a cell


def answers(curve: Curve, asked: int) -> None:
    """Draw what the curves say over all limits, of which ``asked`` were asked for."""
    if not curve.complete:
        st.info(
            f"{len(curve.points):,} allocations are measured so far; the rest is missing below.",
            icon=":material/hourglass:",
        )
    for sentence in filter(None, (fewer_limits(len(curve.limits), asked), *summary(curve))):
        st.markdown(f"- {sentence}")


def chart(curve: Curve, picked: str) -> None:
    """Draw the chart; a click on a point selects it."""
    lowest = None
    if curve.float_.labelled:
        start = 100 * curve.float_.low - _CLOSE_POINTS
        values = [100 * p.measured.top1 for p in curve.points]
        if min(values) < start < max(values) and st.toggle(
            f"Look closer: {start:.0f} % and above", True, key="curve-closer"
        ):
            lowest = start
    charts.draw(
        accuracy_curve(curve, selected=selection(curve, picked), lowest=lowest),
        key=f"{picked}-chart",
        picks=picked,
    )


def selection(curve: Curve, picked: str) -> int | None:
    """Return the place of the point that was clicked, None if there is none."""
    chosen = st.session_state.get(picked)
    place = int(chosen) if chosen is not None else -1
    return place if 0 <= place < len(curve.points) else None


def table(curve: Curve) -> None:
    """Draw what holds at one limit in words, and every point as a row."""
    st.subheader("Budget by budget", anchor=False)
    places = range(len(curve.limits))
    at = st.segmented_control(
        "Budget",
        places,
        default=len(places) // 2,
        format_func=lambda k: limit_text(curve, k),
        required=True,
        key="curve-limit",
    )
    for sentence in at_limit(curve, at):
        st.markdown(f"- {sentence}")
    keep = non_dominated_points(curve)
    chosen = [i for i, p in enumerate(curve.points) if curve.series[p.series].kind != RANDOM]
    rows = [_row(curve, i, i in keep) for i in chosen] + _random_rows(curve)
    frame = pd.DataFrame(rows).sort_values(["Limit", "Bits by"])
    st.dataframe(
        frame.dropna(axis="columns", how="all"),
        hide_index=True,
        row_height=_ROW,
        height=min(_ROW * (len(rows) + 1) + 3, 520),
        column_config=_columns(curve),
        placeholder="–",
        alt="Every measured point with its cost, prediction and difference to size-only",
    )


def _row(curve: Curve, place: int, keep: bool) -> dict[str, Any]:
    point = curve.points[place]
    series = curve.series[point.series]
    measured = point.measured
    row: dict[str, Any] = {
        "Limit": curve.limits[point.place],
        "Bits by": point_text(curve, point),
    }
    if measured.labelled:
        row |= {
            "Measured": 100 * measured.top1,
            "Interval": f"{100 * measured.low:.1f}-{100 * measured.high:.1f}",
            "Versus size-only": versus_text(curve, point) or None,
        }
    row["Random as good"] = as_good_text(curve, point) or None
    row["KL"] = measured.kl
    if series.metric in curve.metrics:
        at = curve.metrics.index(series.metric)
        row |= {"Predicted": float(point.predicted[at]), "Unit": curve.units[at]}
    return row | {
        "Size": point.costs.size_mib,
        "Weight bits": point.costs.avg_weight_bits,
        "BOPs": point.costs.bops / 1e6,
        "Left": 100 * (1 - point.used / curve.limits[point.place]),
        "Solved": point.status,
        "Remark": None if keep else "dominated",
        "n": measured.n,
    }


def _random_rows(curve: Curve) -> list[dict[str, Any]]:
    """Return one row per limit for the random allocations: their median and range."""
    rows = []
    for series in (i for i, each in enumerate(curve.series) if each.kind == RANDOM):
        for place, limit in enumerate(curve.limits):
            own = [p for p in curve.points if (p.series, p.place) == (series, place)]
            if not own:
                continue
            row: dict[str, Any] = {
                "Limit": limit,
                "Bits by": f"{series_text(curve, series)} (median of {len(own)})",
                "KL": median(p.measured.kl for p in own),
                "Size": median(p.costs.size_mib for p in own),
                "Weight bits": median(p.costs.avg_weight_bits for p in own),
                "BOPs": median(p.costs.bops for p in own) / 1e6,
                "n": own[0].measured.n,
            }
            if own[0].measured.labelled:
                values = [100 * p.measured.top1 for p in own]
                row["Measured"] = median(values)
                row["Remark"] = f"from {min(values):.1f} to {max(values):.1f} %"
            rows.append(row)
    return rows


def _columns(curve: Curve) -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "Limit": number(limits.title(curve.resource), format="%.4g", pinned=True),
        "Bits by": text(pinned=True),
        "Measured": number("Measured (%)", format="%.2f", help="Top-1 on the evaluation set"),
        "Interval": text("95 % interval", help="Wilson interval, in %"),
        "Versus size-only": text(
            width=_WIDE, help="Paired difference in points with its 95 % interval"
        ),
        "Random as good": text(
            help="Random allocations of this budget that measure at least as well"
        ),
        "KL": number("KL (nats)", format="%.3g", help="Mean divergence from the float outputs"),
        "Predicted": number(format="%.3g", help="Summed scores: a prediction, not measured"),
        "Unit": text(help="Of the prediction"),
        "Size": number("Size (MiB)", format="%.4f"),
        "Weight bits": number(format="%.2f"),
        "BOPs": number("BOPs (M)", format="%.1f", help="Per sample, in millions"),
        "Left": number("Left (%)", format="%.1f", help="Of the budget"),
        "Solved": text(help="What the solver proved"),
    }


def calibration(curve: Curve) -> None:
    """Draw predictions against measurements for one metric, with its correlation and error."""
    found = curve_calibrations(curve)
    if not found:
        return
    st.subheader("Predicted against measured", anchor=False)
    names = [each.metric for each in found]
    name = st.segmented_control(
        "Metric",
        names,
        default=names[0],
        format_func=lambda n: METRICS[n].title,
        required=True,
        key="curve-calibration",
    )
    predicting.draw(found[names.index(name)], "calibration-chart")


def provenance(page: Page, curve: Curve) -> None:
    """Say where the numbers come from."""
    settings = curve.settings
    held = held_text(curve.pins, curve.ties, first_last=settings.pin_first_last)
    st.markdown(
        f":gray[Measured on {curve.float_.n:,} evaluation samples ({curve.evaluation[:8]}), scores "
        f"and ranges from {page.study.calibration.n:,} calibration samples "
        f"({page.study.calibration.digest[:8]}); candidates "
        f"{', '.join(c.text for c in curve.candidates)}; "
        + "".join(f"{limits.title(b.resource)} ≤ {b.limit:g}; " for b in curve.fixed)
        + (f"{held}; " if held else "")
        + f"scope {settings.scope}; random "
        f"allocations from seed {curve.seed}; {words.seconds(curve.seconds)}.]"
    )
