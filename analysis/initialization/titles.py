"""Names as a person reads them."""

from dataclasses import replace

from analysis.initialization.initializers import parse_initializer
from analysis.initialization.networks import ARCHITECTURES
from analysis.records.initialization import InitRun, InitStudy


def title(name: str) -> str:
    """Return what a person calls an initializer or an architecture."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name].title
    return parse_initializer(name).title


def titled(study: InitStudy) -> InitStudy:
    """Return the study with titles in place of names, for figures."""
    return replace(study, runs=tuple(titled_run(run) for run in study.runs))


def titled_run(run: InitRun) -> InitRun:
    """Return the run with titles in place of names, for figures."""
    return replace(run, initializer=title(run.initializer), architecture=title(run.architecture))
