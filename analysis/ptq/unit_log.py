"""What a reconstruction logs of every unit, and what it says of all of them."""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.events import Note
from analysis.ptq.wording import few, percent, sample_count

# One row per unit: place of its first layer in the layer table, how many layers it has, relative
# output errors on held-out samples, share of weights not rounded to the nearest level, and whether
# what was trained is taken (1) or rounding to nearest (0).
COLUMNS = ("layer", "layers", "error_nearest", "error_trained", "moved", "taken")


def said(log: list[list[float]], names: Sequence[str], looked_at: int, *, n: int) -> Iterator[Note]:
    """Yield what a reader of the result must know.

    Args:
        log: One row per finished unit.
        names: Of the layers of the table.
        looked_at: Samples that errors are measured on.
        n: All samples; where as many are looked at, none is held out.
    """
    trained = n - looked_at if looked_at < n else n
    yield from few(trained, "trained on")
    if not log:
        yield Note("No unit was trained.")
        return
    columns = dict(zip(COLUMNS, np.array(log).T, strict=True))
    before, after = columns["error_nearest"], columns["error_trained"]
    left = columns["taken"] == 0
    after = np.where(left, before, after)
    most = int((before - after).argmax())
    falls = (
        f"; it falls most in {_name(log[most], names)}, from {percent(before[most])} to "
        f"{percent(after[most])}"
    )
    yield Note(
        f"{len(log)} {'unit' if len(log) == 1 else 'units'} trained: the error of their outputs on "
        f"{sample_count(looked_at, 'held-out' if looked_at < n else 'training')} is "
        f"{percent(float(np.median(after)))} in the median, {percent(float(np.median(before)))} "
        f"rounded to nearest behind what was trained before{'' if left.all() else falls}."
    )
    if left.any():
        kept = ", ".join(_name(row, names) for row, own in zip(log, left, strict=True) if own)
        yield Note(f"Rounding to nearest is kept, as training gave no smaller error, in {kept}.")


def _name(row: Sequence[float], names: Sequence[str]) -> str:
    first, count = int(row[0]), int(row[1])
    return f"`{names[first]}`" if count == 1 else f"the block of `{names[first]}`"
