"""Texts on axes: short layer names, thinned ticks, readable numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from math import ceil, isfinite, log10

import numpy as np

from analysis.records import FloatArray

LONGEST = 20
_NUMBERED = re.compile(r"^([A-Za-z_]+)\.?(?=\d)")


def layer_labels(names: Sequence[str], longest: int = LONGEST) -> tuple[str, ...]:
    """Shorten dotted layer names, keeping them different from each other.

    Leading parts that all names share are dropped, then the word before a number that most names
    begin with (``layer1.0.conv1`` becomes ``1.0.conv1``); what is still too long loses its middle.

    Args:
        names: Different names, (L,).
        longest: Characters that a label should not exceed; exceeded where labels would be equal.
    """
    labels = _without_common_word(_without_common_parts(list(names)))
    for limit in range(max(longest, 3), max(map(len, labels), default=0) + 1):
        short = [_ellipsis(label, limit) for label in labels]
        if len(set(short)) == len(set(names)):
            return tuple(short)
    return tuple(labels)


def ticks(labels: Sequence[str], room: int) -> tuple[list[int], list[str]]:
    """Return positions and texts of at most ``room`` evenly thinned labels."""
    step = max(1, ceil(len(labels) / max(room, 1)))
    positions = list(range(0, len(labels), step))
    return positions, [plain(labels[position]) for position in positions]


def plain(text: str) -> str:
    """Return a text that Plotly shows as it is instead of reading tags in it."""
    return escape(text, quote=False)


def number(value: float) -> str:
    """Return a number in three significant digits, in powers of ten only when it is extreme."""
    if value == 0 or not isfinite(value):
        return f"{value:g}"
    size = abs(value)
    if 1e-3 <= size < 1e6:
        digits = max(0, 2 - int(np.floor(log10(size))))
        return f"{value:,.{digits}f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def count(amount: int, what: str) -> str:
    """Return ``1 layer`` or ``3 layers``."""
    return f"{amount:,} {what}" if amount == 1 else f"{amount:,} {what}s"


def is_wide(values: FloatArray) -> bool:
    """Say whether values need a logarithmic axis: all positive, more than 20 times apart."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() > 20 * known.min())


def scale_ticks(low: float, high: float, logarithmic: bool, most: int = 6) -> list[float]:
    """Return round values inside ``[low, high]``, falling back on the two ends."""
    if high <= low:
        return [low]
    if logarithmic:
        powers = range(int(np.floor(log10(low))), int(np.floor(log10(high))) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            found = [f * 10.0**power for power in powers for f in factors]
            found = [tick for tick in found if low <= tick <= high]
            if len(found) <= most:
                break
        found = found[:: max(1, ceil(len(found) / most))]
    else:
        raw = (high - low) / (most - 1)
        base = 10.0 ** np.floor(log10(raw))
        step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= raw * (1 - 1e-9))
        first, last = ceil(low / step - 1e-9), int(np.floor(high / step + 1e-9))
        found = [float(tick * step) for tick in range(first, last + 1)]
    return found if len(found) > 1 else [low, high]


def tick_texts(values: Sequence[float]) -> list[str]:
    """Return texts of as few digits as tell the values apart."""
    texts: list[str] = []
    for digits in range(2, 18):
        texts = [_rounded(value, digits) for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def _rounded(value: float, digits: int) -> str:
    """Return a number in at most ``digits`` significant digits, without trailing zeros."""
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or 1e-4 <= abs(rounded) < 1e6:
        return f"{rounded:,.{digits + 4}f}".rstrip("0").rstrip(".")
    mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
    return f"{float(mantissa):.{digits}g}e{int(exponent)}"


def _without_common_parts(names: list[str]) -> list[str]:
    """Drop leading dotted parts that every name shares, leaving at least one part."""
    parts = [name.split(".") for name in names]
    shared = 0
    while (
        len(names) > 1
        and all(len(p) > shared + 1 for p in parts)
        and len({p[shared] for p in parts}) == 1
    ):
        shared += 1
    return [".".join(p[shared:]) for p in parts]


def _without_common_word(names: list[str]) -> list[str]:
    """Drop the word before a number that more than half of the names begin with."""
    words = [match[1] if (match := _NUMBERED.match(name)) else "" for name in names]
    common, times = Counter(words).most_common(1)[0] if words else ("", 0)
    if not common or times < 3 or times <= len(names) / 2:
        return names
    short = [
        _NUMBERED.sub("", name) if word == common and "." in name else name
        for name, word in zip(names, words, strict=True)
    ]
    return short if len(set(short)) == len(set(names)) else names


def _ellipsis(text: str, longest: int) -> str:
    """Cut the middle out of a text, keeping more of its end, where layers differ."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 3
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"
