"""Distributions made by hand, to say what stands out in them."""

import numpy as np

from analysis.distributions.findings import findings
from analysis.records import Distribution, Distributions, Place
from analysis.records.distributions import ROLES, WEIGHT


def distribution(channels: list[np.ndarray] | np.ndarray, title: str = "made") -> Distribution:
    """Values of every channel, C rows of equal or unequal length."""

    def statistics(x: np.ndarray) -> list[float]:
        centred, deviation = x - x.mean(), x.std()
        kurtosis = float((centred**4).mean() / deviation**4) if deviation else float("nan")
        q01, q99 = np.quantile(x, [0.01, 0.99])
        return [x.min(), x.max(), x.mean(), deviation, kurtosis, q01, q99]

    everything = np.concatenate([np.asarray(x, float) for x in channels])
    low, high = everything.min(), everything.max()
    return Distribution(
        title=title,
        count=len(everything),
        zeros=int((everything == 0).sum()),
        statistics=np.array(statistics(everything)),
        channels=np.array([statistics(np.asarray(x, float)) for x in channels]).T,
        start=float(low),
        width=float(high - low) / 64,
        counts=np.histogram(everything, 64)[0].astype(float),
    )


def network(**tensors: list[Distribution | None]) -> Distributions:
    """One distribution per layer and role; None where there is none."""
    kept: list[Distribution] = []
    places: list[Place] = []
    length = max(len(row) for row in tensors.values())
    names = tuple(f"layer{i}.conv" for i in range(length))
    for i, name in enumerate(names):
        for role in ROLES:
            found = tensors.get(role, [None] * length)[i]
            at = next((j for j, other in enumerate(kept) if other is found), len(kept))
            if found is not None and at == len(kept):
                kept.append(found)
            reason = "" if found is not None else "not looked at"
            places.append(
                Place(layer=name, role=role, tensor=-1 if found is None else at, reason=reason)
            )
    return Distributions(
        layers=names, places=tuple(places), tensors=tuple(kept), n=8, calibration="made by hand"
    )


def gauss(channels: int = 16, each: int = 144, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(channels, each))


def one(values: list[np.ndarray] | np.ndarray, role: str = WEIGHT, bits: int = 8):
    return findings(network(**{role: [distribution(values)]}), bits)


def even(channels: int, each: int, low: float, high: float) -> np.ndarray:
    """The same evenly spaced values in every channel."""
    return np.tile(np.linspace(low, high, each), (channels, 1))
