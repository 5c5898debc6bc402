"""The tensors of the layers by what they are to them."""

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots.labels import count, plain
from analysis.records import Distribution, Distributions
from analysis.records.distributions import (
    INPUT,
    POST_ACTIVATION,
    PRE_ACTIVATION,
    ROLES,
    WEIGHT,
)

ROLE_WORDS = {
    WEIGHT: "weights",
    INPUT: "inputs",
    PRE_ACTIVATION: "outputs before the activation function",
    POST_ACTIVATION: "outputs after the activation function",
}


def tensors_of(found: Distributions, role: str) -> list[Distribution | None]:
    """Return what every layer holds in one role, None where there is nothing to draw.

    Raises:
        UnknownNameError: If there is no such role.
        AnalysisError: If no layer has a tensor of this role.
    """
    if role not in ROLES:
        raise UnknownNameError("role of a tensor", role, ROLES)
    places = {place.layer: place for place in found.places if place.role == role}
    held = [
        found.tensors[places[name].tensor] if places[name].tensor >= 0 else None
        for name in found.layers
    ]
    if not any(each is not None and each.count for each in held):
        reasons = sorted({place.reason for place in places.values() if place.reason})
        raise AnalysisError(
            f"No layer has {ROLE_WORDS[role]} that can be drawn"
            + (f": {'; '.join(reasons)}. " if reasons else ". ")
            + "Choose another tensor."
        )
    return [each if each is not None and each.count else None for each in held]


def setting(found: Distributions, role: str) -> list[str]:
    """Return the facts on whose distributions these are."""
    return [
        f"{plain(found.network)} network",
        "BatchNorm folded" if role == WEIGHT else f"n = {found.n:,} calibration samples",
        count(len(found.layers), "layer"),
    ]
