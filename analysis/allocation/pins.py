"""What each layer may become, once pins and activation groups are heard."""

from collections.abc import Iterable, Mapping

from analysis.errors import AllocationError, UnknownNameError
from analysis.records import FLOAT, Candidate, LayerTable, ScoreTable

DEFAULT_PIN = Candidate("int8", "int8")

Pins = Mapping[str, Candidate | tuple[Candidate, ...]]
Allowed = dict[str, tuple[Candidate, ...]]


def allowed_candidates(
    table: LayerTable, scores: ScoreTable, pins: Pins
) -> tuple[tuple[tuple[Candidate, ...], ...], tuple[str, ...]]:
    """Return the candidates of each layer and notes on what was restricted.

    Within an activation group only activation formats that every member can take are left.

    Args:
        table: The layers.
        scores: Scores; their layers have its candidates, the others stay float.
        pins: Layer name to the candidate it must take, or to those it may take.

    Returns:
        Candidates of each layer, L tuples, and the notes.

    Raises:
        AllocationError: If pins contradict each other or a group has no common format.
        UnknownNameError: If a pin names no layer.
    """
    pinned, notes = _pinned(table, scores, pins)
    allowed: Allowed = {}
    for name in table.names:
        if name in pinned:
            allowed[name] = pinned[name]
        elif name in scores.layers:
            allowed[name] = scores.candidates
    for members in table.groups.values():
        formats = _common_formats(members, pinned, allowed)
        for name in members:
            if name not in allowed:
                # An own format could never agree with the group; its readers share one quantizer.
                allowed[name] = tuple(Candidate(FLOAT, f) for f in formats or (FLOAT,))
                notes.append(_float_note(name, scores))
            elif formats:
                allowed[name] = tuple(c for c in allowed[name] if c.activation in formats)
        _note_forced_format(members, pinned, scores, allowed, notes)
    return tuple(allowed[name] for name in table.names), tuple(notes)


def _pinned(table: LayerTable, scores: ScoreTable, pins: Pins) -> tuple[Allowed, list[str]]:
    for name in pins:
        if name not in table.names:
            raise UnknownNameError("layer", name, table.names)
    pinned: Allowed = {layer.name: (DEFAULT_PIN,) for layer in table.layers if layer.pinned}
    for name, pin in pins.items():
        pinned[name] = (pin,) if isinstance(pin, Candidate) else tuple(dict.fromkeys(pin))
    notes = []
    for name, own in pinned.items():
        unscored = [c for c in own if name not in scores.layers or c not in scores.candidates]
        if not own or (unscored and len(own) > 1):
            raise AllocationError(
                f"`{name}` must be pinned to one candidate or to scored ones, got "
                f"{_texts(unscored) + ' without a score' if own else 'none'}; "
                f"scored: {_texts(scores.candidates) if name in scores.layers else 'none'}."
            )
        if unscored:
            notes.append(f"`{name}` is pinned to {own[0].text}, which has no score: it counts 0.")
    return pinned, notes


def _common_formats(members: tuple[str, ...], pinned: Allowed, allowed: Allowed) -> tuple[str, ...]:
    """Return the activation formats that all members with candidates can take."""
    held = _intersection(allowed[name] for name in members if name in pinned)
    if held == ():
        named = "; ".join(f"`{name}`: {_texts(pinned[name])}" for name in members if name in pinned)
        raise AllocationError(
            f"Layers that read a common tensor must be pinned to one activation format, got "
            f"{named}. Pin them alike or release one."
        )
    common = _intersection(allowed[name] for name in members if name in allowed)
    if common is None or common:
        return common or ()
    # Unpinned layers share one set of candidates, so only a pin can leave nothing in common.
    lacking = [name for name in members if name in allowed and name not in pinned]
    holders = [name for name in members if name in pinned]
    missing = Candidate(allowed[lacking[0]][0].weight, (held or (FLOAT,))[0])
    raise AllocationError(
        f"{_names(lacking)} must take the activation format {' or '.join(held or ())}, because "
        f"{_names(holders)} reads the same tensor and is pinned to it; the candidates are "
        f"{_texts(allowed[lacking[0]])}. Add one with that activation, such as "
        f"{missing.text}, or change the pin."
    )


def _intersection(sets: Iterable[tuple[Candidate, ...]]) -> tuple[str, ...] | None:
    """Return the activation formats common to all, in the first's order; None of no set."""
    common: tuple[str, ...] | None = None
    for own in sets:
        formats = dict.fromkeys(c.activation for c in own)
        common = tuple(f for f in (formats if common is None else common) if f in formats)
    return common


def _note_forced_format(
    members: tuple[str, ...],
    pinned: Allowed,
    scores: ScoreTable,
    allowed: Allowed,
    notes: list[str],
) -> None:
    narrowed = [
        name
        for name in members
        if name not in pinned and name in scores.layers and allowed[name] != scores.candidates
    ]
    if narrowed:
        formats = dict.fromkeys(c.activation for name in narrowed for c in allowed[name])
        notes.append(
            f"{_names(narrowed)} can only take {' or '.join(formats)} activations: a pinned layer "
            f"reads the same tensor."
        )


def _float_note(name: str, scores: ScoreTable) -> str:
    reasons = [s.reason for s in scores.skipped if s.name == name]
    return f"`{name}` keeps its float weight: {reasons[0] if reasons else 'it has no scores'}."


def _texts(candidates: Iterable[Candidate]) -> str:
    return ", ".join(c.text for c in candidates)


def _names(layers: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in layers)
