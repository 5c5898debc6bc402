"""What is loaded: the model, its sets with a few images, its layers."""

import math

import numpy as np
import pandas as pd
import streamlit as st

from analysis.data.dataset import Dataset
from analysis.data.sources import PATH_KINDS
from analysis.errors import AnalysisError
from analysis.plots.theme import ACCENT
from analysis.records import DataRef, LayerTable, Study
from analysis.workspace import LoadedStudy
from pages.ui import opening, resources, shell, uploads, words

_SHOWN = 12
_MAX_BARS = 60
_ROW = 36
# So many pixels are read within a page; larger sets by a job.
_AT_ONCE = 5_000_000


def model(study: Study, table: LayerTable) -> None:
    """Draw the cards of the model, the notes on it and its full digests."""
    spec = study.spec
    skipped = words.skipped(table) if table.skipped else "nothing skipped"
    cards = (
        ("Model", words.model(spec), spec.model.partition(":")[0]),
        ("Weights", *_weights(study)),
        ("Input", _shape(study.model.input_shape), "channels × height × width"),
        ("Classes", f"{study.model.num_classes:,}", "scores per sample"),
        (
            "Parameters",
            f"{table.params_before_folding:,}",
            f"{table.params_after_folding:,} after folding BatchNorm",
        ),
        ("Layers", f"{len(table.layers)}", skipped),
    )
    with st.grid(3, min_column_width=230):
        for label, value, detail in cards:
            shell.card(label, value, detail)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Normalization {_normalization(study)} · seed {spec.seed}", width="stretch")
        with st.popover("Digests", icon=":material/fingerprint:"):
            st.markdown("SHA-256 of the content: equal digests are equal inputs.")
            for what, digest in (
                ("Model", study.model.digest),
                ("Calibration set", study.calibration.digest),
                ("Evaluation set", study.evaluation.digest),
            ):
                st.markdown(f"**{what}**")
                st.code(digest, language=None)


def sets(study: Study) -> None:
    """Draw both sets side by side, with images once the study is in memory."""
    live = _live(study)
    loaded = (None, None) if live is None else (live.calibration, live.evaluation)
    grid = st.grid(2, min_column_width=340)
    for title, reference, data in zip(
        ("Calibration set", "Evaluation set"),
        (study.calibration, study.evaluation),
        loaded,
        strict=True,
    ):
        with grid, st.container(border=True, height="stretch"):
            _set(title, reference, data)


def _live(study: Study) -> LoadedStudy | None:
    """Return the study if it is in memory or small; otherwise offer to load it."""
    space = resources.workspace()
    found = space.in_memory(study)
    if found is not None:
        return found
    size = (study.calibration.n + study.evaluation.n) * math.prod(study.model.input_shape)
    if size > _AT_ONCE:
        opening.load_button(study, "Load the images", "seconds, up to a minute for large sets")
        return None
    with st.spinner("Reading the images …"):
        try:
            return space.live(study)
        except AnalysisError as error:
            text = uploads.readable(str(error), resources.store().root)
            st.error(text, icon=":material/error:")
            return None


def layers(table: LayerTable) -> None:
    """Draw the layer table, and what is skipped with its reason."""
    st.subheader(f"{len(table.layers)} layers that can be quantized", anchor=False)
    st.dataframe(
        layer_frame(table),
        hide_index=True,
        height=min(_ROW * (len(table.layers) + 1) + 3, 640),
        row_height=_ROW,
        column_config={
            "Layer": st.column_config.TextColumn(pinned=True, width=165),
            "Kind": st.column_config.TextColumn(width=75),
            "Pin": st.column_config.TextColumn(
                width=70, help="First and last layer are held at w8a8 unless released"
            ),
            "Weight shape": st.column_config.TextColumn(width=120),
            "Weights": st.column_config.NumberColumn(
                format="localized", width=85, help="Weights without biases, after folding"
            ),
            "MACs": st.column_config.NumberColumn(
                format="compact", width=75, help="Multiply-accumulates per sample"
            ),
            "Group": st.column_config.NumberColumn(
                width=65, help="Layers of one group read a common tensor and share its format"
            ),
            "Reads": st.column_config.TextColumn(
                width=185, help="The tensor whose activation format the layer takes"
            ),
            "Folded": st.column_config.TextColumn(
                width=110, help="BatchNorm that was folded into the weight"
            ),
        },
        alt="Layers of the model with shapes, sizes, groups and what they read",
        key="layer-table",
    )
    if table.skipped:
        st.subheader(words.skipped(table), anchor=False)
        st.dataframe(
            pd.DataFrame(
                [
                    {"Module": s.name, "Kind": s.kind, "Parameters": s.num_params, "Why": s.reason}
                    for s in table.skipped
                ]
            ),
            hide_index=True,
            row_height=_ROW,
            column_config={
                "Module": st.column_config.TextColumn(pinned=True, width="medium"),
                "Kind": st.column_config.TextColumn(width="small"),
                "Parameters": st.column_config.NumberColumn(format="localized", width="small"),
                "Why": st.column_config.TextColumn(width="large"),
            },
            alt="Skipped modules with their reasons",
            key="skipped-table",
        )


