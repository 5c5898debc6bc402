"""Slow, obvious allocation: try everything. And small problems to try it on."""

from itertools import product

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from analysis.allocation import Problem, build_problem
from analysis.errors import AllocationError
from analysis.records import (
    Budget,
    Candidate,
    Layer,
    LayerTable,
    QuantSettings,
    ScoreTable,
    Solution,
)

Ties = tuple[tuple[str, ...], ...]


def every_choice(problem: Problem) -> list[tuple[int, ...]]:
    """Return all choices that keep activation groups together, budgets ignored."""
    choices = product(*(range(len(own)) for own in problem.candidates))
    return [choice for choice in choices if not problem.split_groups(choice)]


def fits(problem: Problem, choice: tuple[int, ...]) -> bool:
    """Compare every budget in whole numbers, written out once more."""
    for row in problem.rows:
        used = row.fixed + sum(row.costs[i][k] for i, k in enumerate(choice))
        if used > row.limit:
            return False
    return True


def score(problem: Problem, choice: tuple[int, ...]) -> float:
    alone = sum(problem.scores[i][k] for i, k in enumerate(choice))
    return alone + sum(p.values[choice[p.first]][choice[p.second]] for p in problem.pairs)


def best_objective(problem: Problem) -> float | None:
    """Return the least summed score of all allocations that fit, None if none does."""
    fitting = [choice for choice in every_choice(problem) if fits(problem, choice)]
    return min((score(problem, choice) for choice in fitting), default=None)


def choice_of(problem: Problem, solution: Solution) -> tuple[int, ...]:
    """Return the indices of a solution's candidates; tied layers have the same."""
    chosen = solution.allocation.candidates
    for own in problem.members:
        assert len({chosen[m] for m in own}) == 1
    pairs = zip(problem.candidates, problem.members, strict=True)
    return tuple(own.index(chosen[members[0]]) for own, members in pairs)


def kept(problem: Problem, solution: Solution) -> tuple[int, ...]:
    """Return a solution's choice, once it is seen to keep every budget and group."""
    choice = choice_of(problem, solution)
    assert fits(problem, choice)
    assert not problem.split_groups(choice)
    return choice


def in_order(low: float | None, best: float, high: float) -> bool:
    """Tell whether a bound, the optimum and an answer are in order, but for rounding."""
    slack = 1e-9 * (1 + abs(best))
    return low is not None and low - slack <= best <= high + slack


def make_table(
    weights: list[int],
    macs: list[int] | None = None,
    groups: list[int] | None = None,
    pinned: tuple[int, ...] = (),
    others: int = 0,
) -> LayerTable:
    """Return layers a, b, c, ... with the given numbers of weights and MACs."""
    layers = tuple(
        Layer(
            name=f"layer{i}",
            kind="Linear",
            weight_name=f"layer{i}.weight",
            weight_shape=(count, 1),
            channel_axis=0,
            output_shape=(count,),
            num_weights=count,
            num_biases=0,
            macs=macs[i] if macs else count,
            activation_group=groups[i] if groups else i,
            calls=(i,),
            inputs=(i,),
            pinned=i in pinned,
        )
        for i, count in enumerate(weights)
    )
    return LayerTable(
        model="small",
        layers=layers,
        tensors=(),
        skipped=(),
        params_before_folding=sum(weights) + others,
        params_after_folding=sum(weights) + others,
    )


def make_scores(
    table: LayerTable,
    candidates: str,
    values: object,
    layers: tuple[str, ...] | None = None,
    interactions: object = None,
) -> ScoreTable:
    """Return scores of shape (L, C) for candidates such as ``"w4a8 w8a8"``."""
    return ScoreTable(
        metric="made_up",
        title="Made up",
        unit="nats",
        layers=table.names if layers is None else layers,
        candidates=tuple(Candidate.parse(text) for text in candidates.split()),
        values=np.asarray(values, dtype=np.float64),
        exact=True,
        protocol="isolated",
        n=1,
        seed=0,
        forward_passes=0,
        backward_passes=0,
        seconds=0.0,
        options={},
        settings=QuantSettings(),
        calibration="none",
        interactions=None if interactions is None else np.asarray(interactions, np.float64),
    )


