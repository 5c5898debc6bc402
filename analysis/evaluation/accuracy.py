"""Running the evaluation set through a network under a plan."""

from collections.abc import Callable
from contextlib import nullcontext
from math import nan
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.errors import QuantizationError
from analysis.evaluation.checkpoints import Checkpoints
from analysis.evaluation.intervals import paired, wilson
from analysis.events import Progress, Work
from analysis.models.network import NOTHING, Network
from analysis.models.replay import Plan
from analysis.records import Evaluation, FloatArray


def logits(
    network: Network,
    inputs: Callable[[range], Tensor],
    n: int,
    *,
    plan: Plan = NOTHING,
    batch_size: int = 128,
    message: str = "evaluating",
    checkpoints: Checkpoints | None = None,
) -> Work[FloatArray]:
    """Return the logits (N, C) of all samples.

    With ``checkpoints`` only what differs from the evaluation before is computed.

    Raises:
        QuantizationError: If they are not finite.
    """
    rows = []
    with nullcontext() if checkpoints is None else checkpoints.over(network, n) as kept:
        for first in range(0, n, batch_size):
            batch = range(first, min(first + batch_size, n))
            x = inputs(batch)
            with torch.no_grad():
                found = network(x, plan) if kept is None else kept.logits(x, batch, plan)
            rows.append(found.double().cpu().numpy())
            yield Progress(batch.stop, n, f"{message}: {batch.stop} of {n} samples")
    result = np.concatenate(rows)
    if not np.isfinite(result).all():
        raise QuantizationError(
            "The outputs must be finite, the quantized network gave NaN or infinity. "
            "Raise the bits of the first layers or choose another range estimator."
        )
    return result


def evaluation(
    outputs: FloatArray,
    labels: NDArray[np.int64] | None,
    float_outputs: FloatArray,
    *,
    digest: str,
    begin: float,
    compare: bool,
) -> Evaluation:
    """Summarise logits (N, C) against the labels (N,) and the float network's logits.

    Args:
        outputs: Logits that were measured.
        labels: True classes, None where there are none.
        float_outputs: Logits of the folded float network on the same samples.
        digest: Identifies the evaluation set.
        begin: When measuring began, by :func:`time.perf_counter`.
        compare: Whether to compare with the float network.
    """
    predictions = outputs.argmax(1)
    reference = float_outputs.argmax(1)
    labelled = labels is not None
    truth = labels if labels is not None else np.full(len(outputs), -1)
    correct = predictions == truth
    low, high = wilson(int(correct.sum()), len(correct)) if labelled else (nan, nan)
    log_p, log_q = _log_softmax(float_outputs), _log_softmax(outputs)
    return Evaluation(
        n=len(outputs),
        labelled=labelled,
        top1=float(correct.mean()) if labelled else nan,
        low=low,
        high=high,
        loss=float(-log_q[np.arange(len(truth)), truth].mean()) if labelled else nan,
        kl=float((np.exp(log_p) * (log_p - log_q)).sum(1).mean()),
        predictions=predictions,
        correct=correct,
        versus_float=paired(predictions, reference, correct, reference == truth, labelled=labelled)
        if compare
        else None,
        evaluation=digest,
        seconds=perf_counter() - begin,
    )


def _log_softmax(values: FloatArray) -> FloatArray:
    shifted = values - values.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
