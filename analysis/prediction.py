"""What a score table predicts for an allocation. A prediction, never a measurement."""

from dataclasses import dataclass
from itertools import combinations
from math import fsum
from statistics import median

from analysis.records import Allocation, Baseline, Candidate, ScoreTable, Solution

_TITLES = {
    "uniform": "uniform bits",
    "size_only": "the size-only allocation",
    "random": "the one allocation that was drawn at random",
}
# Summed scores this close are the same allocation, or as good as.
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Prediction:
    """The summed scores of an allocation.

    ``missing`` names the layers whose candidate was not scored; they count as 0, so that a sum with
    missing layers is incomplete. Layers that stay float count as 0 by definition.
    """

    value: float
    unit: str
    metric: str
    missing: tuple[str, ...]


def predict(scores: ScoreTable, allocation: Allocation) -> Prediction:
    """Sum the scores of the candidates that an allocation chooses, interactions included.

    Args:
        scores: Scores (L, C) of candidates, with interactions (L, C, L, C) or without.
        allocation: A candidate for each layer.
    """
    places: list[tuple[int, int]] = []
    missing = []
    rows = {name: i for i, name in enumerate(scores.layers)}
    columns = {candidate: c for c, candidate in enumerate(scores.candidates)}
    for name, candidate in allocation.as_dict().items():
        if name in rows and candidate in columns:
            places.append((rows[name], columns[candidate]))
        elif candidate != Candidate("float", "float"):
            missing.append(name)
    values = [float(scores.values[place]) for place in places]
    if scores.interactions is not None:
        values += [float(scores.interactions[p + q]) for p, q in combinations(places, 2)]
    return Prediction(fsum(values), scores.unit, scores.metric, tuple(missing))


def beside(solution: Solution) -> str:
    """Say in one or two sentences what the baselines of a solution are predicted to lose.

    Predicted by the same scores: whether the scores are right, only measurements tell.
    """
    parts = [_part(solution, baseline) for baseline in solution.baselines]
    if not parts:
        return ""
    text = f"By the same scores, within the same budgets: {'; '.join(parts)}."
    drawn = [b.objectives for b in solution.baselines if b.name == "random"]
    near = sum(value <= solution.objective + _slack(solution) for own in drawn for value in own)
    if near:
        are = "is" if near == 1 else "are"
        text += f" {near} of {sum(map(len, drawn))} random ones {are} as good."
    return text


def _part(solution: Solution, baseline: Baseline) -> str:
    title = _TITLES.get(baseline.name, baseline.name)
    if not baseline.objectives:
        return f"{title} do not fit" if baseline.name == "uniform" else f"{title} does not fit"
    if len(baseline.objectives) == 1:
        return f"{title} {baseline.objectives[0]:.3g} {solution.unit}"
    low, high = min(baseline.objectives), max(baseline.objectives)
    return (
        f"{len(baseline.objectives)} random allocations {low:.3g} to {high:.3g} {solution.unit}, "
        f"in the median {median(baseline.objectives):.3g}"
    )


def _slack(solution: Solution) -> float:
    return _SAME * max(abs(solution.objective), 1e-300)
