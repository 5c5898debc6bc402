"""Opening a study from a page."""

import streamlit as st

from analysis import catalog
from analysis.commands import command_line
from analysis.errors import AnalysisError
from analysis.events import Events, Finished, Progress, Started
from analysis.records import Study, StudySpec
from cache.errors import StoreError
from cache.keys import key
from pages.ui import resources, session, uploads, work


def job_key(spec: StudySpec) -> str:
    """Return the key of the job that opens a study: its spec, not its content."""
    return key("open", 1, {}, spec)


def button(
    spec: StudySpec,
    label: str,
    estimate: str,
    *,
    primary: bool = True,
    trusted: bool = False,
    slot: str = "",
) -> None:
    """Draw a button that loads a study and selects it when it is there.

    Args:
        spec: The study.
        label: What the button says.
        estimate: How long it takes.
        primary: Whether this is the page's main button.
        trusted: Whether the spec is the operator's own and may name a factory.
        slot: Tells the button from others of this label on the page.
    """
    job = work.latest(job_key(spec))
    if job is not None and job.state == "finished" and session.waits_for(spec.name):
        session.select_study(spec.name)
        st.toast(f"{spec.name} is open.", icon=":material/check:")
        st.rerun()
    work.start(
        job_key(spec),
        label,
        estimate,
        title=f"Open {spec.name}",
        name="study",
        command=command_line("study", spec),
        make_events=lambda: events(spec, trusted=trusted),
        primary=primary,
        before=lambda: session.wait_for(spec.name),
        slot=slot,
    )


def load_button(study: Study, label: str, estimate: str) -> None:
    """Draw a button that loads a recorded study into memory again."""
    work.start(
        key("load", 1, {}, {"study": catalog.study_id(study)}),
        label,
        estimate,
        title=f"Load {study.spec.name}",
        name="study",
        command=command_line("study", study.spec),
        make_events=lambda: load(study),
        primary=False,
    )


def load(study: Study) -> Events[Study]:
    """Load a recorded study as a job; errors as in :func:`events`."""
    yield Started("study", f"Load {study.spec.name}")
    yield Progress(0, 1, "loading model and data")
    space = resources.workspace()
    try:
        space.live(study)
    except AnalysisError as error:
        raise AnalysisError(uploads.readable(str(error), space.store.root)) from error
    yield Finished(study)


def events(spec: StudySpec, *, trusted: bool = False) -> Events[Study]:
    """Load a study as a job; errors call uploads by the names that their owners gave them."""
    from analysis import workflow

    space = resources.workspace()
    try:
        yield from workflow.opening(space, spec, trusted=trusted)
    except (AnalysisError, StoreError) as error:
        raise AnalysisError(uploads.readable(str(error), space.store.root)) from error
