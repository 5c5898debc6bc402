"""What a score table predicts for an allocation. A prediction, never a measurement."""

from dataclasses import dataclass
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
    """Sum the scores of the candidates that an allocation chooses.

    Args:
        scores: Scores (L, C) of candidates.
        allocation: A candidate for each layer.
    """
    values, missing = [], []
    rows = {name: i for i, name in enumerate(scores.layers)}
    columns = {candidate: c for c, candidate in enumerate(scores.candidates)}
    for name, candidate in allocation.as_dict().items():
        if name in rows and candidate in columns:
            values.append(float(scores.values[rows[name], columns[candidate]]))
        elif candidate != Candidate("float", "float"):
            missing.append(name)
    return Prediction(fsum(values), scores.unit, scores.metric, tuple(missing))
