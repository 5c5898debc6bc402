"""Training runs of the initialization lab: what an initializer does to ranges and accuracy."""

from dataclasses import dataclass

import numpy as np

from analysis.records.base import FloatArray, IntArray, Record

# Tensors that are followed through training, and what is kept of each layer's.
FOLLOWED = ("weight", "pre_activation", "post_activation")
KEPT = ("low", "high", "mean", "std", "kurtosis", "q01", "q99", "acp", "dead")
# How the trained networks are quantized.
PAPER, APP = "min_max_per_tensor", "default"
RECIPES = (PAPER, APP)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRun(Record):
    """One network trained from one initializer with one seed.

    Epoch 0 is the network as it was initialized. BatchNorm is folded before anything is read.

    ``statistics`` (E + 1, 3, L, 9) follows the tensors of :data:`FOLLOWED` of every layer with
    :data:`KEPT`; ``acp`` is the average channel precision, ``dead`` the number of channels with one
    value. ``channel_low`` and ``channel_high`` (E + 1, 3, total) hold the channels of all layers
    one after the other, those of layer l at ``offsets[l]`` to ``offsets[l + 1]``. ``loss`` (E,) is
    the mean training loss of every epoch in nats, ``accuracy`` (E + 1,) that on the evaluation set.

    Of the trained network: ``correct`` (2, B) the evaluation samples that it classifies correctly
    with weights and activations at ``bits`` (B,), by recipe of :data:`RECIPES`; ``qce`` (2, B) the
    cross-entropy of its softmax from the float network's, nats; ``qmse_isolated`` and
    ``qmse_accumulated`` (2, B, L) the mean squared error of every layer's output over its variance,
    with this layer quantized alone and with all of them. A run that ``diverged`` says where and
    keeps what came before, NaN after; its quantized figures are NaN.
    """

    initializer: str
    architecture: str
    seed: int
    epochs: int
    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    statistics: FloatArray
    offsets: IntArray
    channel_low: FloatArray
    channel_high: FloatArray
    loss: FloatArray
    accuracy: FloatArray
    float_correct: int
    n: int
    bits: tuple[int, ...]
    correct: FloatArray
    qce: FloatArray
    float_entropy: float
    qmse_isolated: FloatArray
    qmse_accumulated: FloatArray
    diverged: str = ""
    seconds: float = 0.0
    schema: int = 1

    def statistic(self, role: str, name: str) -> FloatArray:
        """Return one of :data:`KEPT` of one of :data:`FOLLOWED`, (E + 1, L)."""
        return np.asarray(self.statistics[:, FOLLOWED.index(role), :, KEPT.index(name)])

    def ranges(self, role: str) -> FloatArray:
        """Return largest minus smallest value, (E + 1, L)."""
        return self.statistic(role, "high") - self.statistic(role, "low")

    @property
    def float_accuracy(self) -> float:
        """Share of the evaluation samples that the float network classifies correctly."""
        return self.float_correct / self.n

    def quantized_accuracy(self, recipe: str) -> FloatArray:
        """Return the accuracy at every bit width, (B,), NaN for a run that diverged."""
        return np.asarray(self.correct[RECIPES.index(recipe)] / self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitStudy(Record):
    """Runs of one setting, by initializer, architecture and seed."""

    runs: tuple[InitRun, ...]
    data: str
    schema: int = 1

    def select(self, initializer: str, architecture: str) -> tuple[InitRun, ...]:
        """Return the runs of one initializer and architecture, one a seed."""
        return tuple(
            run
            for run in self.runs
            if (run.initializer, run.architecture) == (initializer, architecture)
        )

    @property
    def initializers(self) -> tuple[str, ...]:
        """Names in the order of the runs."""
        return tuple(dict.fromkeys(run.initializer for run in self.runs))

    @property
    def architectures(self) -> tuple[str, ...]:
        """Names in the order of the runs."""
        return tuple(dict.fromkeys(run.architecture for run in self.runs))
