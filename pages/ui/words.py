"""Numbers as a person reads them, always with unit, n and interval."""

from collections.abc import Collection

from analysis.records import Costs, Evaluation, LayerTable, Paired, StudySpec


def accuracy(measured: Evaluation) -> str:
    """Return the top-1 accuracy with its 95 % interval and n."""
    if not measured.labelled:
        return "no labels"
    return (
        f"{measured.top1:.2%} ({100 * measured.low:.1f}-{100 * measured.high:.1f}, "
        f"n = {measured.n:,})"
    )


def interval(measured: Evaluation) -> str:
    """Return the 95 % interval of the top-1 accuracy in % with n."""
    return f"95 %: {100 * measured.low:.1f}-{100 * measured.high:.1f}, n = {measured.n:,}"


def difference(paired: Paired) -> str:
    """Say a paired accuracy difference, and whether it stands out of the noise."""
    points = f"{100 * paired.difference:+.2f} points"
    interval = f"{100 * paired.low:+.1f} to {100 * paired.high:+.1f}"
    return f"{points} ({interval}), {verdict(paired)}"


def verdict(paired: Paired) -> str:
    """Say whether a difference stands out of the noise."""
    return "outside the noise" if significant(paired) else "inside the noise"


def significant(paired: Paired) -> bool:
    """Tell whether the 95 % interval of the difference leaves out zero."""
    return paired.low > 0 or paired.high < 0


def count(value: float) -> str:
    """Return a large number with a unit prefix: 269 k, 40.8 M, 1.62 G."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


def model(spec: StudySpec) -> str:
    """Return a model's name; of a factory the last part of its module."""
    kind, _, rest = spec.model.partition(":")
    return rest.partition(":")[0].rpartition(".")[2] if kind == "factory" else rest


def few(names: Collection[str], most: int = 4) -> str:
    """Name the first of several and count the rest."""
    rest = len(names) - most
    return ", ".join(sorted(names)[:most]) + (f" and {rest} more" if rest > 0 else "")


def class_name(names: tuple[str, ...], label: int) -> str:
    """Return a class by its name, by its index where names are unknown."""
    return names[label] if label < len(names) else str(label)


def size(costs: Costs) -> str:
    """Return the size in MiB, its share of 8 bits and the compression."""
    return f"{costs.size_ratio:.1%} of w8a8 · {costs.compression:.1f}× below float"


def seconds(value: float) -> str:
    """Return a duration."""
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.1f} min"


def roughly(value: float) -> str:
    """Return an expected duration, with no more digits than an estimate has."""
    if value < 100:
        return f"{float(f'{value:.1g}' if value < 10 else f'{value:.2g}'):g} s"
    minutes = value / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.2g} h"


def skipped(table: LayerTable) -> str:
    """Say how many modules keep float values."""
    n = len(table.skipped)
    return "1 module stays float" if n == 1 else f"{n} modules stay float"
