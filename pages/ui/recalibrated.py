"""What recalibrations do to measured accuracy, before and after, on the same samples."""

from functools import partial

import streamlit as st

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.baselines import job_key, measure_all
from analysis.comparison import compare
from analysis.records import Candidate, Configuration, QuantSettings
from analysis.steps import Step
from analysis.workflow import Recipe
from pages.ui import resources, session, shell, words, work
from pages.ui.shell import Page

_DRAFT = "draft"
_BITS = ("w8a8", "w4a8", "w4a4", "float", _DRAFT)


def accuracy(page: Page, recalibrations: tuple[str, ...]) -> None:
    """Measure the same bits without and with recalibrations, and compare them sample by sample."""
    st.subheader("Measured before and after", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        bits = st.segmented_control(
            "Bits",
            _BITS,
            default="w4a8",
            required=True,
            key="recalibrated-bits",
            persist_state="session",
        )
        per_tensor = st.toggle(
            "One weight scale per tensor",
            key="recalibrated-per-tensor",
            persist_state="session",
            help="Equalization is for these; scales per channel do not need it.",
        )
    if bits == _DRAFT:
        allocation, file = session.draft(page.study, page.table), "allocation.json"
    else:
        allocation = uniform_allocation(
            page.table, Candidate.parse(str(bits)), pin_first_last=False
        )
        file = f"uniform:{bits}"
    settings = QuantSettings(per_channel=not per_tensor, pin_first_last=bits == _DRAFT)
    steps = tuple(
        _step(page, Recipe(allocation, settings=settings, recalibrations=names, file=file))
        for names in ((), recalibrations)
    )
    store = resources.store()
    before, after = (step.stored(store) for step in steps)
    if before is None or after is None:
        work.start(
            job_key(page.study, steps),
            "Measure both",
            f"twice {page.study.evaluation.n:,} samples; about 2 s for the demo",
            title="Before and after recalibration",
            name="recalibration",
            command="\n".join(step.command for step in steps),
            make_events=lambda: measure_all(store, steps, "Before and after recalibration"),
            primary=False,
        )
        names = "** and **".join(step.names[0][1] for step in steps)
        st.markdown(f"For the comparison page they will be saved as **{names}**.")
    else:
        _both(before, after)
    shell.command(*(step.command for step in steps))


def _step(page: Page, recipe: Recipe) -> Step[Configuration]:
    """Describe a measurement under a name that takes over no other configuration's."""
    describe = partial(workflow.quantize, resources.workspace(), page.study, recipe)
    return describe(name=workflow.free_name(resources.store(), describe()))


def _both(before: Configuration, after: Configuration) -> None:
    cards = [(title, *_measured(each)) for title, each in (("Before", before), ("After", after))]
    if before.measured.labelled:
        paired = compare(after.measured, before.measured).paired
        points = f"{100 * paired.difference:+.2f} points"
        interval = f"95 %: {100 * paired.low:+.1f} to {100 * paired.high:+.1f}, paired"
        cards.append(("Difference", points, f"{interval}, {words.verdict(paired)}"))
    with st.grid(3, min_column_width=230):
        for card in cards:
            shell.card(*card)


def _measured(found: Configuration) -> tuple[str, str]:
    measured = found.measured
    kl = f"KL {measured.kl:.2g} nats"
    if not measured.labelled:
        return kl, f"n = {measured.n:,}"
    return (
        f"{measured.top1:.2%}",
        f"{100 * measured.low:.1f}-{100 * measured.high:.1f}, n = {measured.n:,}, {kl}",
    )
