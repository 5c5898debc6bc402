"""One tensor in numbers, as cards: before and after where two are compared."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from analysis.plots.decibels import sqnr
from analysis.plots.labels import number
from analysis.records import Distribution, GridError
from pages.ui import shell

_NONE = "–"


def cards(
    one: Distribution,
    beside: Distribution | None,
    bits: int,
    grid: str,
    chosen: GridError | None,
    chosen_beside: GridError | None = None,
) -> None:
    """Draw count, range, channels and what a grid costs.

    Args:
        one: The tensor.
        beside: The same one in another network.
        bits: Of the grid.
        grid: Name of the format.
        chosen: What the chosen range costs; None where no grid acts.
        chosen_beside: The same for the other network, where it is known.
    """
    both = [one] if beside is None else [one, beside]

    def change(text: Callable[[Distribution], str]) -> str:
        return " → ".join(dict.fromkeys(text(each) for each in both))

    shown = [
        (
            "Values",
            f"{one.count:,}",
            change(lambda each: f"{each.zeros / max(each.count, 1):.1%}") + " exact zeros",
        ),
        (
            "Range",
            change(lambda each: number(each.range)),
            change(lambda each: f"{_end(each, 'low')} to {_end(each, 'high')}")
            + ("" if beside is not None else f", std {number(one.value('std'))}"),
        ),
    ]
    if one.channels.shape[1] > 1:
        channels = one.channels.shape[1]
        shown.append(
            (
                "Average channel precision",
                change(_precision),
                change(lambda each: f"{int(each.dead.sum())}")
                + f" of {channels} channels hold one value only",
            )
        )
        shown.append(
            (
                "Bits left per channel",
                change(lambda each: _bits(each, bits, 0.5)),
                "no channel has a range"
                if one.dead.all()
                else f"of {bits}, worst {change(lambda each: _bits(each, bits, 0.0))}, "
                "one range for all",
            )
        )
    if chosen is not None and chosen.error >= 0:
        costs = [each for each in (chosen, chosen_beside) if each is not None and each.error >= 0]
        quality = " → ".join(dict.fromkeys(sqnr(each) for each in costs))
        only = ", before" if beside is not None and len(costs) == 1 else ""
        shown.append(("SQNR", quality, f"{chosen.title}, {grid}{only}"))
        lossy = sqnr(chosen).endswith("dB")
        shown.append(
            (
                "Clipped",
                " → ".join(dict.fromkeys(f"{number(100 * each.clipped)} %" for each in costs)),
                f"{chosen.clipping / chosen.error:.0%} of the squared error, "
                + ("before" if beside is not None else "the rest is rounding")
                if lossy
                else "no error",
            )
        )
    with st.grid(3, min_column_width=230):
        for card in shown:
            shell.card(*card)


def _end(each: Distribution, statistic: str) -> str:
    return number(each.value(statistic) + 0.0)  # no minus before zero


def _precision(each: Distribution) -> str:
    return _NONE if each.dead.all() else f"{each.average_channel_precision:.2f}"


def _bits(each: Distribution, bits: int, quantile: float) -> str:
    live = each.effective_bits(bits)[~each.dead]
    return f"{float(np.quantile(live, quantile)):.1f}" if live.size else _NONE
