"""What the samples page shows: hard samples, outliers, predictions, attributions to pixels."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis import catalog, workflow
from analysis.attribution.inputs import GRAD_CAM, METHODS
from analysis.outliers import Outliers, find_outliers, totals
from analysis.plots.pixels import pixel_map
from analysis.plots.profile import sample_profile, sample_strip
from analysis.records import Attributions, FloatArray, Inspection, ScoreTable
from pages.ui import charts, forms, resources, session, words, work
from pages.ui.allocations import Chosen
from pages.ui.gallery import SHOWN, dataset, gallery, select
from pages.ui.session import Key
from pages.ui.shell import Page

_ROW = 36
_TITLES = {
    "integrated_gradients": "Integrated gradients",
    "saliency": "Saliency",
    "grad_cam": "Grad-CAM",
}


def choose_scores(page: Page) -> ScoreTable | None:
    """Let the user choose among the stored score tables with scores per calibration sample."""
    tables = {
        table.metric: table
        for table in catalog.score_tables(resources.store(), page.study)
        if table.per_sample is not None
        and table.data == "calibration"
        and table.protocol == "isolated"
        and len(table.per_sample) == page.study.calibration.n
    }
    return forms.scores("Scores", tables, "samples-metric")


def overview(page: Page, scores: ScoreTable) -> None:
    """Draw how all samples score, which stand out, and the hardest of them."""
    layer = session.layer() if session.layer() in scores.layers else None
    chosen = session.sample(page.study.calibration.n)
    found = find_outliers(scores)
    charts.draw(
        sample_strip(scores, layer, chosen, found.samples.tolist()),
        key="sample-strip",
        picks=Key.SAMPLE,
    )
    st.markdown(outlier_words(scores, found))
    where = f"in `{layer}`" if layer else "over all layers, each relative to its mean"
    st.markdown(f"**Hardest samples** {where}. Click one to look at it.")
    assert scores.per_sample is not None
    column = (
        scores.per_sample[:, scores.layers.index(layer)] if layer else totals(scores.per_sample)
    )
    gallery(page, np.argsort(-column)[:SHOWN].tolist(), column, "hardest")


def outlier_words(scores: ScoreTable, found: Outliers) -> str:
    """Say which samples stand out, and what the scores would be without them."""
    if not len(found.samples):
        return "No sample stands out of the set: no robust z-score of the totals exceeds 3.5."
    few = ", ".join(f"#{n}" for n in found.samples[:6])
    more = f" and {len(found.samples) - 6} more" if len(found.samples) > 6 else ""
    live = found.with_all != 0
    change = np.abs(found.without[live] / found.with_all[live] - 1)
    layers = np.array(scores.layers)[live]
    moved = (
        "no layer changes its rank"
        if found.moved == 0
        else f"a layer moves by up to {found.moved} rank{'s' if found.moved > 1 else ''}"
    )
    most = f", most of all `{layers[change.argmax()]}` by {change.max():.0%}" if live.any() else ""
    return (
        f"{len(found.samples)} of {scores.n:,} samples stand out (robust z-score beyond 3.5): "
        f"{few}{more}. Left out, the layers' means change by {np.median(change):.0%} in the "
        f"median{most}; {moved}."
    )


def predictions(page: Page, found: Inspection, scores: ScoreTable) -> None:
    """Draw the predictions of all samples, the ones nearest to a flip first."""
    flipped = found.float_class != found.quantized_class
    n = int(flipped.sum())
    st.markdown(
        f"**{n} of {found.n:,} calibration samples change their class.** Margins are logits of the "
        "class that the float network predicts minus the largest other: below zero it has flipped."
    )
    labels = dataset(page).labels
    frame = pd.DataFrame(
        {
            "Sample": np.arange(found.n),
            "Label": [""] * found.n if labels is None else [_name(page, c) for c in labels],
            "Float": [_name(page, c) for c in found.float_class],
            "Quantized": [_name(page, c) for c in found.quantized_class],
            "Flipped": flipped,
            "Float margin": found.float_margin,
            "Quantized margin": found.quantized_margin,
            "KL": found.divergence,
            "Score": totals(scores.per_sample) if scores.per_sample is not None else np.nan,
        }
    ).sort_values("Quantized margin")
    if labels is None:
        frame = frame.drop(columns="Label")
    st.dataframe(
        frame,
        hide_index=True,
        height=_ROW * 9 + 3,
        row_height=_ROW,
        key="predictions",
        on_select=lambda: _pick_row(frame),
        selection_mode="single-row",
        column_config={
            "Sample": st.column_config.NumberColumn(pinned=True, width=85),
            "Float margin": st.column_config.NumberColumn(format="%.2f"),
            "Quantized margin": st.column_config.NumberColumn(format="%.2f"),
            "KL": st.column_config.NumberColumn("KL (nats)", format="scientific"),
            "Score": st.column_config.NumberColumn(
                "Relative score", format="%.2f", help="Over all layers, each relative to its mean"
            ),
        },
        alt="Predictions of the calibration samples, smallest margin first",
    )


def sample(page: Page, scores: ScoreTable, found: Inspection, number: int) -> None:
    """Draw one sample: its image, what both networks say, its profile over the layers."""
    st.subheader(f"Sample #{number}", anchor=False)
    data = dataset(page)
    left, right = st.columns([1, 3], gap="medium")
    with left:
        st.image(data.thumbnail(number), width="stretch", alt=f"Sample {number}")
        label = "" if data.labels is None else f"label **{_name(page, data.labels[number])}** · "
        before, after = found.float_class[number], found.quantized_class[number]
        said = "both say" if before == after else "float says"
        second = "" if before == after else f", quantized **{_name(page, after)}**"
        st.markdown(
            f"{label}{said} **{_name(page, before)}**{second}  \n"
            f"margin {found.float_margin[number]:.2f} → {found.quantized_margin[number]:.2f} logits"
            f"  \nKL {found.divergence[number]:.3g} nats"
        )
    with right:
        charts.draw(
            sample_profile(scores, number, session.layer() or None),
            key="sample-profile",
            picks=Key.LAYER,
        )


def pixels(page: Page, chosen: Chosen, number: int) -> None:
    """Draw what both networks look at in one sample, with the drift between them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        method = st.segmented_control(
            "Attribution",
            METHODS,
            default=METHODS[0],
            required=True,
            format_func=lambda m: _TITLES[m],
            key="attribution",
            persist_state="session",
        )
    if method == GRAD_CAM and not any(each.kind.startswith("conv") for each in page.table.layers):
        st.info("Grad-CAM needs a convolution, this model has none.")
        return
    step = workflow.attributions(
        resources.workspace(),
        page.study,
        chosen.recipe,
        [number],
        str(method),
    )
    found = step.stored(resources.store())
    if found is None:
        with st.spinner("Attributing the class to pixels …"):
            found = work.at_once(step)
    if found is not None:
        _maps(page, found)


