"""What a training made of a quantization."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from analysis.records.base import FloatArray, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained(Record):
    """Codes, scales, biases and activation steps after a training, and how it went.

    ``arrays`` are named ``codes.LAYER``, ``scale.LAYER``, ``bias.LAYER`` and ``step.TENSOR``. The
    ``log`` has one row per look, or per layer or block where these are trained one by one, and the
    columns ``logged``; losses are those of the batch, KL in nats, errors relative, shares and
    agreement in [0, 1].
    """

    arrays: Mapping[str, NDArray[Any]]
    logged: tuple[str, ...]
    log: FloatArray
    notes: tuple[str, ...]
    seconds: float
