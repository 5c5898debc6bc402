"""What a score table predicts for an allocation. A prediction, never a measurement."""

from dataclasses import dataclass
from itertools import combinations
from math import fsum

from analysis.records import Allocation, Candidate, ScoreTable


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
