"""The steps that list registries: what there is to choose."""

from textwrap import fill
from typing import Any

from analysis.allocation import SOLVERS
from analysis.cli.method_flags import describe_flags, describe_parts
from analysis.cli.output import show
from analysis.cli.parser import Call
from analysis.export import EXPORTERS
from analysis.ptq import PTQ_METHODS
from analysis.quant.backends import BACKENDS
from analysis.recalibration import RECALIBRATIONS
from analysis.registry import Registry
from analysis.sensitivity import METRICS


def metrics(call: Call) -> None:
    """List the sensitivity metrics."""
    _list(call, "metric", METRICS)


def solvers(call: Call) -> None:
    """List the allocation solvers."""
    _list(call, "solver", SOLVERS)


def methods(call: Call) -> None:
    """List the post-training quantization methods."""
    _list(call, "method", PTQ_METHODS)


def recalibrations(call: Call) -> None:
    """List what can be done to a network before it is quantized."""
    _list(call, "recalibration", RECALIBRATIONS)


def exporters(call: Call) -> None:
    """List the export formats."""
    _list(call, "exporter", EXPORTERS)


def backends(call: Call) -> None:
    """List the backends whose storage of formats is known."""
    _list(call, "backend", BACKENDS)


def _list(call: Call, role: str, registry: Registry[Any]) -> None:
    blocks = []
    for method in registry:
        lines = [f"{method.name}: {method.title}", f"  {method.answers}"]
        if method.reference:
            lines.append(f"  {method.reference}")
        if method.needs:
            lines.append(f"  needs {', '.join(method.needs)}")
        if method.cost:
            lines.append(
                fill(f"costs {method.cost}", 96, initial_indent="  ", subsequent_indent="    ")
            )
        if registry is RECALIBRATIONS:
            words = describe_parts(method.name, method.options)
        else:
            words = describe_flags(role, method.options)
        for word, text in words:
            lines.append(fill(text, 96, initial_indent=f"  {word}  ", subsequent_indent="      "))
        blocks.append("\n".join(lines))
    show(call.args.json, {call.step: [m.describe() for m in registry]}, "\n\n".join(blocks))
