"""The quick solver: a walk along convex hulls, with an honest bound."""

from analysis.allocation.hull_walk import hull_walk
from analysis.allocation.problem import Problem
from analysis.allocation.solvers import SOLVERS, Answer
from analysis.options import Options


@SOLVERS.register(
    "greedy",
    title="Greedy (convex hull)",
    answers="Which allocation does the best gain per cost lead to, and how far is it from the "
    "optimum at most?",
    reference="Linear multiple-choice knapsack, Sinha and Zoltners 1979, doi:10.1287/opre.27.3.503",
)
def greedy(problem: Problem, options: Options) -> Answer:
    r"""Start at the cheapest allocation and take the best gain per cost while it fits.

    The steps are the edges of convex hulls, so the walk solves the linear relaxation: its value is
    a lower bound on every allocation. Then single layers are changed while that fits and helps.

    Several budgets are added up with weights, :math:`\sum_r w_r c^r \le \sum_r w_r B_r`, which
    every allocation within all of them satisfies: whatever the weights, the bound of that walk
    holds. The weights are the budgets' prices in the linear relaxation, which make it the best
    there is. The answer is the last state of the walk that keeps each budget.

    Args:
        problem: Candidates, scores, budgets and groups.
        options: None are read.

    Raises:
        InfeasibleBudgetError: If no allocation fits, with the nearest limit that does.
        AllocationError: If the search for a first allocation within several budgets takes too long.
    """
    return hull_walk(problem)
