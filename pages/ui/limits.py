"""Limits of resources: their names, units and ranges, and the form that asks for them."""

from collections.abc import Sequence

import streamlit as st

from analysis.records import Budget

# Label, low, high, start, step of the limit.
LIMITS = {
    "size": ("Size, share of w8a8", 0.05, 4.0, 0.6, 0.05),
    "size_mib": ("Size in MiB", 0.0001, 1e6, 0.1, 0.01),
    "stored_mib": ("Size with scales in MiB", 0.0001, 1e6, 0.1, 0.01),
    "bops": ("BOPs, share of w8a8", 0.05, 16.0, 0.6, 0.05),
    "gbops": ("BOPs per sample in 10⁹", 0.0001, 1e6, 1.0, 0.1),
    "avg_bits": ("Average weight bits", 1.0, 32.0, 4.5, 0.5),
    "act": ("Peak activation memory, share of w8a8", 0.05, 4.0, 0.8, 0.05),
    "act_mib": ("Peak activation memory in MiB per sample", 0.0001, 1e6, 0.1, 0.01),
    "ace": ("Arithmetic effort with element-wise work, share of w8a8", 0.05, 16.0, 0.6, 0.05),
    "latency_ms": ("Summed time of the layers in ms", 0.0001, 1e6, 1.0, 0.1),
}


def title(resource: str) -> str:
    """Name a resource with its unit."""
    return LIMITS[resource][0]


def ask(
    label: str,
    resources: Sequence[str] = tuple(LIMITS),
    default: Sequence[str] = (),
    *,
    key: str,
    prefix: str,
    placeholder: str = "Choose options",
) -> tuple[Budget, ...]:
    """Draw the choice of resources, and a limit for each that is chosen.

    Args:
        label: Of the choice.
        resources: What can be chosen.
        default: What is chosen first.
        key: Of the choice.
        prefix: Of the keys of the limits.
        placeholder: What is shown when nothing is chosen.
    """
    chosen = st.multiselect(
        label,
        list(resources),
        list(default),
        format_func=title,
        key=key,
        persist_state="session",
        placeholder=placeholder,
    )
    found = []
    for name in chosen:
        text, low, high, start, step = LIMITS[name]
        limit = st.number_input(
            text,
            low,
            high,
            start,
            step,
            format="%g",  # as many digits as the limit has
            key=f"{prefix}-{name}",
            persist_state="session",
        )
        found.append(Budget(resource=name, limit=float(limit)))
    return tuple(found)
