"""The runs of the initialization lab as rows of a bar chart: what was lost, and who is missing."""

from dataclasses import dataclass

import numpy as np

from analysis.plots.runs import Failed, is_failed, said
from analysis.records import FloatArray, InitStudy

# Between initializers, in rows.
GAP = 0.5


@dataclass(frozen=True, slots=True)
class Bar:
    """One initializer and architecture; percentages.

    ``drops`` (S,), ``floats`` (S,) and ``seeds`` are of the runs that trained, ``accuracy`` of all
    that did not diverge.
    """

    initializer: str
    architecture: str
    row: float
    drops: FloatArray
    floats: FloatArray
    seeds: tuple[int, ...]
    accuracy: FloatArray
    failed: int
    lost: tuple[str, ...]

    @property
    def without(self) -> str:
        """How many runs have no drop, and why."""
        total = len(self.accuracy) + len(self.lost)
        parts = [
            f"{len(self.lost)} of {total} diverged" if self.lost else "",
            f"{self.failed} of {total} failed to train" if self.failed else "",
        ]
        return ", ".join(part for part in parts if part)


def bars_of(study: InitStudy, recipe: str, bits: int, failed: Failed) -> list[Bar]:
    """Return a bar for every initializer and architecture that has runs, from top to bottom.

    Args:
        study: The runs.
        recipe: How they were quantized.
        bits: Of weights and activations.
        failed: Runs that did not train.
    """
    bars: list[Bar] = []
    row = 0.0
    for initializer in study.initializers:
        for architecture in study.architectures:
            runs = study.select(initializer, architecture)
            if not runs:
                continue
            live = [run for run in runs if not run.diverged]
            good = [run for run in live if not is_failed(run, failed)]
            floats = 100 * np.array([run.float_accuracy for run in good])
            left = [run.quantized_accuracy(recipe)[run.bits.index(bits)] for run in good]
            bars.append(
                Bar(
                    initializer,
                    architecture,
                    row,
                    floats - 100 * np.array(left),
                    floats,
                    tuple(run.seed for run in good),
                    100 * np.array([run.float_accuracy for run in live]),
                    len(live) - len(good),
                    tuple(f"seed {run.seed}: {said(run.diverged)}" for run in runs if run.diverged),
                )
            )
            row += 1
        row += GAP
    return bars
