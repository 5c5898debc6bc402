"""What the steps that sweep a resource, ``pareto`` and ``curve``, read alike."""

from analysis import workflow
from analysis.allocation import parse_budget
from analysis.allocation.budgets import check_budgets
from analysis.cli.parser import Call
from analysis.cli.session import read_candidates, usage
from analysis.records import Budget, Candidate


def sweep_candidates(call: Call) -> tuple[Candidate, ...]:
    """Return what layers may become, the usual candidates unless some are named."""
    if call.args.candidates is None:
        return workflow.DEFAULT_CANDIDATES
    with usage(call):
        return read_candidates(call.args.candidates)


def further_budgets(call: Call) -> tuple[Budget, ...]:
    """Return the budgets that are kept at every limit."""
    with usage(call):
        # The swept resource is named the way a budget is, so it is refused the same way.
        parse_budget(f"{call.args.resource}=1")
        fixed = tuple(parse_budget(text) for text in call.args.budget)
        check_budgets(fixed)
        return fixed