def layer_frame(table: LayerTable) -> pd.DataFrame:
    """Return the layer table as rows to show."""
    tensors = {tensor.id: tensor for tensor in table.tensors}
    rows = []
    for layer in table.layers:
        reads = [tensors[i] for i in dict.fromkeys(layer.inputs)]
        rows.append(
            {
                "Layer": layer.name,
                "Kind": layer.kind,
                "Pin": "pinned" if layer.pinned else "",
                "Weight shape": _shape(layer.weight_shape),
                "Weights": layer.num_weights,
                "MACs": layer.macs,
                "Group": layer.activation_group,
                "Reads": ", ".join(f"{t.produced_by} ({_shape(t.shape)})" for t in reads),
                "Folded": layer.folded,
            }
        )
    frame = pd.DataFrame(rows)
    return frame if frame["Folded"].any() else frame.drop(columns="Folded")


def balance(data: Dataset) -> str:
    """Say how many samples each class has."""
    if data.labels is None:
        return "unknown, there are no labels and accuracy cannot be measured"
    counts = np.unique(data.labels, return_counts=True)[1]
    low, high = int(counts.min()), int(counts.max())
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{len(counts):,} classes occur, {each} {'sample' if high == 1 else 'samples'} each"


def _set(title: str, reference: DataRef, data: Dataset | None) -> None:
    st.markdown(f"**{title}** · `{_source(reference.source)}`")
    labelled = "labelled" if reference.labelled else "no labels"
    digest = f"`{reference.digest[:12]}…`"
    st.markdown(
        f"n = {reference.n:,} · {_shape(reference.sample_shape)} · {labelled} · digest {digest}",
        help=f"SHA-256 of pixels and labels: {reference.digest}",
    )
    for note in reference.notes:
        st.info(uploads.readable(note, resources.store().root), icon=":material/info:")
    if data is None:
        return
    st.markdown(f"Class balance: {balance(data)}.")
    if data.labels is not None and int(data.labels.max()) < _MAX_BARS:
        counts = np.bincount(data.labels)
        names = [data.class_name(i) for i in range(len(counts))]
        st.bar_chart(
            pd.DataFrame({"class": names, "samples": counts}).set_index("class"),
            height=150,
            x_label="class",
            y_label="samples",
            sort=False,
            color=ACCENT,
        )
    shown = np.linspace(0, len(data) - 1, min(_SHOWN, len(data))).round().astype(int)
    for start in range(0, len(shown), 6):
        for cell, index in zip(st.columns(6), shown[start : start + 6], strict=False):
            label = data.label(int(index))
            cell.image(
                data.thumbnail(int(index)),
                width="stretch",
                caption=label or f"#{index}",
                alt=f"Sample {index} {label}".strip(),
            )


def _weights(study: Study) -> tuple[str, str]:
    weights = study.spec.weights
    kind = {"": "shipped", "hub": "hub", "none": "random"}.get(weights, "file")
    if weights == "" and not study.spec.model.startswith("demo:"):
        kind = "factory's own" if study.spec.model.startswith("factory:") else "random"
    detail = _source(weights) if kind == "file" else f"digest {study.model.digest[:12]}…"
    return kind, detail


def _source(text: str) -> str:
    """Return a spec without folders: what a person called the file."""
    named = uploads.readable(text, resources.store().root)
    kind, colon, rest = named.partition(":")
    if kind in PATH_KINDS and colon:
        return f"{kind}:{rest.rpartition('/')[2]}"
    return named if colon else named.rpartition("/")[2]


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "scalar"


def _normalization(study: Study) -> str:
    mean = ", ".join(f"{v:g}" for v in study.mean)
    std = ", ".join(f"{v:g}" for v in study.std)
    return f"`mean {mean}; std {std}`"
