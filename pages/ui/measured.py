"""A measured configuration on a page: its numbers, its quantizers, what it will take."""

from functools import partial
from statistics import median

import pandas as pd
import streamlit as st

from analysis import catalog, workflow
from analysis.allocation.problem import allocation_costs
from analysis.options import as_dict
from analysis.ptq import PTQ_METHODS
from analysis.records import (
    Allocation,
    Configuration,
    Evaluation,
    TensorRange,
)
from analysis.steps import Step
from analysis.workflow import Recipe
from analysis.workflow.recovering import NEAREST
from analysis.workflow.training_cost import training_cost
from pages.ui import noted, resources, shell, trained, words, work
from pages.ui.allocations import Chosen
from pages.ui.shell import Page

_CLIPPING = 0.05


def forecast(page: Page, allocation: Allocation) -> None:
    """Say in one line what an allocation is and costs."""
    costs = allocation_costs(page.table, allocation)
    st.markdown(
        f"**{workflow.summary(allocation)}** · {costs.size_mib:.4g} MiB "
        f"({words.size(costs)}) · {words.count(costs.bops)} BOPs per sample "
        f"({costs.bops_ratio:.1%} of w8a8) · {costs.avg_weight_bits:.2f} bits per weight"
    )


def estimate_of(page: Page, recipe: Recipe) -> str:
    """Say what quantizing by a recipe and measuring takes."""
    if trained.trains(recipe.method):
        return _training(page, recipe)
    return estimate(page, recipe.method)


def estimate(page: Page, method: str) -> str:
    """Say what a method that does not train takes: from earlier runs if there are any."""
    store, study = resources.store(), page.study
    runs = [
        each.seconds
        for each in catalog.configurations(store, study).values()
        if each.method == method
    ]
    cost = PTQ_METHODS[method].cost
    if runs:
        time, more = f"{words.seconds(median(runs))} as before", ""
    elif cost:
        return (
            f"not run before in this study; it takes {cost} "
            f"({study.calibration.n:,} calibration samples)"
        )
    elif (reference := catalog.float_outputs(store, study)) is not None:
        # Fake quantization costs about half a pass more; the ranges about a calibration pass.
        passes = 2 + study.calibration.n / max(study.evaluation.n, 1)
        time, more = words.seconds(max(passes * reference.measured.seconds, 0.5)), ""
    else:
        time, more = "1 s for the demo", " twice, the first time through the float network"
    return f"about {time}: {study.evaluation.n:,} evaluation samples{more}"


def _training(page: Page, recipe: Recipe) -> str:
    """Say how long a training is, in steps and in seconds."""
    cost = training_cost(resources.workspace(), page.study, recipe)
    counted = f"iterations for each {cost.each}," if cost.each else "steps"
    said = f"{cost.length:,} {counted} of {cost.batch_size:,} samples"
    if cost.seconds is None:
        return f"{said}; nothing was timed in this study yet (a demo: tens of seconds per 300)"
    time = words.roughly(max(cost.seconds, 1.0))
    if cost.trainings:
        many = "trainings" if cost.trainings > 1 else "training"
        return f"about {time}: {said}, by the time of {cost.trainings} stored {many}"
    return f"roughly {time}: {said}, estimated from the time of the float network"


def result(page: Page, found: Configuration, notes: tuple[str, ...] = ()) -> None:
    """Draw what was measured beside the float network, with what its run reported."""
    stored = catalog.float_outputs(resources.store(), page.study)
    reference = stored.measured if stored else None
    measured, paired = found.measured, found.measured.versus_float
    with st.container(horizontal=True):
        _accuracy("Measured accuracy", measured)
        if reference is not None:
            _accuracy("Float accuracy", reference)
        if paired is not None and measured.labelled:
            shell.card(
                "Difference, paired",
                f"{100 * paired.difference:+.2f} points",
                words.difference(paired).split(" points ", 1)[1],
            )
    with st.container(horizontal=True):
        if paired is not None:
            shell.card(
                "Same prediction as float",
                f"{paired.agreement:.2%}",
                f"of {measured.n:,} evaluation samples",
            )
        shell.card("KL from float", f"{measured.kl:.3g} nats", f"mean over {measured.n:,} samples")
        shell.card("Time", words.seconds(found.seconds), _parts(found))
    noted.draw((*found.notes, *notes))
    st.markdown(
        f":gray[{page.study.evaluation.n:,} evaluation samples "
        f"({measured.evaluation[:8]}), ranges from {page.study.calibration.n:,} calibration "
        f"samples ({page.study.calibration.digest[:8]}), method {_way(found)}, "
        f"scope {found.settings.scope}, weight ranges {found.settings.weight_range}, "
        f"activation ranges {found.settings.activation_range}.]"
    )


