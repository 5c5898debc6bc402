"""Ranges by the estimators that the settings name, and the quantizer of any weight."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.options import build
from analysis.quant.estimators import RANGE_ESTIMATORS
from analysis.quant.formats import get_format
from analysis.quant.quantizer import Quantizer, symmetric_quantizer
from analysis.quant.ranges import Interval, Levels, Samples
from analysis.quant.statistics import weight_samples
from analysis.records import QuantSettings


def weight_quantizer(
    weight: Tensor,
    axis: int | None,
    format_name: str,
    settings: QuantSettings,
    scores: NDArray[Any] | None = None,
) -> Quantizer:
    """Return the symmetric quantizer of a weight by the settings' range estimator of weights.

    Args:
        weight: Any shape.
        axis: Of its output channels, None for one scale.
        format_name: Of the codes.
        settings: Which range estimator.
        scores: How much an error of every element counts, in the weight's shape.

    Raises:
        QuantizationError: If the range estimator needs scores and there are none.
    """
    grid = get_format(format_name).grid(signed=True)
    known = None if scores is None else torch.from_numpy(np.array(scores))
    samples = weight_samples(weight, axis, known)
    _, limit = interval(samples, Levels(*grid, symmetric=True), settings, settings.weight_range)
    return symmetric_quantizer(limit.to(weight.device), grid, axis)


def interval(samples: Samples, levels: Levels, settings: QuantSettings, name: str) -> Interval:
    """Return the range that a named estimator finds for samples on a grid, with its settings."""
    estimator = RANGE_ESTIMATORS[name]
    values = {"percent": settings.percentile} if name == "percentile" else {}
    with one_thread():
        return estimator.function(samples, levels, build(estimator.options, values))


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch to one thread while thousands of small operations run.

    Waking a second thread for each costs more than it saves, on a busy machine far more.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
