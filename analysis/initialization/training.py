"""Training one network from one initializer, followed from the first epoch to the quantized end."""

import math
import time
from typing import TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from analysis.events import Progress, Work
from analysis.initialization.adam import Adam
from analysis.initialization.initializers import parse_initializer
from analysis.initialization.lab_data import LabData
from analysis.initialization.measuring import Measured, measure, offsets, one_thread, refolded
from analysis.initialization.networks import build_lab_network, initialize, layer_kind
from analysis.initialization.quantizing import QuantizedFigures, batches, measure_quantized
from analysis.initialization.settings import BITS, RunSetting
from analysis.models.network import Network, build_network
from analysis.quant.statistics import collect_statistics
from analysis.records.initialization import FOLLOWED, KEPT, RECIPES, InitRun

T = TypeVar("T")


def train_run(setting: RunSetting, data: LabData, bits: tuple[int, ...] = BITS) -> Work[InitRun]:
    """Train a network and record its tensors at every epoch and its quantized accuracy at the end.

    Adam (arXiv:1412.6980) under a cosine schedule from the learning rate to 0, cross-entropy, no
    augmentation, no weight decay: the same for every initializer. The seed decides the weights and,
    through a generator of their own, the order of the images: runs of one seed see equal batches.
    On the CPU equal settings and data give equal records bit for bit, but for ``seconds``.

    Training ends where a loss or a followed tensor stops being finite: the record says where and
    holds NaN from there on, ``float_correct`` is 0.

    Args:
        setting: What to train.
        data: Images and labels.
        bits: Widths at which the trained network is quantized.

    Yields:
        One ``Progress`` an epoch and one before the quantization.
    """
    started = time.perf_counter()
    run = _Run(setting, data)
    run.look(0)
    for epoch in range(1, setting.epochs + 1):
        if not run.diverged:
            run.train(epoch)
        if not run.diverged:
            run.look(epoch)
        if run.diverged:
            break
        yield Progress(
            epoch,
            setting.epochs + 1,
            f"{setting.title}: epoch {epoch} of {setting.epochs}, loss {run.loss[epoch - 1]:.4g}, "
            f"accuracy {run.accuracy[epoch]:.1%}",
        )
    figures = None
    if not run.diverged:
        network = refolded(run.network)
        with one_thread():
            statistics = _value(collect_statistics(network, lambda: [data.calibration_x], 1))
        figures = measure_quantized(network, statistics, data.evaluation_x, data.evaluation_y, bits)
    yield Progress(setting.epochs + 1, setting.epochs + 1, f"{setting.title}: done")
    return run.record(bits, figures, time.perf_counter() - started)


class _Run:
    """A network in training and what was seen of it."""

    def __init__(self, setting: RunSetting, data: LabData) -> None:
        self.setting, self.data = setting, data
        with one_thread():
            self.model = build_lab_network(
                setting.architecture, in_channels=data.in_channels, classes=data.classes
            )
            # Calls are observed on weights that are known to be harmless.
            initialize(self.model, parse_initializer("lecun_normal"), _generator(0))
            self.network = build_network(self.model.eval(), data.calibration_x[:2])
            weights, order = (_generator(2 * setting.seed + i) for i in range(2))
            initialize(self.model, parse_initializer(setting.initializer), weights)
        self.order = order
        self.optimizer = Adam(self.model.parameters())
        self.step = 0
        self.diverged = ""
        epochs, layers = setting.epochs + 1, len(self.network.table.layers)
        total = offsets(self.network)[-1]
        self.statistics = np.full((epochs, len(FOLLOWED), layers, len(KEPT)), np.nan)
        self.low, self.high = (np.full((epochs, len(FOLLOWED), total), np.nan) for _ in range(2))
        self.loss, self.accuracy = np.full(epochs - 1, np.nan), np.full(epochs, np.nan)
        self.correct = 0

    def look(self, epoch: int) -> None:
        """Record the tensors and the accuracy after an epoch."""
        network = refolded(self.network)
        found: Measured = measure(network, self.data.calibration_x)
        self.statistics[epoch] = found.statistics
        self.low[epoch], self.high[epoch] = found.channel_low, found.channel_high
        correct = _correct(network, self.data)
        if found.broken or correct is None:
            what = found.broken or "a logit of the evaluation set"
            self.diverged = f"epoch {epoch}: {what} is not finite"
        else:
            self.correct = correct
            self.accuracy[epoch] = correct / len(self.data.evaluation_y)

    @one_thread()
    def train(self, epoch: int) -> None:
        """Train for one epoch; notes where the loss stops being finite."""
        x, y, batch = self.data.train_x, self.data.train_y, self.setting.batch
        chosen = torch.split(torch.randperm(len(x), generator=self.order), batch)
        steps = self.setting.epochs * len(chosen)
        total = 0.0
        self.model.train()
        for own in chosen:
            rate = 0.5 * (1 + math.cos(math.pi * self.step / steps))
            loss = F.cross_entropy(self.model(x[own]), y[own])
            if not math.isfinite(loss.item()):
                self.diverged = f"epoch {epoch}, step {self.step + 1}: the loss is {loss.item()}"
                break
            self.optimizer.forget()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step(self.setting.learning_rate * rate)
            self.step += 1
            total += loss.item() * len(own)
        else:
            self.loss[epoch - 1] = total / len(x)
        self.model.eval()

    def record(
        self, bits: tuple[int, ...], figures: QuantizedFigures | None, seconds: float
    ) -> InitRun:
        """Return everything that was seen."""
        layers = self.network.table.layers
        if figures is None:
            width = (len(RECIPES), len(bits))
            nothing = np.full((*width, len(layers)), np.nan)
            empty = np.full(width, np.nan)
            figures = QuantizedFigures(empty, empty, float("nan"), nothing, nothing)
        return InitRun(
            initializer=self.setting.initializer,
            architecture=self.setting.architecture,
            seed=self.setting.seed,
            epochs=self.setting.epochs,
            layers=self.network.table.names,
            kinds=tuple(layer_kind(self.model.get_submodule(layer.name)) for layer in layers),
            statistics=self.statistics,
            offsets=np.array(offsets(self.network), dtype=np.int64),
            channel_low=self.low,
            channel_high=self.high,
            loss=self.loss,
            accuracy=self.accuracy,
            float_correct=0 if self.diverged else self.correct,
            n=len(self.data.evaluation_y),
            bits=bits,
            correct=figures.correct,
            qce=figures.qce,
            float_entropy=figures.float_entropy,
            qmse_isolated=figures.isolated,
            qmse_accumulated=figures.accumulated,
            diverged=self.diverged,
            seconds=seconds,
        )


@one_thread()
@torch.no_grad()
def _correct(network: Network, data: LabData) -> int | None:
    """Return how many evaluation samples are classified correctly, None without finite logits."""
    found = 0
    for x, y in batches(data.evaluation_x, data.evaluation_y):
        logits = network(x)
        if not bool(logits.isfinite().all()):
            return None
        found += int((logits.argmax(1) == y).sum())
    return found


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _value(work: Work[T]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
