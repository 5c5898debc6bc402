"""The allocation file of this project."""

from analysis.allocation_file import allocation_json, read_allocation
from analysis.export.task import EXPORTERS, Check, Exported, ExportTask
from analysis.options import Options


@EXPORTERS.register(
    "allocation_json",
    title="Allocation (JSON)",
    answers="Which format does every layer get, to be read back or by another tool?",
)
def export_allocation_json(task: ExportTask, options: Options) -> Exported:
    """Write the allocation with how it was made; the text is read back and compared."""
    del options
    made_by: dict[str, object] = {}
    if task.solution is not None:
        s = task.solution
        made_by = {
            "metric": s.metric,
            "solver": s.solver,
            "status": s.status,
            "objective": s.objective,
            "unit": s.unit,
            "lower_bound": s.lower_bound,
            "gap": s.gap,
            "budgets": [
                {"resource": b.resource, "limit": b.limit, "used": b.used} for b in s.budgets
            ],
        }
    if task.configuration is not None:
        c, m = task.configuration, task.configuration.measured
        made_by["measured"] = {
            "method": c.method,
            "n": m.n,
            "top1": m.top1 if m.labelled else None,
            "low": m.low if m.labelled else None,
            "high": m.high if m.labelled else None,
            "kl": m.kl,
            "scope": c.settings.scope,
        }
    text = allocation_json(
        task.allocation, study=task.study.spec.name or task.study.model.source, made_by=made_by
    )
    same = read_allocation(text, task.table) == task.allocation
    check = Check("read back", same, f"{len(task.allocation.layers)} layers compared")
    return Exported({"allocation.json": text.encode()}, (check,))
