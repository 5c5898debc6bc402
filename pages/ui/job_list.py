"""Every job of this server: those that run, live; those that ended, with what came of them."""

import time
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from analysis.journal import Job
from pages.ui import resources, uploads, words, work

_POLL_SECONDS = 0.5
_SHOWN = 8
_WAS_ACTIVE = "job_list_was_active"
_ICONS = {
    "finished": ":green[:material/check_circle:]",
    "failed": ":red[:material/error:]",
    "cancelled": ":gray[:material/cancel:]",
    "interrupted": ":orange[:material/power_off:]",
}


def draw() -> None:
    """Draw the list; it refreshes itself only while a job waits or runs."""
    active = any(job.active for job in resources.jobs().jobs())
    st.fragment(_jobs, run_every=_POLL_SECONDS if active else None)()


def _jobs() -> None:
    jobs = resources.jobs().jobs()
    active = [job for job in jobs if job.active]
    if active:
        st.session_state[_WAS_ACTIVE] = True
    elif st.session_state.pop(_WAS_ACTIVE, False):
        st.rerun()  # once, so that the polling stops
    if active:
        st.subheader(f"{len(active)} waiting or running", anchor=False)
    else:
        st.markdown("Nothing runs. Jobs start on the other pages and go on when a tab is closed.")
    for job in reversed(active):
        work.draw_job(job)
        with st.expander("The same on the command line", icon=":material/terminal:"):
            st.code(job.command, language="bash", wrap_lines=True)
    ended = [job for job in jobs if not job.active]
    if ended:
        st.subheader(f"{len(ended)} ended", anchor=False)
    for job in ended[:_SHOWN]:
        _ended(job)
    if len(ended) > _SHOWN:
        with st.expander(f"{len(ended) - _SHOWN} earlier ones"):
            st.dataframe(
                earlier(ended[_SHOWN:]),
                hide_index=True,
                column_config={"Ended": st.column_config.DatetimeColumn(format="distance")},
                alt="Earlier jobs with state, duration and error",
            )


def _ended(job: Job) -> None:
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{_ICONS[job.state]} **{job.title}** · {summary(job)}", width="stretch")
            with st.popover("Command", icon=":material/terminal:", type="tertiary"):
                st.code(job.command, language="bash", wrap_lines=True)
        if job.error:
            st.markdown(_readable(job.error))
        for note in job.notes:
            st.markdown(f":material/info: {note}")


def summary(job: Job) -> str:
    """Say in one line what came of a job, how long it took and when it ended."""
    said: list[str] = [job.state]
    if job.state == "finished" and job.cached:
        said = ["finished, the result was stored already"]
    elif job.started is not None and job.finished is not None:
        said.append(words.seconds(job.finished - job.started))
    if job.state != "finished" and job.total:
        said.append(f"{job.done:,} of {job.total:,} units done")
    if job.finished is not None:
        said.append(_ago(time.time() - job.finished))
    return " · ".join(said)


def earlier(jobs: list[Job]) -> pd.DataFrame:
    """Return ended jobs as rows to show."""
    rows = []
    for job in jobs:
        started, ended = job.started, job.finished
        rows.append(
            {
                "Job": job.title,
                "State": job.state,
                "Ended": None if ended is None else datetime.fromtimestamp(ended, UTC),
                "Seconds": None if ended is None or started is None else round(ended - started, 1),
                "Error": _readable(job.error),
                "Command": job.command,
            }
        )
    return pd.DataFrame(rows)


def _readable(text: str) -> str:
    return uploads.readable(text, resources.store().root)


def _ago(seconds: float) -> str:
    for limit, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{seconds / limit:.0f} {unit} ago"
    return "just now"