def _way(found: Configuration) -> str:
    """Say what was done to the network, and by which method it was quantized."""
    before = f" after {', '.join(found.recalibrations)}" if found.recalibrations else ""
    usual = as_dict(PTQ_METHODS[found.method].options())
    chosen = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in found.options.items()
        if value != usual.get(name)
    ]
    how = f" with {', '.join(chosen)}" if chosen else " with its defaults" if usual else ""
    return f"{found.method}{how}{before}"


def _parts(found: Configuration) -> str:
    """Say what the time of a configuration went into."""
    if trained.trains(found.method):
        return "training, unless stored, and measurement"
    return "ranges and measurement" if found.method == NEAREST else "method and measurement"


def named_step(page: Page, recipe: Recipe) -> Step[Configuration]:
    """Draw the field for the name and return the step that measures the recipe under it."""
    describe = partial(workflow.quantize, resources.workspace(), page.study, recipe)
    default = workflow.free_name(resources.store(), describe())
    name = st.text_input("Name", key="quantize-name", placeholder=default).strip()
    return describe(name=name or default)


def again(page: Page, name: str, chosen: Chosen) -> Step[Configuration]:
    """Describe the step that measured a saved configuration."""
    if chosen.configuration is None:
        raise ValueError("only a saved configuration can be measured again")
    return workflow.quantize(resources.workspace(), page.study, chosen.recipe, name=name)


def listing(step: Step[Configuration]) -> None:
    """Tell under which name the result is listed, or offer to list it."""
    store = resources.store()
    (kind, name), *_ = step.names
    listed = store.named(kind)
    others = [other for other, key in listed.items() if key == step.key and other != name]
    if listed.get(name) == step.key:
        st.markdown(f":material/bookmark: Saved as **{name}**, listed on the comparison page.")
        return
    known = f"This was measured before and is saved as **{'**, **'.join(others)}**. "
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(f"Save as “{name}”", icon=":material/bookmark_add:", key="save-name"):
            work.at_once(step)
            st.rerun()
        st.markdown(known if others else "This was measured before and is listed under no name.")


def warn_if_taken(step: Step[Configuration]) -> None:
    """Warn when the step's name belongs to another configuration."""
    (kind, name), *_ = step.names
    owner = resources.store().named(kind).get(name)
    if owner is not None and owner != step.key:
        st.warning(
            f"**{name}** names another configuration; measuring this one takes the name over. "
            "Type another name to keep both.",
            icon=":material/warning:",
        )


def quantizers(ranges: tuple[TensorRange, ...]) -> None:
    """Draw the table of quantizers, the widest clipping first."""
    st.subheader("Quantizers", anchor=False)
    wide = sum(each.clipped > _CLIPPING for each in ranges)
    st.markdown(
        f"{len(ranges)} quantizers, the widest clipping first; "
        f"{wide or 'none'} clip{'s' if wide == 1 else ''} more than {_CLIPPING:.0%} of the values."
    )
    rows = [
        {
            "Tensor": each.name,
            "Role": each.role,
            "Format": each.format,
            "Clipped": each.clipped,
            "Scales": each.scale.size,
            "Smallest scale": float(each.scale.min()),
            "Largest scale": float(each.scale.max()),
            "Zero point": _span(each),
        }
        for each in sorted(ranges, key=lambda r: -r.clipped)
    ]
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=min(35 * (len(rows) + 1) + 3, 460),
        column_config={
            "Tensor": st.column_config.TextColumn(
                pinned=True, help="Layer of a weight; what produced an activation"
            ),
            "Clipped": st.column_config.ProgressColumn(
                "Clipped share",
                format="percent",
                min_value=0.0,
                max_value=max(max((r.clipped for r in ranges), default=0.0), 0.01),
                help="Share of the values that lie outside the range, bar relative to the widest",
            ),
            "Scales": number(help="One per output channel, or one for the tensor"),
            "Smallest scale": number(format="%.3g", help="Real value of one step"),
            "Largest scale": number(format="%.3g", help="Real value of one step"),
            "Zero point": st.column_config.TextColumn(help="Integer code of real zero"),
        },
        alt="Quantizers with format, scale, zero point and clipped share",
    )


def _span(each: TensorRange) -> str:
    low, high = each.zero_point.min(), each.zero_point.max()
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def _accuracy(label: str, measured: Evaluation) -> None:
    if not measured.labelled:
        shell.card(label, "no labels", f"n = {measured.n:,}")
        return
    shell.card(label, f"{measured.top1:.2%}", words.interval(measured))
