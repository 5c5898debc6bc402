"""Which layers and which samples hurt."""

import streamlit as st

from analysis import workflow
from analysis.plots.heatmap import attention_heatmap
from analysis.plots.matrix import interaction_matrix, similarity_matrix
from analysis.plots.profile import network_strip
from analysis.plots.ranking import ranking
from analysis.sensitivity import METRICS
from analysis.sensitivity.task import CALIBRATION
from pages.ui import charts, forms, resources, session, shell, work

page = shell.open_page(
    "Sensitivity", "Which layers hurt when they are quantized, and on which samples?"
)
left, right = st.columns([2, 1], vertical_alignment="bottom")
with left:
    name = st.selectbox(
        "Metric",
        METRICS.names(),
        format_func=lambda n: (
            METRICS[n].title + (" (not on this study)" if workflow.unmet(n, page.study) else "")
        ),
        key="metric",
        persist_state="session",
    )
with right, st.popover("Options", icon=":material/tune:", width="stretch"):
    candidates = forms.candidates("score-candidates")
    options = forms.edit(METRICS[name].options, key=f"options-{name}")
    settings = forms.quantizer_settings("score")
    memory = forms.memory("score-memory")
forms.about(METRICS[name])
reason = workflow.unmet(name, page.study)
if not candidates and "candidates" in METRICS[name].needs:
    reason = "it scores candidates: choose weight and activation formats under Options"
if reason:
    st.info(f"{METRICS[name].title} cannot be computed here: {reason}.", icon=":material/block:")
    st.stop()

step = workflow.score(
    resources.workspace(),
    page.study,
    name,
    options=options,
    candidates=candidates,
    settings=settings,
    memory_mib=memory,
)
scores = work.obtain(
    step, "Score the layers", charts.score_estimate(page, METRICS[name], options, len(candidates))
)
if scores is None:
    shell.command(step.command)
    st.stop()

for note in scores.notes:
    st.info(note, icon=":material/info:")
candidate = None
if scores.candidates:
    texts = [c.text for c in scores.candidates]
    chosen = st.segmented_control(
        "Quantized to", texts, default=texts[0], key="score-candidate", persist_state="session"
    )
    candidate = scores.candidates[texts.index(chosen or texts[0])]
by_score = st.toggle(
    "Sort by score", key="score-sorted", persist_state="session", help="Otherwise in network order"
)
charts.draw(
    ranking(
        scores,
        candidate,
        session.layer() or None,
        order="score" if by_score else "network",
        table=page.table,
    ),
    key="ranking",
    picks=session.Key.LAYER,
)
if by_score:
    charts.draw(
        network_strip(scores, candidate, session.layer() or None),
        key="network-strip",
        picks=session.Key.LAYER,
    )
if scores.similarity is not None:
    st.subheader("Layer by layer: similarity", anchor=False)
    charts.draw(similarity_matrix(scores, session.layer() or None), key="similarity")
if scores.interactions is not None and candidate is not None:
    st.subheader("Layer by layer: interactions", anchor=False)
    charts.draw(
        interaction_matrix(scores, candidate, selected=session.layer() or None), key="interactions"
    )
if scores.per_sample is not None:
    st.subheader("Layer by sample", anchor=False)
    shared = scores.data == CALIBRATION  # the selected sample is one of the calibration set
    heatmap = attention_heatmap(
        scores,
        layer=session.layer() or None,
        sample=session.sample(page.study.calibration.n) if shared else None,
    )
    charts.draw(heatmap, key="heatmap")
    charts.hardest_samples(page, scores)
charts.provenance(scores)
shell.command(step.command)
