"""Long work on a page: read the result, or offer to compute it and show how far it is."""

from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st

from analysis.errors import AnalysisError
from analysis.events import Events
from analysis.jobs import Job
from analysis.steps import Step
from cache.errors import StoreError
from pages.ui import resources, uploads

T = TypeVar("T")
_POLL_SECONDS = 0.5


def obtain(step: Step[T], label: str, estimate: str, *, primary: bool = True) -> T | None:
    """Return a step's stored result; until there is one, draw what leads to it.

    That is a button with the expected time, a running job's progress with a way to cancel it, or
    what went wrong.
    """
    found = step.stored(resources.store())
    if found is not None:
        return found
    start(
        step.key,
        label,
        estimate,
        title=step.title,
        name=step.name,
        command=step.command,
        make_events=lambda: step.events(resources.store()),
        primary=primary,
    )
    return None


def start(
    key: str,
    label: str,
    estimate: str,
    *,
    title: str,
    name: str,
    command: str,
    make_events: Callable[[], Events[Any]],
    primary: bool = True,
    before: Callable[[], None] = lambda: None,
    slot: str = "",
) -> None:
    """Draw the state of the job under a key: a button, its progress, or its failure.

    The button stays the same one when what it would start changes, as it does under the very click
    that leaves a field: the click counts for what the field then holds.

    Args:
        key: Of the job.
        label: What the button says, "Resume" where the last run was stopped.
        estimate: How long it takes.
        title: Of the job.
        name: Of what the job does.
        command: The same on the command line.
        make_events: Does it.
        primary: Whether this is the page's main button.
        before: Called when the button was clicked.
        slot: Tells the button from others of this name and label on the page, or keeps it the same
            where its label changes.
    """
    job = latest(key)
    if job is not None and job.active:
        watch(job.id)
        return
    if job is not None and job.state == "failed":
        st.error(uploads.readable(job.error, resources.store().root), icon=":material/error:")
    stopped = job is not None and job.state in ("cancelled", "interrupted")
    if job is not None and stopped:
        at = f" at {job.fraction:.0%}" if job.fraction else ""
        st.info(f"The last run was {job.state}{at}; finished parts are kept and will be reused.")
    with st.container(horizontal=True, vertical_alignment="center"):
        clicked = st.button(
            "Resume" if stopped else label,
            key=f"start-{slot or f'{name}-{label}'}",
            type="primary" if primary else "secondary",
            icon=":material/play_arrow:",
        )
        if clicked:
            before()
            resources.jobs().submit(key, title, name, command, make_events)
            st.rerun()
        st.markdown(f":gray[{estimate}]")


def latest(key: str) -> Job | None:
    """Return the newest job under a key."""
    return next((job for job in resources.jobs().jobs() if job.key == key), None)


def watch(job_id: str) -> None:
    """Follow an active job until it ends, then run the page again."""
    st.fragment(_progress, run_every=_POLL_SECONDS)(job_id)


def _progress(job_id: str) -> None:
    job = resources.jobs().job(job_id)
    if not job.active:
        st.rerun()
    draw_job(job)


def draw_job(job: Job) -> None:
    """Draw one active job: title, progress, time left, cancel."""
    with st.container(border=True):
        left = "" if job.eta_seconds is None else f" · about {_rounded(job.eta_seconds)} left"
        text = (
            "cancelling …" if job.cancelling else f"{job.message or 'waiting for its turn'}{left}"
        )
        st.markdown(f"**{job.title}**")
        st.progress(job.fraction, text=text)
        for note in job.notes:
            st.markdown(f":material/info: {note}")
        # A callback runs before anything is drawn, so that this very run says "cancelling".
        st.button(
            "Cancel",
            key=f"cancel-{job.id}",
            disabled=job.cancelling,
            help="Stops after the batch at hand. Finished parts are kept: it can be resumed.",
            on_click=_cancel,
            args=(job.id,),
        )


def _cancel(job_id: str) -> None:
    resources.jobs().cancel(job_id)


def _rounded(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def at_once(step: Step[T]) -> T | None:
    """Run a step of well under a second inside the page; draw its error if it has one."""
    from analysis.events import result

    try:
        return result(step.events(resources.store()))
    except (AnalysisError, StoreError) as error:
        st.error(uploads.readable(str(error), resources.store().root), icon=":material/error:")
        return None
