"""Small distributions and training runs to draw, built by hand from arrays."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.records import (
    Distribution,
    Distributions,
    GridError,
    InitRun,
    InitStudy,
    Place,
    RangeExploration,
)
from analysis.records.distributions import ROLES, STATISTICS
from analysis.records.initialization import FOLLOWED, KEPT

BITS = (8, 4)
LAYERS = ("stem", "block.depthwise", "block.pointwise", "fc")


def statistics(values: np.ndarray) -> np.ndarray:
    """Statistics of the rows of (C, n), in the order of STATISTICS: (7, C)."""
    mean, std = values.mean(axis=1), values.std(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        kurtosis = ((values - mean[:, None]) ** 4).mean(axis=1) / std**4
    q01, q99 = np.quantile(values, [0.01, 0.99], axis=1)
    return np.array([values.min(axis=1), values.max(axis=1), mean, std, kurtosis, q01, q99])


def distribution(values: object, title: str = "conv weights", bins: int = 2048) -> Distribution:
    """Describe values (C, ...), one channel a row."""
    rows = np.asarray(values, dtype=np.float64)
    rows = rows.reshape(len(rows), -1)
    same = np.ptp(rows) == 0
    counts, edges = np.histogram(rows, 1 if same else bins, (rows.min(), rows.max()))
    if same:
        edges = rows.min() + np.array([0.0, 2.0**-12])
    return Distribution(
        title=title,
        count=rows.size,
        zeros=int((rows == 0).sum()),
        statistics=statistics(rows.reshape(1, -1))[:, 0],
        channels=statistics(rows),
        start=float(edges[0]),
        width=float(edges[1] - edges[0]),
        counts=counts.astype(np.float64),
    )


def empty(title: str = "nothing") -> Distribution:
    return Distribution(
        title=title,
        count=0,
        zeros=0,
        statistics=np.full(len(STATISTICS), np.nan),
        channels=np.zeros((len(STATISTICS), 0)),
        start=0.0,
        width=1.0,
        counts=np.zeros(4),
    )


def distributions(
    tensors: Mapping[str, np.ndarray | None], role: str = "weight", network: str = "float"
) -> Distributions:
    """Hold one role of every layer; the others, and None, are said to be missing."""
    held = [name for name, values in tensors.items() if values is not None]
    places = tuple(
        Place(layer=name, role=each, tensor=held.index(name))
        if each == role and name in held
        else Place(layer=name, role=each, tensor=-1, reason="not a floating-point tensor")
        for name in tensors
        for each in ROLES
    )
    return Distributions(
        layers=tuple(tensors),
        places=places,
        tensors=tuple(distribution(tensors[name], f"{name} {role}") for name in held),
        n=64,
        calibration="digest",
        network=network,
    )


def levels_of(limit: float, bits: int) -> np.ndarray:
    """Levels of a symmetric grid without its lowest code."""
    top = 2 ** (bits - 1) - 1
    return limit / top * np.arange(-top, top + 1)


def quantized(values: np.ndarray, limit: float, bits: int) -> np.ndarray:
    step = limit / (2 ** (bits - 1) - 1)
    return step * np.clip(np.rint(values / step), -limit / step, limit / step)


def grid_error(
    values: np.ndarray, limit: float, bits: int = 4, name: str = "min_max", title: str = "Min-max"
) -> GridError:
    """Clip at a limit and round to a symmetric grid over the whole tensor."""
    step = limit / (2 ** (bits - 1) - 1)
    squares = (values - quantized(values, limit, bits)) ** 2
    outside = np.abs(values) > limit + step / 2
    return GridError(
        estimator=name,
        title=title,
        low=np.array([-limit]),
        high=np.array([limit]),
        step=np.array([step]),
        clipped=float(outside.mean()),
        rounding=float(np.where(outside, 0, squares).mean()),
        clipping=float(np.where(outside, squares, 0).mean()),
        signal=float((values**2).mean()),
    )


def exploration(
    values: np.ndarray,
    bits: int = 4,
    limits: Mapping[str, float] | None = None,
    *,
    gauss: float = float("nan"),
    laplace: float = float("nan"),
) -> RangeExploration:
    """Try 60 limits and those of estimators, shares of the largest magnitude by title."""
    largest = float(np.abs(values).max())
    share = np.geomspace(0.01, 1.0, 60)
    curve = [grid_error(values, each * largest, bits) for each in share]
    limits = {"Min-max": 1.0} if limits is None else limits
    return RangeExploration(
        title="conv weights",
        format=f"int{bits}",
        symmetric=True,
        per_channel=False,
        levels=2**bits - 1,
        share=share,
        rounding=np.array([each.rounding for each in curve]),
        clipping=np.array([each.clipping for each in curve]),
        signal=float((values**2).mean()),
        estimators=tuple(
            grid_error(values, at * largest, bits, title.lower().replace("-", "_"), title)
            for title, at in limits.items()
        ),
        gauss=gauss,
        laplace=laplace,
    )


def init_run(
    initializer: str = "he_uniform",
    architecture: str = "regular",
    seed: int = 0,
    *,
    ranges: Sequence[float] = (1.0, 2.0, 4.0),
    layers: Sequence[str] = LAYERS,
    acp: float = 0.5,
    correct: int = 90,
    drops: Sequence[int] = (1, 10),
    diverged_at: int | None = None,
) -> InitRun:
    """Train so that layer l has (l + 1) x these ranges, one an epoch, symmetric about zero."""
    epochs = len(ranges) - 1
    half = np.outer(ranges, np.arange(1, len(layers) + 1)) / 2  # (E + 1, L)
    columns = {
        "low": -half,
        "high": half,
        "mean": 0 * half,
        "std": half / 2,
        "kurtosis": 0 * half + 3,
        "q01": -0.8 * half,
        "q99": 0.8 * half,
        "acp": 0 * half + acp,
        "dead": 0 * half,
    }
    kept = np.stack([columns[name] for name in KEPT], axis=2)
    kept = np.stack([kept] * len(FOLLOWED), axis=1)
    if diverged_at is not None:
        kept[diverged_at:] = np.nan
    lost = diverged_at is not None
    quantized_correct = np.array([[correct - drop for drop in drops]] * 2, dtype=np.float64)
    return InitRun(
        initializer=initializer,
        architecture=architecture,
        seed=seed,
        epochs=epochs,
        layers=tuple(layers),
        kinds=("conv2d",) * len(layers),
        statistics=kept,
        offsets=np.arange(len(layers) + 1),
        channel_low=kept[..., KEPT.index("low")],
        channel_high=kept[..., KEPT.index("high")],
        loss=np.ones(epochs),
        accuracy=np.full(epochs + 1, correct / 100),
        float_correct=correct,
        n=100,
        bits=BITS,
        correct=quantized_correct * (np.nan if lost else 1),
        qce=np.ones((2, len(BITS))),
        float_entropy=0.1,
        qmse_isolated=np.ones((2, len(BITS), len(layers))),
        qmse_accumulated=np.ones((2, len(BITS), len(layers))),
        diverged=f"loss is not finite in epoch {diverged_at}" if lost else "",
    )


def init_study(*runs: InitRun) -> InitStudy:
    return InitStudy(runs=runs, data="digits")
