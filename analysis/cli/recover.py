"""What ``quantize --recovery`` says: the layers of the result beside rounding to nearest."""

from dataclasses import dataclass
from typing import Any

from analysis import workflow
from analysis.cli.output import table
from analysis.cli.session import Session
from analysis.records import Recovery
from analysis.workflow.recovering import NEAREST
from analysis.workflow.recovery_words import percent, sentences, setting


@dataclass(frozen=True, slots=True)
class Recovered:
    """The comparison for ``--json`` and for people."""

    data: dict[str, Any] | None
    lines: tuple[str, ...]


def recovery(session: Session, recipe: workflow.Recipe) -> Recovered:
    """Compare what a recipe makes with rounding to nearest; itself it has nothing to compare."""
    if recipe.method == NEAREST:
        return Recovered(None, ("Rounded to nearest: there is nothing to compare it with.",))
    step = workflow.recovery(session.workspace, session.study, recipe)
    found, cached = session.run(step)
    layers = [
        {
            "name": name,
            "weights": int(found.weights[at]),
            "moved": found.moved[at],
            "error_nearest": found.before[at],
            "error": found.after[at],
            "gain_db": found.gain[at],
        }
        for at, name in enumerate(found.layers)
    ]
    data = {
        "protocol": "accumulated",
        "n": found.n,
        "moved": found.share,
        "layers": layers,
        "verdict": sentences(found),
        "seconds": found.seconds,
        "cached": cached,
    }
    return Recovered(data, ("", _table(found), "", *sentences(found), setting(found)))


def _table(found: Recovery) -> str:
    rows = [
        (
            name,
            "float" if moved != moved else percent(moved),
            "-" if before != before else percent(before),
            "-" if after != after else percent(after),
            "-" if gain != gain else f"{gain:+.1f} dB",
        )
        for name, moved, before, after, gain in zip(
            found.layers, found.moved, found.before, found.after, found.gain, strict=True
        )
    ]
    head = ("layer", "weights moved", "output error, nearest", found.method, "gain")
    return table(head, rows, "<>>>>")
