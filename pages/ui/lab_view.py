"""What the runs of the initialization lab say: accuracy, ranges through training, channels."""

import pandas as pd
import streamlit as st

from analysis.initialization.effects import findings
from analysis.initialization.networks import ARCHITECTURES
from analysis.initialization.summary import Row, from_start_to_end, in_percent, summarise
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


def results(found: InitStudy) -> None:
    """Draw what the runs say, in words first."""
    _words(found)
    accuracy, ranges, layers = st.tabs(["Accuracy", "Ranges through training", "Layers"])
    with accuracy:
        _accuracy(found)
    with ranges:
        _ranges(found)
    with layers:
        _layers(found)


def _words(found: InitStudy) -> None:
    """Say what depends on what: effects beyond the noise first, all others folded."""
    every = findings(found, 4 if 4 in found.runs[0].bits else found.runs[0].bits[0])
    shown = [effect for effect in every if effect.shown]
    first = sorted(shown, key=lambda effect: effect.p_value)[:_NAMED]
    for effect in first or every[:1]:
        st.markdown(f"- {effect.text}")
    rest = [effect for effect in every if effect not in (first or every[:1])]
    if rest:
        with st.expander(f"{len(rest)} more answers, those inside the noise included"):
            for effect in rest:
                st.markdown(f"- {effect.text}")
            st.markdown(
                ":gray[Every question is tested by itself: of twenty about nothing, one would seem "
                "answered.]"
            )


def _accuracy(found: InitStudy) -> None:
    bits = found.runs[0].bits
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
    charts.draw(drop_bars(found, str(recipe), int(width)), key="lab-drops")
    rows = [_row(row, RECIPES.index(str(recipe))) for row in summarise(found)]
    st.markdown(
        "Float accuracy and the points that quantization costs: means over the seeds with 95 % "
        "intervals. Runs that failed to train are in the float accuracy only."
    )
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
        "Initializer": row.initializer,
        "Architecture": ARCHITECTURES[row.architecture].title,
        "Runs": ", ".join([f"{row.runs}", *lost]),
        "Float (%)": in_percent(row.accuracy),
        **{
            f"Lost at {bits} bits": in_percent(estimate)
            for bits, estimate in zip(row.bits, row.drop[recipe], strict=True)
        },
        "Weight range": from_start_to_end(row.weight_range, ".3g"),
        "ACP": from_start_to_end(row.acp, ".2f"),
    }


def _ranges(found: InitStudy) -> None:
    left, middle, right = st.columns(3)
    with left:
        architecture = _architecture(found, "lab-range-architecture")
    with middle:
        role = _role("lab-range-role")
    layers = found.select(found.initializers[0], architecture)
    with right:
        names = layers[0].layers if layers else ()
        layer = st.selectbox(
            "Layer",
            ["", *names],
            format_func=lambda n: n or "median over the layers",
            key=f"lab-range-layer-{architecture}",
        )
    charts.draw(
        range_trajectories(found, architecture, role, layer or None), key="lab-trajectories"
    )
    charts.draw(acp_by_initializer(found, architecture, role), key="lab-precision")


def _layers(found: InitStudy) -> None:
    left, middle, right = st.columns(3)
    with left:
        run = _run(found)
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
    if run.diverged:
        st.warning(f"This run diverged: {run.diverged}.", icon=":material/warning:")
    charts.draw(epoch_heatmap(run, role, statistic), key="lab-epoch-map")
    charts.draw(epoch_animation(run, role), key="lab-animation")


def _run(found: InitStudy) -> InitRun:
    names = [f"{r.initializer}, {r.architecture}, seed {r.seed}" for r in found.runs]
    place = st.selectbox("Run", range(len(names)), format_func=lambda i: names[i], key="lab-run")
    return found.runs[int(place)]


def _architecture(found: InitStudy, key: str) -> str:
    return str(
        st.selectbox(
            "Architecture",
            found.architectures,
            format_func=lambda n: ARCHITECTURES[n].title,
            key=key,
        )
    )


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
