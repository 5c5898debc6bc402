"""What the runs of the initialization lab say: accuracy, ranges through training, channels."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.errors import AnalysisError
from analysis.initialization.effects import findings
from analysis.initialization.failures import (
    BEHIND_BELOW,
    DIVERGED,
    GUESSING,
    Yardstick,
    failure,
    failures,
)
from analysis.initialization.networks import ARCHITECTURES
from analysis.initialization.summary import (
    TOO_FEW,
    Row,
    from_start_to_end,
    in_percent,
    summarise,
    too_few,
)
from analysis.initialization.titles import title, titled, titled_run
from analysis.plots.epochs import epoch_animation, epoch_heatmap
from analysis.plots.lab_bars import drop_bars
from analysis.plots.lab_precision import acp_by_initializer
from analysis.plots.trajectories import range_trajectories
from analysis.records import InitRun, InitStudy
from analysis.records.initialization import APP, FOLLOWED, PAPER, RECIPES
from pages.ui import charts

_ROW = 36
_NAMED = 4
_RECIPES = {PAPER: "Min-max per tensor, as in the paper", APP: "The app's defaults"}
_TENSORS = {
    "weight": "Weights",
    "pre_activation": "Before activation",
    "post_activation": "After activation",
}
_STATISTICS = {
    "range": "Range",
    "std": "Standard deviation",
    "kurtosis": "Kurtosis",
    "acp": "Average channel precision",
    "mean": "Mean",
    "dead": "Dead channels",
}


@dataclass(frozen=True, slots=True)
class _Shown:
    """Runs, by which they are judged, and the same with titles in place of names, for figures."""

    runs: InitStudy
    measure: Yardstick
    titled: InitStudy
    failed: frozenset[tuple[str, str, int]]

    @classmethod
    def of(cls, found: InitStudy, measure: Yardstick) -> "_Shown":
        failed = {(title(i), title(a), seed) for i, a, seed in failures(found, measure)}
        return cls(found, measure, titled(found), frozenset(failed))


def results(found: InitStudy, measure: Yardstick) -> None:
    """Draw what the runs say, in words first.

    Args:
        found: The runs.
        measure: What they must come up to.
    """
    shown = _Shown.of(found, measure)
    _words(shown)
    accuracy, ranges, layers = st.tabs(["Accuracy", "Ranges through training", "Layers"])
    with accuracy:
        _accuracy(shown)
    with ranges:
        _ranges(shown)
    with layers:
        _layers(shown)


def _words(shown: _Shown) -> None:
    """Say how training went, then effects beyond the noise; all others are folded."""
    bits = shown.runs.runs[0].bits
    every = findings(shown.runs, 4 if 4 in bits else bits[0], shown.measure, title)
    training = [effect for effect in every if effect.shown and isnan(effect.p_value)]
    tested = [effect for effect in every if effect.shown and not isnan(effect.p_value)]
    first = sorted(tested, key=lambda effect: effect.p_value)[:_NAMED]
    named = [*training, *first] or list(every[:1])
    for effect in named:
        st.markdown(f"- {effect.text}")
    rest = [effect for effect in every if effect not in named]
    if rest:
        with st.expander(f"{len(rest)} more answers, those inside the noise included"):
            for effect in rest:
                st.markdown(f"- {effect.text}")
            st.markdown(
                ":gray[Every question is tested by itself: of twenty about nothing, one would seem "
                "answered.]"
            )


def _accuracy(shown: _Shown) -> None:
    bits = shown.runs.runs[0].bits
    with st.container(horizontal=True):
        recipe = st.segmented_control(
            "Quantized with",
            RECIPES,
            default=PAPER,
            required=True,
            format_func=lambda r: _RECIPES[r],
            key="lab-recipe",
            persist_state="session",
        )
        width = st.segmented_control(
            "Bits of weights and activations",
            bits,
            default=4 if 4 in bits else bits[0],
            required=True,
            key="lab-bits",
            persist_state="session",
        )
    _draw(lambda: drop_bars(shown.titled, str(recipe), int(width), shown.failed), key="lab-drops")
    found = summarise(shown.runs, shown.measure)
    rows = [_row(row, RECIPES.index(str(recipe))) for row in found]
    st.markdown(
        "Float accuracy and the points that quantization costs: means over the seeds with 95 % "
        "intervals. Runs that failed to train are in the float accuracy only."
    )
    if too_few(found):
        st.markdown(f":gray[{TOO_FEW}]")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        row_height=_ROW,
        height=_ROW * (len(rows) + 1) + 3,
        column_config={"Initializer": st.column_config.TextColumn(pinned=True)},
        alt="Accuracy by initializer and architecture",
    )


def _row(row: Row, recipe: int) -> dict[str, object]:
    lost = [f"{row.diverged} diverged"] if row.diverged else []
    lost += [f"{row.failed} failed to train"] if row.failed else []
    return {
        "Initializer": title(row.initializer),
        "Architecture": title(row.architecture),
        "Runs": ", ".join([f"{row.runs}", *lost]),
        "Float (%)": in_percent(row.accuracy),
        **{
            f"Lost at {bits} bits": in_percent(estimate)
            for bits, estimate in zip(row.bits, row.drop[recipe], strict=True)
        },
        "Weight range": from_start_to_end(row.weight_range, ".3g"),
        "ACP": from_start_to_end(row.acp, ".2f"),
    }


def _ranges(shown: _Shown) -> None:
    study = shown.titled
    left, middle, right = st.columns(3)
    with left:
        architecture = str(
            st.selectbox("Architecture", study.architectures, key="lab-range-architecture")
        )
    with middle:
        role = _role("lab-range-role")
    layers = next(run.layers for run in study.runs if run.architecture == architecture)
    with right:
        layer = st.selectbox(
            "Layer",
            ["", *layers],
            format_func=lambda n: n or "median over the layers",
            key=f"lab-range-layer-{architecture}",
        )
    _draw(
        lambda: range_trajectories(study, architecture, role, layer or None, shown.failed),
        key="lab-trajectories",
    )
    _draw(
        lambda: acp_by_initializer(study, architecture, role, failed=shown.failed),
        key="lab-precision",
    )


def _layers(shown: _Shown) -> None:
    left, middle, right = st.columns(3)
    with left:
        run = _run(shown.runs)
    with middle:
        role = _role("lab-layer-role")
    with right:
        statistic = st.selectbox(
            "Statistic",
            list(_STATISTICS),
            format_func=lambda s: _STATISTICS[s],
            key="lab-statistic",
            persist_state="session",
        )
    if why := failure(run, shown.measure):
        st.warning(_warning(run, why, shown.measure), icon=":material/warning:")
    drawn, batchnorm = titled_run(run), ARCHITECTURES[run.architecture].batchnorm
    _draw(lambda: epoch_heatmap(drawn, role, statistic, batchnorm=batchnorm), key="lab-epoch-map")
    _draw(lambda: epoch_animation(drawn, role, batchnorm=batchnorm), key="lab-animation")


def _warning(run: InitRun, why: str, measure: Yardstick) -> str:
    """Say why a run is in none of the comparisons."""
    if why == DIVERGED:
        return f"This run diverged: {run.diverged}."
    accuracy = f"This run failed to train: its float accuracy of {run.float_accuracy:.1%}"
    if why == GUESSING:
        return (
            f"{accuracy} cannot be told from always naming the most frequent class, "
            f"{measure.guessing:.1%}. What is below says nothing about quantization."
        )
    return (
        f"{accuracy} stayed below {BEHIND_BELOW:.0%} of the best known of this network, "
        f"{measure.best[run.architecture]:.1%}. What is below says nothing about quantization."
    )


def _draw(make: Callable[[], go.Figure], key: str) -> None:
    """Draw a figure, or say why there is nothing to draw: runs that diverged hold no numbers."""
    try:
        figure = make()
    except AnalysisError as error:
        st.info(str(error), icon=":material/info:")
        return
    charts.draw(figure, key=key)


def _run(found: InitStudy) -> InitRun:
    names = [f"{title(r.initializer)}, {title(r.architecture)}, seed {r.seed}" for r in found.runs]
    place = st.selectbox("Run", range(len(names)), format_func=lambda i: names[i], key="lab-run")
    return found.runs[int(place)]


def _role(key: str) -> str:
    return str(
        st.selectbox(
            "Tensors",
            FOLLOWED,
            format_func=lambda r: _TENSORS[r],
            key=key,
            persist_state="session",
        )
    )
