import numpy as np
import pytest

from analysis.allocation import SOLVERS, Answer, build_problem, solve, solve_work
from analysis.allocation.milp import MilpOptions
from analysis.errors import OptionError, UnknownNameError
from analysis.events import Progress
from analysis.records import Budget
from analysis.registry import Registry
from tests.reference.allocation import make_scores, make_table

TABLE = make_table([10, 20])
PROBLEM = build_problem(
    TABLE,
    make_scores(TABLE, "w4a8 w8a8", [[3, 1], [5, 2]]),
    [Budget(resource="avg_bits", limit=6)],
)


@pytest.fixture
def registry(monkeypatch):
    """A registry of one test's own solvers in place of the real one."""
    own = Registry("solver")
    monkeypatch.setattr("analysis.allocation.solvers.SOLVERS", own)
    return own


def enter(registry, function):
    registry.register("mine", title="Mine", answers="?")(function)


def test_a_solution_states_objective_gap_budgets_and_costs(registry):
    enter(registry, lambda problem, options: Answer((1, 0), "feasible", 3.0, ("looked twice",)))
    solution = solve(PROBLEM, "mine")
    assert (solution.objective, solution.lower_bound, solution.gap) == (6.0, 3.0, 0.5)
    assert [(b.resource, b.limit, b.used) for b in solution.budgets] == [("avg_bits", 6, 160 / 30)]
    assert solution.costs.avg_weight_bits == 160 / 30
    assert (solution.metric, solution.unit, solution.solver) == ("made_up", "nats", "mine")
    assert solution.notes == ("looked twice",)


def test_a_solver_that_breaks_a_budget_is_a_defect(registry):
    enter(registry, lambda problem, options: Answer((1, 1), "feasible"))
    with pytest.raises(RuntimeError, match="broke budgets"):
        solve(PROBLEM, "mine")


def test_a_solver_that_splits_a_group_is_a_defect(registry):
    enter(registry, lambda problem, options: Answer((0, 1), "feasible"))
    table = make_table([10, 20], groups=[0, 0])
    problem = build_problem(table, make_scores(table, "w4a4 w8a8", np.zeros((2, 2))), ())
    with pytest.raises(RuntimeError, match="activation groups"):
        solve(problem, "mine")


def test_a_solver_that_reports_is_followed_to_its_answer(registry):
    def slow(problem, options):
        yield Progress(1, 2)
        return Answer((0, 0), "feasible")

    enter(registry, slow)
    work = solve_work(PROBLEM, "mine")
    assert next(work) == Progress(1, 2)
    with pytest.raises(StopIteration) as end:
        next(work)
    assert end.value.value.objective == solve(PROBLEM, "mine").objective == 8


def test_an_unknown_solver_and_foreign_options_are_refused():
    with pytest.raises(UnknownNameError, match="no solver `milpp`"):
        solve(PROBLEM, "milpp")
    with pytest.raises(OptionError, match="must get Options, got MilpOptions"):
        solve(PROBLEM, "uniform", MilpOptions())


def test_the_package_registers_its_solvers():
    assert {"milp", "uniform"} <= set(SOLVERS.names())
