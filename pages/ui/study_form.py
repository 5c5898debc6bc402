"""The form that opens another study: model, weights, data, how images are read."""

import streamlit as st

from analysis.commands import DEMO
from analysis.errors import AnalysisError
from cache.errors import StoreError
from pages.ui import asked, offered, opening, resources, session, uploads

_UPLOAD = "upload"
_WEIGHTS = {
    asked.SHIPPED: "shipped with the demo",
    asked.FILE: "upload a file",
    asked.HUB: "default weights of the hub (downloads them)",
    asked.RANDOM: "random (accuracies say nothing)",
}
_NORMALIZE = {"imagenet": "ImageNet", "none": "none", "values": "mean; std"}
_ESTIMATE = "about 3 s for the demo, up to a minute for large models and sets"


def draw() -> None:
    """Draw the form and the button that opens what it describes."""
    halves = st.grid(2, min_column_width=320, gap="medium")
    with halves.cell():
        source, architecture, weights, weights_file = _model()
    with halves.cell():
        calibration = _data("calibration", source)
        evaluation = _data("evaluation", source)
    st.markdown("**How images are read**")
    with st.grid(6, min_column_width=135, vertical_alignment="bottom"):
        normalize = _normalization(source)
        size = st.number_input(
            "Input size, pixels",
            0,
            asked.MAX_SIDE,
            0 if source == "demo" else 224,
            key=f"study-size-{source}",
            persist_state="session",
            help="Side to which images are scaled and cropped; 0 keeps their own size.",
        )
        samples = _limit("Calibration samples", "study-samples")
        evaluation_samples = _limit("Evaluation samples", "study-evaluation-samples")
        seed = st.number_input(
            "Seed",
            0,
            asked.MAX_SEED,
            0,
            key="study-seed",
            persist_state="session",
            help="Of the sample choice.",
        )
    name = st.text_input(
        "Name of the study", architecture, key=f"study-name-{source}-{architecture}", width=420
    )
    if name in session.studies():
        st.info(f"There is a study `{name}` already; this one will take its name.")
    try:
        spec = asked.build(
            asked.Asked(
                source=source,
                architecture=architecture,
                weights=weights,
                weights_file=weights_file,
                calibration=calibration,
                evaluation=evaluation,
                normalize=normalize,
                input_size=int(size or 0),
                samples=int(samples or 0),
                evaluation_samples=int(evaluation_samples or 0),
                seed=int(seed or 0),
                name=name or "",
            )
        )
    except AnalysisError as error:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Open this study", disabled=True, icon=":material/play_arrow:")
            st.markdown(str(error))
        return
    opening.button(spec, "Open this study", _ESTIMATE)


def operator_studies() -> None:
    """Draw the choice among the operator's study files, which may name factories."""
    st.markdown(
        "Models of your own code (`factory:MODULE:FUNCTION`) run that code, so no browser can name "
        "one. They are opened on the command line, or by a study file that the operator puts into "
        f"the folder that `{offered.STUDIES_VARIABLE}` names."
    )
    names = list(offered.study_files())
    if not names:
        return
    name = st.selectbox("Study file of this server", names, key="study-file", width=420)
    try:
        spec = offered.study_spec(name)
    except AnalysisError as error:
        st.error(str(error), icon=":material/error:")
        return
    st.markdown(f"`{spec.name}`: model `{spec.model}`, calibration and evaluation as in the file.")
    opening.button(spec, "Open the study file", _ESTIMATE, primary=False, trusted=True)


def _model() -> tuple[str, str, str, str]:
    """Draw the model's part: source, architecture, kind of weights, kept weights file."""
    st.markdown("**Model**")
    source: str = st.segmented_control(
        "Source",
        list(asked.SOURCES),
        default="demo",
        required=True,
        format_func=lambda s: asked.SOURCES[s],
        key="study-source",
        persist_state="session",
        wrap=True,
    )
    with st.spinner("Reading the list of models …"):
        names = asked.architectures(source)
    architecture = st.selectbox(
        "Architecture",
        names,
        names.index("resnet18") if "resnet18" in names else 0,
        key=f"study-architecture-{source}",
        persist_state="session",
        accept_new_options=True,
        help=f"{len(names):,} models; type to search.",
    )
    weights = st.selectbox(
        "Weights",
        asked.WEIGHTS[source],
        format_func=lambda w: _WEIGHTS[w],
        key=f"study-weights-{source}",
        persist_state="session",
    )
    file = ""
    if weights == asked.FILE:
        file = _upload(uploads.WEIGHTS, "Weights file", "study-weights-file")
    return source, architecture or "", weights, file


def _data(role: str, source: str) -> str:
    """Draw the choice of a set and return its spec, empty while there is none."""
    offers = offered.data_sets()
    labels = {asked.DIGITS: "Embedded digits", _UPLOAD: "Upload an .npz file"}
    labels |= {identity: offer.label for identity, offer in offers.items()}
    st.markdown(f"**{role.capitalize()} data**")
    choice = st.selectbox(
        f"{role.capitalize()} data",
        list(labels),
        0 if source == "demo" else 1,
        format_func=lambda c: labels.get(c, "gone"),
        key=f"study-{role}-{source}",
        persist_state="session",
        label_visibility="collapsed",
    )
    if choice == asked.DIGITS:
        return asked.DIGITS
    if choice == _UPLOAD:
        path = _upload(
            uploads.DATA,
            "Images `x` (uint8 or float; N×C×H×W or N×H×W×C), class indices `y` if there are any",
            f"study-{role}-file",
        )
        return f"npz:{path}" if path else ""
    try:
        return offered.data_spec(choice)
    except AnalysisError as error:
        st.error(str(error), icon=":material/error:")
        return ""


def _upload(kind: str, label: str, key: str) -> str:
    """Draw an uploader and return where the checked file is kept, empty without one."""
    limit = uploads.MAX_BYTES // 2**20
    file = st.file_uploader(
        label, type=list(uploads.EXTENSIONS[kind]), key=key, max_upload_size=limit
    )
    if file is None:
        return ""
    # A run of the page must not check half a gigabyte again.
    known = st.session_state.setdefault(f"{key}-checked", {})
    if file.file_id not in known:
        known.clear()
        with st.spinner("Checking the file …"):
            try:
                root = resources.store().root
                known[file.file_id] = uploads.keep(root, kind, file.name, file.getvalue())
            except (AnalysisError, StoreError) as error:
                known[file.file_id] = str(error)
    found = known[file.file_id]
    if isinstance(found, str):
        st.error(found, icon=":material/error:")
        return ""
    st.markdown(f":material/check_circle: Checked: {found.about}.")
    return str(found.path)


def _normalization(source: str) -> str:
    """Draw the normalization and return it as a spec has it."""
    names = list(_NORMALIZE)
    choice = st.selectbox(
        "Normalization",
        names,
        names.index("values" if source == "demo" else "imagenet"),
        format_func=lambda n: _NORMALIZE[n],
        key=f"study-normalize-{source}",
        persist_state="session",
        help="Mean and standard deviation per channel, of pixels in 0..1.",
    )
    if choice != "values":
        return choice
    text = st.text_input(
        "Mean; std",
        DEMO.normalize if source == "demo" else "0.5,0.5,0.5;0.25,0.25,0.25",
        key=f"study-mean-std-{source}",
        persist_state="session",
    )
    return text or ""


def _limit(label: str, key: str) -> int | None:
    return st.number_input(
        label,
        0,
        asked.MAX_SAMPLES,
        0,
        key=key,
        persist_state="session",
        help="How many to take, classes in proportion; 0 takes all.",
    )
