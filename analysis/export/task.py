"""What every exporter is given and returns, and the registry they enter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analysis.records import Allocation, Configuration, LayerTable, ScoreTable, Solution, Study
from analysis.registry import Registry


@dataclass(frozen=True, slots=True)
class ExportTask:
    """An allocation for a study, with what is known about it; None where it was not computed."""

    study: Study
    table: LayerTable
    allocation: Allocation
    scores: ScoreTable | None = None
    solution: Solution | None = None
    configuration: Configuration | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was verified on the written content."""

    what: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Exported:
    """Files by name, and the checks they went through."""

    files: dict[str, bytes]
    checks: tuple[Check, ...]


Exporter = Callable[[ExportTask, Any], Exported]
EXPORTERS: Registry[Exporter] = Registry("exporter")
