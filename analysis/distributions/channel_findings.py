"""What stands out among the channels of one tensor."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log2

import numpy as np

from analysis.distributions.finding import LAYER, Finding, Seen, expected_range, percent
from analysis.records import IntArray
from analysis.records.distributions import WEIGHT

# Half a bit doubles the power of the rounding error. As much again for every doubling of the
# channels that are named: the more are taken away, the more the range shrinks in any tensor.
WIDE_BITS = 0.5
# Channels that are each worth a treatment of their own are few: four, and one in sixteen.
MOST_WIDE = 4
FEW = 16
# Among fewer others one stands out by chance: in 5 to 25 % of draws of 4 small Gaussian channels.
TYPICAL = 7
# Beyond what equal Gaussian channels lose by chance, which is up to 1.3 bits for 3 x 3 kernels.
UNEVEN_BITS = 0.75
FEWEST = 4
# Numbers of channels that a sentence still bears.
_LISTED = 8


@dataclass(frozen=True, slots=True)
class Wide:
    """A few channels, the range of all others, and the bits that the few cost these."""

    channels: IntArray
    low: float
    high: float
    bits: float


def wide_channels(seen: Seen) -> Wide | None:
    """Find the few channels without which the range would be much smaller, None if there are none.

    The channels that reach furthest from the typical one's centre are taken away one after the
    other; as many are named as give the most bits each.
    """
    if not seen.channelled:
        return None
    values = seen.values
    low, high = values.per_channel("low"), values.per_channel("high")
    centre = float(np.median((low + high) / 2))
    order = np.argsort(-np.maximum(high - centre, centre - low), kind="stable")
    best: Wide | None = None
    for taken in range(1, min(max(len(order) // FEW, 1), MOST_WIDE) + 1):
        rest = order[taken:]
        lower, upper = float(low[rest].min()), float(high[rest].max())
        if len(rest) < TYPICAL or lower == upper:
            break
        gained = log2(values.range / (upper - lower))
        if gained < WIDE_BITS * (1 + log2(taken)):
            continue
        # The slack lets a tie go to the larger set, which says more.
        if best is None or gained / taken > 0.999 * best.bits / len(best.channels):
            best = Wide(np.sort(order[:taken]), lower, upper, gained)
    return best


def channel_findings(seen: Seen, wide: Wide | None) -> Iterator[Finding]:
    """Yield wide, uneven and dead channels of a tensor whose range is not zero."""
    if wide is not None:
        yield _wide(seen, wide)
    if seen.channelled:
        yield from _uneven(seen, wide)
        yield from _dead(seen)


def _wide(seen: Seen, wide: Wide) -> Finding:
    several = len(wide.channels) > 1
    before, after = wide.high - wide.low, seen.values.range
    text = (
        f"{_channels(wide.channels)} {'widen' if several else 'alone widens'} the range of "
        f"{seen.name} from {before:.2g} to {after:.2g}: the others use {percent(before / after)} "
        "of it"
    )
    these = "these channels" if several else "this channel"
    if seen.role == WEIGHT:
        remedy = f"Give every channel a range of its own (per-channel weights), or split {these}"
    else:
        remedy = seen.evened_out
        remedy += f", or split {these}" if seen.maker == LAYER else ", or more bits"
    return seen.finding("wide_channel", wide.bits, text, remedy)


def _uneven(seen: Seen, wide: Wide | None) -> Iterator[Finding]:
    """Channels that use little of the range, those left aside that are wide by themselves."""
    values = seen.values
    ranges, whole = values.channel_ranges, values.range
    if wide is not None:
        ranges, whole = np.delete(ranges, wide.channels), wide.high - wide.low
    live = ranges[ranges > 0]
    if len(live) < FEWEST:
        return
    lost = -log2(float(live.mean()) / whole)
    each = values.count / values.channels.shape[1]
    by_chance = log2(expected_range(each * len(live)) / expected_range(each))
    if lost - by_chance < UNEVEN_BITS:
        return
    left = max(seen.bits + log2(float(np.median(live)) / whole), 0.0)
    which, its = ("other channels", "what is left of the") if wide else ("channels", "the")
    text = (
        f"the {which} of {seen.name} use {percent(2**-lost)} of {its} range on average: the "
        f"typical one is left with {left:.1f} of {seen.bits} bits"
    )
    if seen.role == WEIGHT:
        remedy = "Give every channel a range of its own (per-channel weights)"
    else:
        remedy = f"{seen.evened_out}, or more bits"
    yield seen.finding("uneven_channels", lost, text, remedy)


def _dead(seen: Seen) -> Iterator[Finding]:
    dead = np.flatnonzero(seen.values.dead)
    total = len(seen.values.dead)
    if not len(dead):
        return
    severity = log2(total / (total - len(dead))) if len(dead) < total else float(seen.bits)
    listed = ", ".join(str(i) for i in dead[:_LISTED])
    more = f" and {len(dead) - _LISTED} more" if len(dead) > _LISTED else ""
    verb, which = ("holds", "channel") if len(dead) == 1 else ("hold", "channels")
    text = (
        f"{len(dead)} of {total} channels of {seen.name} {verb} one value only "
        f"({which} {listed}{more})"
    )
    if seen.role == WEIGHT and bool((seen.values.per_channel("high")[dead] != 0).any()):
        remedy = "Check that they have learnt something: they only sum up what they read"
    else:
        remedy = "Try to prune what never changes: it takes memory and time and tells nothing"
    yield seen.finding("dead_channels", severity, text, remedy)


def _channels(numbers: IntArray) -> str:
    names = [str(i) for i in numbers]
    if len(names) == 1:
        return f"channel {names[0]}"
    return f"channels {', '.join(names[:-1])} and {names[-1]}"
