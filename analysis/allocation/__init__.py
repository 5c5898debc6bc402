"""Bit allocation: scores, costs and budgets in, a candidate for each layer out.

Importing the package registers every solver in :data:`SOLVERS`.
"""

# The first one is what forms offer first.
from analysis.allocation import milp  # isort: split

from analysis.allocation import dp, evolution, greedy, local, minmax, ompq_lp, prefix, rlt, uniform
from analysis.allocation.budgets import RESOURCES, parse_budget
from analysis.allocation.building import build_problem
from analysis.allocation.problem import Problem, allocation_costs
from analysis.allocation.random_feasible import random_feasible
from analysis.allocation.solvers import SOLVERS, Answer, solve, solve_work

__all__ = [
    "RESOURCES",
    "SOLVERS",
    "Answer",
    "Problem",
    "allocation_costs",
    "build_problem",
    "dp",
    "evolution",
    "greedy",
    "local",
    "milp",
    "minmax",
    "ompq_lp",
    "parse_budget",
    "prefix",
    "random_feasible",
    "rlt",
    "solve",
    "solve_work",
    "uniform",
]
