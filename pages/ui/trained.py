"""How a training goes, while it runs and afterwards."""

import streamlit as st

from analysis import workflow
from analysis.plots.labels import count
from analysis.plots.training import training_curves
from analysis.plots.unit_errors import unit_errors
from analysis.ptq import PTQ_METHODS
from analysis.ptq.task import TRAINED
from analysis.ptq.training import LOGGED
from analysis.ptq.unit_log import COLUMNS
from analysis.steps import StoredParts
from analysis.workflow.training_cost import length_of
from pages.ui import charts, resources, work
from pages.ui.shell import Page

_POLL_SECONDS = 2.0


def trains(method: str) -> bool:
    """Tell whether a method trains, and takes minutes."""
    return TRAINED in PTQ_METHODS[method].needs


def section(page: Page, recipe: workflow.Recipe) -> None:
    """Draw how the training of a recipe went."""
    found = workflow.training(resources.workspace(), page.study, recipe).stored(resources.store())
    if found is None or not len(found.log):
        return
    st.subheader("Training", anchor=False)
    if found.logged == COLUMNS:
        charts.draw(unit_errors(COLUMNS, found.log, page.table.names), "training")
    else:
        charts.draw(training_curves(found.logged, found.log), "training")


def live(page: Page, recipe: workflow.Recipe, job_key: str) -> None:
    """Draw how far a training is, as long as its job runs, and where an interrupted one stands."""
    job = work.latest(job_key)
    running = job is not None and job.active
    st.fragment(_live, run_every=_POLL_SECONDS if running else None)(page, recipe, running)


def _live(page: Page, recipe: workflow.Recipe, running: bool) -> None:
    store = resources.store()
    key = workflow.training(resources.workspace(), page.study, recipe).key
    parts = StoredParts(store, key)
    units = parts.load("units")
    if units is not None:
        _stands(count(len(units["log"]), "unit"), running)
        charts.draw(unit_errors(COLUMNS, units["log"], page.table.names), "training-live")
        return
    kept = parts.load("training")
    if kept is None or not len(kept["log"]):
        return
    steps = length_of(recipe.chosen)
    _stands(f"{int(kept['log'][-1, 0]):,} of {steps:,} steps", running)
    charts.draw(training_curves(LOGGED, kept["log"], steps), "training-live")


def _stands(done: str, running: bool) -> None:
    if not running:
        st.markdown(f"Stands after {done}; the next run goes on from there.")
