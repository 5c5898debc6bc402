"""Loops over values that would take torch several passes over memory, compiled by numba."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile a loop when it is first called, for later processes as well where that is possible.

    Other threads run meanwhile; sums may be taken in any order.
    """
    # NaN and infinity keep their meaning.
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # there is no folder to write what was compiled to
        return numba.njit(**options)(function)  # type: ignore[no-any-return]