def _maps(page: Page, found: Attributions) -> None:
    number, target = int(found.samples[0]), int(found.targets[0])
    image = dataset(page).thumbnail(number)
    largest = max(float(np.abs(found.float_maps).max()), float(np.abs(found.quantized_maps).max()))
    columns = st.columns(3)
    titles = ("Float network", "Quantized network", "Difference")
    maps: tuple[FloatArray, ...] = (
        found.float_maps[0],
        found.quantized_maps[0],
        found.quantized_maps[0] - found.float_maps[0],
    )
    for column, title, values in zip(columns, titles, maps, strict=True):
        figure: go.Figure = pixel_map(values, np.asarray(image), title, largest)
        with column:
            charts.draw(figure, key=f"pixels-{title}")
    verdict = drift_words(float(found.drift[0]))
    st.markdown(
        f"**Attribution drift {found.drift[0]:.3f}** ({verdict}): 1 - cosine similarity of the two "
        f"maps for class **{_name(page, target)}**, "
        f"{_TITLES[found.method].lower()}{_steps(found)}. One colour scale for all three; blue "
        "speaks for the class, red against it."
    )


def drift_words(value: float) -> str:
    """Say in words how much the attention moved."""
    for limit, text in (
        (0.02, "the same pixels"),
        (0.1, "slightly moved"),
        (0.3, "clearly moved"),
        (0.7, "mostly elsewhere"),
    ):
        if value < limit:
            return text
    return "looking at something else"


def _steps(found: Attributions) -> str:
    return f" in {found.steps} steps" if found.method == METHODS[0] else ""


def _pick_row(frame: pd.DataFrame) -> None:
    rows = st.session_state["predictions"].selection.rows
    if rows:
        select(int(frame["Sample"].iloc[rows[0]]))


def _name(page: Page, label: int) -> str:
    return words.class_name(page.study.calibration.class_names, int(label))
