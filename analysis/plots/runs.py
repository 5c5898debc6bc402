"""Training runs in figures: which to draw, their colours, their spread over the seeds."""

from collections.abc import Collection, Iterable, Sequence
from math import ceil

import numpy as np
import plotly.graph_objects as go
from scipy.stats import t as student

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots import theme
from analysis.plots.labels import count, plain
from analysis.records import FloatArray, InitRun, InitStudy
from analysis.records.initialization import FOLLOWED

LEVEL = 0.95
# Seeds from which on an interval is worth reading: that of two is 12.7 standard errors wide.
MEANINGFUL = 3
# Of middle lightness, so that lines can be read on a light and on a dark page.
COLOURS = (
    theme.ACCENT,
    "#e08a1e",
    "#22a37a",
    "#c9599f",
    "#d9534f",
    "#3aa6c9",
    "#8b6fd6",
    "#98982c",
    "#a9745b",
    "#8b93a3",
)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down")
_ENTRY, _LINE, _ROOM = 7.5, 21, 640

# Runs that did not train, by initializer, architecture and seed.
Failed = Collection[tuple[str, str, int]]


def look(at: int) -> tuple[str, str]:
    """Return the colour and the symbol of the initializer at this place."""
    return COLOURS[at % len(COLOURS)], SYMBOLS[at % len(SYMBOLS)]


def runs_of(study: InitStudy, architecture: str) -> dict[str, tuple[InitRun, ...]]:
    """Return the runs of one architecture by initializer, in the order of the study.

    Raises:
        UnknownNameError: If the study holds no such architecture.
        AnalysisError: If the runs have different layers.
    """
    if architecture not in study.architectures:
        raise UnknownNameError("architecture in this study", architecture, study.architectures)
    found = {name: study.select(name, architecture) for name in study.initializers}
    found = {name: runs for name, runs in found.items() if runs}
    if len({run.layers for runs in found.values() for run in runs}) > 1:
        raise AnalysisError(
            f"Runs of `{architecture}` must have the same layers to be drawn together, got "
            "different ones. Draw runs of one study."
        )
    return found


def check_role(role: str) -> None:
    """Check that a tensor of this role is followed through training.

    Raises:
        UnknownNameError: If it is not.
    """
    if role not in FOLLOWED:
        raise UnknownNameError("tensor followed through training", role, FOLLOWED)


def layer_at(layers: Sequence[str], layer: str) -> int:
    """Return the place of a layer.

    Raises:
        UnknownNameError: If there is none of this name.
    """
    if layer not in layers:
        raise UnknownNameError("layer in these runs", layer, layers)
    return layers.index(layer)


def interval(values: FloatArray) -> tuple[float, float, float]:
    """Return the mean over seeds and its 95 % interval by Student's t, NaN below three seeds."""
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan"), float("nan"), float("nan")
    mean = float(known.mean())
    if known.size < MEANINGFUL:
        return mean, float("nan"), float("nan")
    error = float(known.std(ddof=1)) / known.size**0.5
    half = float(student.ppf(0.5 + LEVEL / 2, known.size - 1)) * error
    return mean, mean - half, mean + half


def over_seeds(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, smallest and largest over the first axis (S, ...), NaN where none is finite."""
    known = np.isfinite(values)
    none = ~known.any(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    low = np.where(known, values, np.inf).min(axis=0)
    high = np.where(known, values, -np.inf).max(axis=0)
    mean, low, high = (np.where(none, np.nan, each) for each in (mean, low, high))
    return mean, low, high


def seeds(groups: Iterable[Sequence[InitRun]]) -> str:
    """Say how many seeds the groups have."""
    numbers = sorted({len(group) for group in groups})
    if len(numbers) == 1:
        return count(numbers[0], "seed")
    return f"{numbers[0]} to {numbers[-1]} seeds"


def is_failed(run: InitRun, failed: Failed) -> bool:
    """Tell whether a run that did not diverge counts as failed."""
    return not run.diverged and (run.initializer, run.architecture, run.seed) in failed


def untrained(groups: Iterable[Sequence[InitRun]], failed: Failed) -> str:
    """Name the runs that failed to train without diverging, empty without any."""
    runs = [run for group in groups for run in group]
    lost = [run for run in runs if is_failed(run, failed)]
    if not lost:
        return ""
    names = dict.fromkeys(run.initializer for run in lost)
    total = count(len(runs), "run")
    return f"{len(lost)} of {total} failed to train ({', '.join(map(plain, names))})"


def data_of(study: InitStudy) -> str:
    """Return what the runs were trained on; records of early versions hold it in backticks."""
    return plain(study.data.strip("`")) or "a study's images"


def said(text: str) -> str:
    """Return a sentence of a record as figures show it: names in it are not set apart."""
    return plain(text.replace("`", ""))


def diverged(groups: Iterable[Sequence[InitRun]]) -> str:
    """Name the runs that diverged, empty without any."""
    runs = [run for group in groups for run in group]
    lost = [run for run in runs if run.diverged]
    if not lost:
        return ""
    names = dict.fromkeys(run.initializer for run in lost)
    return f"{len(lost)} of {count(len(runs), 'run')} diverged ({', '.join(map(plain, names))})"


def key(colour: str, text: str) -> str:
    """Return a text for the line of facts behind a square in its colour."""
    return f"<span style='color:{colour}'>■</span> {text}"


def legend_above(figure: go.Figure, names: Sequence[str]) -> go.Figure:
    """Make a dressed figure higher for a legend of these entries between its title and the plot."""
    widest = 46 + _ENTRY * max(map(len, names), default=0)
    lines = ceil(len(names) / max(1, int(_ROOM / widest)))
    room = 10 + _LINE * lines
    return figure.update_layout(
        height=figure.layout.height + room,
        margin_t=figure.layout.margin.t + room,
        showlegend=True,
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "font": {"size": 12},
            "itemclick": "toggle",
        },
    )
