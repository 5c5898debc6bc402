"""Bit allocation: scores, costs and budgets in, a candidate for each layer out.

Importing the package registers every solver in :data:`SOLVERS`.
"""

from analysis.allocation import milp, uniform
from analysis.allocation.budgets import RESOURCES, parse_budget
from analysis.allocation.problem import Problem, allocation_costs, build_problem
from analysis.allocation.solvers import SOLVERS, Answer, solve, solve_work

__all__ = [
    "RESOURCES",
    "SOLVERS",
    "Answer",
    "Problem",
    "allocation_costs",
    "build_problem",
    "milp",
    "parse_budget",
    "solve",
    "solve_work",
    "uniform",
]
