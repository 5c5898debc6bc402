"""The table of methods for the README, generated from the registries."""

from analysis.allocation import SOLVERS
from analysis.export import EXPORTERS
from analysis.ptq import PTQ_METHODS
from analysis.quant.estimators import RANGE_ESTIMATORS
from analysis.recalibration import RECALIBRATIONS
from analysis.registry import Registry
from analysis.sensitivity import METRICS

_KINDS: tuple[tuple[str, Registry], ...] = (  # type: ignore[type-arg]
    ("metric", METRICS),
    ("solver", SOLVERS),
    ("recalibration", RECALIBRATIONS),
    ("method", PTQ_METHODS),
    ("range estimator", RANGE_ESTIMATORS),
    ("exporter", EXPORTERS),
)


def methods_table() -> str:
    """Return every registered method as a Markdown table."""
    rows = ["| kind | name | what it answers | source |", "|---|---|---|---|"]
    for kind, registry in _KINDS:
        rows += [
            f"| {kind} | `{method.name}` | {method.answers} | {method.reference or 'own'} |"
            for method in registry
        ]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(methods_table())
