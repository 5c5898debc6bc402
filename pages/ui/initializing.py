"""What the initialization page shows: runs of the lab, and a loaded model beside its start."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from analysis import workflow
from analysis.errors import AnalysisError
from analysis.initialization.initializers import INITIALIZERS, parse_initializer
from analysis.initialization.networks import ARCHITECTURES
from analysis.initialization.presence import expected_ranges as expected_of
from analysis.initialization.presence import moved
from analysis.initialization.settings import (
    DEFAULT_ARCHITECTURES,
    DEFAULT_INITIALIZERS,
    EPOCHS,
)
from analysis.plots.expected import expected_ranges
from analysis.records import FloatArray, InitStudy, Study
from analysis.steps import Step
from analysis.workflow.initializing import judged
from pages.ui import charts, lab_view, resources, session, shell, work
from pages.ui.session import Key

_DIGITS = "The embedded digits"
_ROW = 36


def lab() -> None:
    """Draw the form, the job, and whatever runs are there."""
    asked = _ask()
    if asked is None:
        return
    owner, step = asked
    store = resources.store()
    found = step.stored(store)
    total = len(step.options["runs"])
    if found is None:
        found = workflow.finished_runs(store, owner, step)
        done = len(found.runs) if found else 0
        if done == total:
            # Every run is there, of studies of other combinations: they only are put together.
            found = work.at_once(step)
    if found is None or len(found.runs) < total:
        done = len(found.runs) if found else 0
        work.start(
            step.key,
            "Train the networks" if not done else f"Train the other {total - done}",
            f"{total - done} {'run' if total - done == 1 else 'runs'}, about "
            f"{_rounded((total - done) * _seconds(owner, step))} on two cores",
            title=step.title,
            name=step.name,
            command=step.command,
            make_events=lambda: step.events(store),
            slot="lab",
        )
        if found is not None:
            st.info(f"{done} of {total} runs are there; what is shown rests on them.")
    if found is not None:
        _results(owner, found)
    shell.command(step.command)


def _results(owner: workflow.Lab, found: InitStudy) -> None:
    """Judge the runs and draw them."""
    try:
        measure = judged(resources.store(), owner, found)
    except AnalysisError as error:  # the study's files have changed
        st.error(str(error), icon=":material/error:")
        return
    lab_view.results(found, measure)


# Measured on two cores: of a run of six epochs on the digits, 1,000 images of 16 x 16 pixels.
_SECONDS, _MEASURED = 1.5, 6 * 1000 * 16 * 16


def _seconds(owner: workflow.Lab, step: Step[InitStudy]) -> float:
    """Return what a run takes on two cores, in proportion to the pixels that it sees."""
    epochs = int(step.options["runs"][0]["epochs"])
    if owner.study is None:
        return _SECONDS * epochs / EPOCHS
    height, width = owner.study.model.input_shape[1:]
    return _SECONDS * epochs * owner.study.calibration.n * height * width / _MEASURED


def _rounded(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _ask() -> tuple[workflow.Lab, Step[InitStudy]] | None:
    study = session.study()
    left, right = st.columns([3, 2])
    with left:
        initializers = st.multiselect(
            "Initializers",
            list(INITIALIZERS),
            list(DEFAULT_INITIALIZERS),
            format_func=lambda n: INITIALIZERS[n].title,
            key="lab-initializers",
            persist_state="session",
        )
        own = st.text_input(
            "and your own",
            key="lab-own",
            persist_state="session",
            placeholder="normal:0:0.3, uniform:-0.1:0.1",
            help="`normal:MEAN:STD` or `uniform:LOW:HIGH`, several with commas",
        )
    with right:
        architectures = st.multiselect(
            "Architectures",
            list(ARCHITECTURES),
            list(DEFAULT_ARCHITECTURES),
            format_func=lambda n: ARCHITECTURES[n].title,
            key="lab-architectures",
            persist_state="session",
        )
        with st.container(horizontal=True):
            seeds = st.number_input(
                "Seeds", 1, 50, 3, key="lab-seeds", persist_state="session", width=130
            )
            epochs = st.number_input(
                "Epochs", 1, 200, EPOCHS, key="lab-epochs", persist_state="session", width=130
            )
    sources = [_DIGITS] + (
        [f"Study: {study.spec.name or study.spec.model}"] if study is not None else []
    )
    source = st.segmented_control(
        "Trained on",
        sources,
        default=_DIGITS,
        required=True,
        key="lab-data",
        help="Of a study the calibration set is trained on and the evaluation set evaluated on.",
    )
    try:
        extra = [parse_initializer(text.strip()).name for text in own.split(",") if text.strip()]
        names = list(dict.fromkeys([*initializers, *extra]))
        if not names or not architectures:
            st.info("Choose at least one initializer and one architecture.")
            return None
        owner = workflow.Lab(resources.workspace(), None if source == _DIGITS else study)
        step = workflow.initialization(
            owner, names, architectures, seeds=int(seeds), epochs=int(epochs)
        )
    except AnalysisError as error:
        st.error(str(error), icon=":material/error:")
        return None
    return owner, step


def presence() -> None:
    """Draw what each initializer would have given every layer of the open study's model."""
    study = session.study()
    table = None if study is None else session.table(study)
    if study is None or table is None:
        st.info("No study is open: open the demo on the overview, or your own model.")
        return
    names = st.multiselect(
        "Initializers",
        list(INITIALIZERS),
        ["he_normal", "glorot_uniform", "normal_large"],
        format_func=lambda n: INITIALIZERS[n].title,
        key="presence-initializers",
        persist_state="session",
    )
    quantity = st.segmented_control(
        "Compare",
        ("Range", "Standard deviation"),
        default="Range",
        required=True,
        key="presence-quantity",
        persist_state="session",
    )
    if not names:
        st.info("Choose at least one initializer.")
        return
    chosen = tuple(INITIALIZERS[name] for name in names)
    with st.spinner("reading the weights"):
        std, low, high = _weights(study)
    attribute = "range" if quantity == "Range" else "std"
    present = high - low if quantity == "Range" else std
    expected: dict[str, list[float]] = {}
    for each in expected_of(table, chosen):
        value = np.nan if each.expected is None else float(getattr(each.expected, attribute))
        expected.setdefault(INITIALIZERS[each.initializer].title, []).append(value)
    charts.draw(
        expected_ranges(
            table.names,
            present,
            {name: np.array(values) for name, values in expected.items()},
            session.layer() or None,
            what=f"{'range' if quantity == 'Range' else 'standard deviation'} of the weights",
        ),
        key="presence",
        picks=Key.LAYER,
    )
    st.markdown(
        ":gray[Weights as trained, before BatchNorm is folded into them: that is what was drawn.]"
    )
    rows: dict[str, Sequence[object]] = {"Layer": table.names, "Range now": list(high - low)}
    for one in chosen:
        compared = moved(table, one, std, low, high)
        rows[f"× {one.title}"] = list(compared.range)
        rows[f"{one.title}: inherited"] = compared.inherited
    st.markdown(
        "How many times the range that each initializer would have given; *inherited* where the "
        "start alone explains the largest weight."
    )
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        row_height=_ROW,
        height=min(_ROW * (len(table.names) + 1) + 3, 480),
        column_config={
            "Layer": st.column_config.TextColumn(pinned=True),
            "Range now": st.column_config.NumberColumn(format="%.3g"),
            **{f"× {i.title}": st.column_config.NumberColumn(format="%.2f") for i in chosen},
        },
        alt="Ranges of the layers over what initializers would have given them",
    )


def _weights(study: Study) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return deviation, smallest and largest value of every layer's weight as trained, (L,)."""
    network = resources.workspace().live(study).network
    rows = []
    for layer in network.table.layers:
        weight = network.module.get_parameter(layer.weight_name).detach().double()
        rows.append((float(weight.std(correction=0)), float(weight.min()), float(weight.max())))
    std, low, high = np.array(rows).T
    return std, low, high
