"""Two measurements side by side: is the difference real, which samples flipped, what changed."""

from dataclasses import dataclass

import numpy as np

from analysis.errors import AnalysisError
from analysis.evaluation.intervals import paired
from analysis.quant.formats import bits_of
from analysis.records import Allocation, Candidate, Evaluation, LayerTable, Paired


@dataclass(frozen=True, slots=True)
class Flip:
    """A sample whose predicted class differs; without labels neither prediction is right."""

    sample: int
    first: int
    second: int
    first_correct: bool
    second_correct: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """The paired difference (first minus second) and every flipped sample.

    Flips come in this order: only the second is right, only the first is right, neither is.
    """

    paired: Paired
    flips: tuple[Flip, ...]

    @property
    def both_wrong(self) -> int:
        """Number of flips from one wrong class to another."""
        return len(self.flips) - self.paired.only_first - self.paired.only_second


@dataclass(frozen=True, slots=True)
class LayerChange:
    """A layer that two allocations treat differently.

    ``saved_bytes`` is what the second saves in weights against the first, negative where it costs.
    """

    layer: str
    first: Candidate
    second: Candidate
    num_weights: int
    saved_bytes: float


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Compare two measurements on the same samples.

    Raises:
        AnalysisError: If they were not measured on one evaluation set.
    """
    if first.evaluation != second.evaluation:
        raise AnalysisError(
            "A paired comparison needs one evaluation set, got two "
            f"({first.evaluation[:8]} and {second.evaluation[:8]}). Measure both on the same one."
        )
    labelled = first.labelled and second.labelled
    right = (first.correct & labelled, second.correct & labelled)
    difference = paired(first.predictions, second.predictions, *right, labelled=labelled)
    flips = [
        Flip(
            sample=int(i),
            first=int(first.predictions[i]),
            second=int(second.predictions[i]),
            first_correct=bool(right[0][i]),
            second_correct=bool(right[1][i]),
        )
        for i in np.flatnonzero(first.predictions != second.predictions)
    ]
    flips.sort(key=lambda flip: (not flip.second_correct, not flip.first_correct, flip.sample))
    return Comparison(difference, tuple(flips))


def changes(first: Allocation, second: Allocation, table: LayerTable) -> tuple[LayerChange, ...]:
    """Return the layers whose candidate differs, in network order."""
    before, after = first.as_dict(), second.as_dict()
    return tuple(
        LayerChange(
            layer=layer.name,
            first=before[layer.name],
            second=after[layer.name],
            num_weights=layer.num_weights,
            saved_bytes=layer.num_weights
            * (bits_of(before[layer.name].weight) - bits_of(after[layer.name].weight))
            / 8,
        )
        for layer in table.layers
        if before[layer.name] != after[layer.name]
    )
