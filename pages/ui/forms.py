"""Forms generated from options records: a page knows no method's options by name."""

from collections.abc import Mapping
from typing import TypeVar

import streamlit as st

from analysis.options import Options, OptionSpec, build, describe
from analysis.recalibration import RECALIBRATIONS
from analysis.records import Candidate, QuantSettings, ScoreTable
from analysis.registry import Method
from analysis.sensitivity import METRICS
from analysis.spelling import spell
from analysis.workflow import MEMORY_MIB

T = TypeVar("T", bound=Options)
# What methods need where one word says too little.
_NEEDS = {
    "backward": "backward passes",
    "element_scores": "scores of single weights, which are stored",
    "interactions": "scores with interactions of layers",
    "measured": "accuracy measured on the way",
    "training": "a training, which is stored on the way",
}


def edit(options: type[T], key: str) -> T:
    """Draw one widget per declared option and return the record."""
    values = {spec.name: _widget(spec, f"{key}-{spec.name}") for spec in describe(options)}
    return build(options, values)


def _widget(spec: OptionSpec, key: str) -> object:
    label = spec.name.replace("_", " ").capitalize().replace(" mib", " MiB")
    if spec.type is bool:
        return st.checkbox(
            label, bool(spec.default), key=key, persist_state="session", help=spec.help
        )
    if spec.choices is not None:
        index = spec.choices.index(str(spec.default))
        return st.selectbox(
            label, spec.choices, index, key=key, persist_state="session", help=spec.help
        )
    if spec.type is str:
        return st.text_input(
            label, str(spec.default), key=key, persist_state="session", help=spec.help
        )
    low, high = spec.low, spec.high
    if spec.type is int:
        return st.number_input(
            label,
            None if low is None else int(low),
            None if high is None else int(high),
            int(spec.default),
            key=key,
            persist_state="session",
            help=spec.help,
        )
    default = float(spec.default)
    return st.number_input(
        label,
        None if low is None else float(low),
        None if high is None else float(high),
        default,
        # A rate of 0.001 would read as 0.00 and be stepped over by the usual hundredth.
        step=abs(default) / 10 or 0.01,
        format="%.5g",
        key=key,
        persist_state="session",
        help=spec.help,
    )


def about(method: Method) -> None:  # type: ignore[type-arg]
    """Say in one line what a method answers, what it needs and where it comes from."""
    needs = f" Needs {', '.join(_NEEDS.get(n, n) for n in method.needs)}." if method.needs else ""
    source = f" {method.reference}." if method.reference else ""
    cost = f" Costs {method.cost}." if method.cost else ""
    st.markdown(f"*{method.answers}*{needs}{source}{cost}")


def candidates(key: str) -> tuple[Candidate, ...]:
    """Draw the choice of candidates: weight and activation formats, every combination."""
    from analysis.quant.formats import FORMATS

    names = list(FORMATS)
    weights = st.multiselect(
        "Weight formats",
        names,
        ["int2", "int3", "int4", "int6", "int8"],
        key=f"{key}-weight",
        persist_state="session",
    )
    activations = st.multiselect(
        "Activation formats", names, ["int8"], key=f"{key}-activation", persist_state="session"
    )
    return tuple(Candidate(w, a) for w in sorted(weights, key=names.index) for a in activations)


def scores(label: str, tables: Mapping[str, ScoreTable], key: str) -> ScoreTable | None:
    """Draw the choice among score tables by metric, in the metrics' own order; None without any."""
    names = [name for name in METRICS.names() if name in tables]
    if not names:  # a widget drawn without options would hold on to having chosen none
        return None
    name = st.selectbox(
        label,
        names,
        format_func=lambda n: METRICS[n].title,
        key=key,
        persist_state="session",
        width=300,
    )
    return tables[name]


def memory(key: str) -> int:
    """Draw the memory limit of a batch, in MiB."""
    return int(
        st.number_input(
            "Memory for activations, MiB",
            16,
            1_000_000,
            MEMORY_MIB,
            key=key,
            persist_state="session",
            help="Of one batch; batches shrink to fit, which changes no score.",
        )
    )


def recalibrations(key: str) -> tuple[str, ...]:
    """Draw the choice of what is done to the network before it is quantized, in order.

    Returns:
        Each with its changed options, as :mod:`analysis.spelling` writes them.
    """
    chosen = st.multiselect(
        "Recalibrate first, in this order",
        RECALIBRATIONS.names(),
        format_func=lambda n: RECALIBRATIONS[n].title,
        key=f"{key}-recalibrations",
        persist_state="session",
        placeholder="Nothing",
    )
    return tuple(_recalibration(name, f"{key}-{name}") for name in chosen)


def _recalibration(name: str, key: str) -> str:
    """Draw what a recalibration is, with its options folded; return how it is spelled."""
    method = RECALIBRATIONS[name]
    about(method)
    if not describe(method.options):
        return name
    with st.expander(f"Options of {method.title}", icon=":material/tune:"):
        return spell(name, edit(method.options, key))


def quantizer_settings(key: str) -> QuantSettings:
    """Draw the settings that turn formats into quantizers."""
    from analysis.quant.estimators import RANGE_ESTIMATORS, needs_scores, plain_estimators

    names, plain = RANGE_ESTIMATORS.names(), plain_estimators()
    default = QuantSettings()

    def title(name: str) -> str:
        return RANGE_ESTIMATORS[name].title

    scope = st.selectbox(
        "Activation scope",
        ("tensor", "layer_input"),
        key=f"{key}-scope",
        persist_state="session",
        format_func=lambda s: {
            "tensor": "tensor: every reader sees quantized values",
            "layer_input": "layer input: only the layer does",
        }[s],
    )
    weight = st.selectbox(
        "Weight ranges",
        names,
        names.index(default.weight_range),
        title,
        key=f"{key}-weight",
        persist_state="session",
    )
    if needs_scores(weight):
        about(RANGE_ESTIMATORS[weight])
    activation = st.selectbox(
        "Activation ranges",
        plain,
        plain.index(default.activation_range),
        title,
        key=f"{key}-activation",
        persist_state="session",
    )
    per_channel = st.checkbox(
        "One weight scale per output channel", True, key=f"{key}-channel", persist_state="session"
    )
    return QuantSettings(
        scope=scope,
        weight_range=weight,
        activation_range=activation,
        per_channel=per_channel,
    )
