"""One row per layer: the statistics of its tensors of one role, for a table."""

import numpy as np

from analysis.records import Distribution, Distributions


def layer_summary(
    found: Distributions, role: str, bits: int
) -> list[dict[str, str | int | float | None]]:
    """Return one row per layer in network order.

    ``acp`` is the average channel precision; ``bits_median`` and ``bits_worst`` what the typical
    and the worst channel that is not dead have left of ``bits`` on a grid over the whole range;
    ``zeros`` the share of exact zeros; ``outlier_ratio`` the range over the distance of the 1 % and
    99 % quantiles. Numbers are None where a tensor has none or is missing: then ``reason`` says
    why.

    Args:
        found: The distributions of a network.
        role: One of the roles of :mod:`analysis.records.distributions`.
        bits: Bits of the grids.
    """
    rows: list[dict[str, str | int | float | None]] = []
    for layer in found.layers:
        place = found.place(layer, role)
        values = None if place.tensor < 0 else found.tensors[place.tensor]
        numbers = dict.fromkeys(_COLUMNS) if values is None else _numbers(values, bits)
        rows.append({"layer": layer, **numbers, "reason": place.reason})
    return rows


_PLAIN = ("low", "high", "mean", "std", "kurtosis", "q01", "q99")
_COLUMNS = (
    *_PLAIN,
    "acp",
    "bits_median",
    "bits_worst",
    "dead",
    "channels",
    "zeros",
    "outlier_ratio",
)


def _numbers(values: Distribution, bits: int) -> dict[str, int | float | None]:
    live = values.effective_bits(bits)[~values.dead]
    within = values.value("q99") - values.value("q01")
    numbers: tuple[float, ...] = (
        *(values.value(name) for name in _PLAIN),
        values.average_channel_precision,
        float(np.median(live)) if live.size else np.nan,
        float(live.min()) if live.size else np.nan,
        int(values.dead.sum()),
        len(values.dead),
        values.zeros / values.count if values.count else np.nan,
        values.range / within if within > 0 else np.nan,
    )
    return {
        name: number if np.isfinite(number) else None
        for name, number in zip(_COLUMNS, numbers, strict=True)
    }
