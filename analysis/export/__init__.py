"""Exporters, one per file; importing the package registers them."""

from analysis.export import allocation_json as allocation_json
from analysis.export import layers_csv as layers_csv
from analysis.export.task import EXPORTERS, Check, Exported, ExportTask

__all__ = ["EXPORTERS", "Check", "ExportTask", "Exported"]
