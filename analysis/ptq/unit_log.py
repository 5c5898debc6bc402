"""What a reconstruction logs of every unit, and what it says of all of them."""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.events import Note

# One row per unit: place of its first layer in the layer table, how many layers it has, relative
# output errors on held-out samples, share of weights not rounded to the nearest level, and whether
# what was trained is taken (1) or rounding to nearest (0).
COLUMNS = ("layer", "layers", "error_nearest", "error_trained", "moved", "taken")
# Fewer samples than this are learnt by heart.
_FEW = 256


def said(log: list[list[float]], names: Sequence[str], looked_at: int, *, n: int) -> Iterator[Note]:
    """Yield what a reader of the result must know.

    Args:
        log: One row per finished unit.
        names: Of the layers of the table.
        looked_at: Samples that errors are measured on.
        n: All samples; where as many are looked at, none is held out.
    """
    trained = n - looked_at if looked_at < n else n
    if trained < _FEW:
        yield Note(
            f"Only {trained} samples are trained on, fewer than {_FEW}: what they teach may not "
            "carry over. Use more calibration samples."
        )
    if not log:
        yield Note("No unit was trained.")
        return
    columns = dict(zip(COLUMNS, np.array(log).T, strict=True))
    before, after = columns["error_nearest"], columns["error_trained"]
    left = columns["taken"] == 0
    after = np.where(left, before, after)
    most = int((before - after).argmax())
    yield Note(
        f"{len(log)} {'unit' if len(log) == 1 else 'units'} trained: the error of their outputs on "
        f"{looked_at} {'held-out samples' if looked_at < n else 'samples that were trained on'} is "
        f"{np.median(after):.2%} in the median, {np.median(before):.2%} rounded to nearest behind "
        f"what was trained before; it falls most in {_name(log[most], names)}, from "
        f"{before[most]:.2%} to {after[most]:.2%}."
    )
    if left.any():
        kept = ", ".join(_name(row, names) for row, own in zip(log, left, strict=True) if own)
        yield Note(f"Rounding to nearest is kept, as training gave no smaller error, in {kept}.")


def _name(row: Sequence[float], names: Sequence[str]) -> str:
    first, count = int(row[0]), int(row[1])
    return f"`{names[first]}`" if count == 1 else f"the block of `{names[first]}`"