CANDIDATES = ("w2a4", "w2a8", "w4a4", "w4a8", "w3a8", "w8a8", "w8a4", "w6a6")
SCORES = st.floats(-10, 1000).map(lambda v: round(v, 6)) | st.floats(1e-9, 1e-3)
LIMITS = {"size": (0.2, 1.1), "bops": (0.1, 1.1), "avg_bits": (1.9, 8.5)}


@st.composite
def small_problems(
    draw: st.DrawFn, budgets: tuple[int, int] = (0, 2), layers: int = 6, pairs: bool = False
) -> Problem:
    """Draw up to four candidates a layer, with groups, pins, budgets and interactions."""
    return draw(tied_problems(budgets, layers, pairs, most=0))[0]


@st.composite
def tied_problems(
    draw: st.DrawFn,
    budgets: tuple[int, int] = (0, 2),
    layers: int = 6,
    pairs: bool = False,
    most: int = 2,
) -> tuple[Problem, Problem, Ties]:
    """Draw a small problem, the same with up to ``most`` ties, and the ties, at least one."""
    n = draw(st.integers(2 if pairs or most else 1, layers))
    names = draw(
        st.lists(st.sampled_from(CANDIDATES), min_size=1, max_size=3 if pairs else 4, unique=True)
    )
    c = len(names)
    table = make_table(
        draw(st.lists(st.integers(1, 5000), min_size=n, max_size=n)),
        macs=draw(st.lists(st.integers(1, 10**6), min_size=n, max_size=n)),
        groups=draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)),
        pinned=tuple(draw(st.sets(st.integers(0, n - 1), max_size=2))),
        others=draw(st.integers(0, 500)),
    )
    values = draw(st.lists(st.lists(SCORES, min_size=c, max_size=c), min_size=n, max_size=n))
    together = None
    if pairs:
        rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        half = rng.normal(size=(n, c, n, c)) * 10.0 ** rng.integers(-3, 4)
        half *= rng.random((n, 1, n, 1)) < draw(st.sampled_from([0.3, 1.0]))
        together = half + half.transpose(2, 3, 0, 1)
    resources = draw(
        st.lists(
            st.sampled_from(sorted(LIMITS)), min_size=budgets[0], max_size=budgets[1], unique=True
        )
    )
    limits = [Budget(resource=r, limit=round(draw(st.floats(*LIMITS[r])), 3)) for r in resources]
    scores = make_scores(table, " ".join(names), values, interactions=together)
    ties = draw(_ties(table.names, most)) if most else ()
    try:
        plain = build_problem(table, scores, limits)
        return plain, build_problem(table, scores, limits, ties=ties), ties
    except AllocationError:  # a pinned group without an int8 candidate
        reject()
        raise


def _ties(names: tuple[str, ...], most: int) -> st.SearchStrategy[Ties]:
    """Put each layer in one of ``most`` ties or none; a tie of one layer is none."""
    places = st.lists(st.integers(0, most), min_size=len(names), max_size=len(names))

    def sorted_out(given: list[int]) -> Ties:
        own = [[n for n, g in zip(names, given, strict=True) if g == t] for t in range(most)]
        return tuple(tuple(tie) for tie in own if len(tie) > 1)

    return places.map(sorted_out).filter(bool)


def layered_problem(layers: int, candidates: str, budgets: list[Budget], seed: int = 1) -> Problem:
    """Return layers of 1e3 to 2e6 weights whose scores fall with bits, some sharing activations."""
    rng = np.random.default_rng(seed)
    names = [Candidate.parse(text) for text in candidates.split()]
    bits = np.array([int(c.weight.removeprefix("int")) for c in names])
    weights = np.exp(rng.uniform(np.log(1e3), np.log(2e6), layers)).astype(int)
    values = rng.lognormal(0, 2, (layers, 1)) * 4.0**-bits
    values = values * rng.lognormal(0, 0.2, (layers, len(bits)))
    table = make_table(
        [int(w) for w in weights],
        macs=[int(w) * int(r) for w, r in zip(weights, rng.integers(1, 3000, layers), strict=True)],
        groups=[i - i % 2 if i % 5 == 0 else i for i in range(layers)],
    )
    return build_problem(table, make_scores(table, candidates, values), budgets)
