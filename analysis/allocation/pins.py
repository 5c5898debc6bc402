"""What each layer may become, once pins, ties and activation groups are heard."""

from collections.abc import Iterable, Mapping, Sequence

from analysis.allocation.tying import united
from analysis.errors import AllocationError, UnknownNameError
from analysis.records import FLOAT, Candidate, LayerTable, ScoreTable

DEFAULT_PIN = Candidate("int8", "int8")

Pins = Mapping[str, Candidate | tuple[Candidate, ...]]
Allowed = dict[str, tuple[Candidate, ...]]


def allowed_candidates(
    table: LayerTable, scores: ScoreTable, pins: Pins, ties: Sequence[tuple[str, ...]] = ()
) -> tuple[tuple[tuple[Candidate, ...], ...], tuple[str, ...]]:
    """Return the candidates of each layer and notes on what was restricted.

    A pin holds every layer that its own is tied to, so that tied layers have equal candidates.
    Within an activation group, and groups that ties connect, only activation formats that every
    member can take are left.

    Args:
        table: The layers.
        scores: Scores; their layers have its candidates, the others stay float.
        pins: Layer name to the candidate it must take, or to those it may take.
        ties: Layers that must take the same candidate, as :func:`checked_ties` returns them.

    Returns:
        Candidates of each layer, L tuples, and the notes.

    Raises:
        AllocationError: If pins contradict each other, a group has no common format or a tie no
            common candidate.
        UnknownNameError: If a pin names no layer.
    """
    pinned, notes = _pinned(table, scores, pins, ties)
    allowed: Allowed = {}
    for name in table.names:
        if name in pinned:
            allowed[name] = pinned[name]
        elif name in scores.layers:
            allowed[name] = scores.candidates
    _check_scored(ties, scores, allowed)
    alone = set(table.groups.values())
    for members in united(table.groups.values(), ties):
        shared = "read a common tensor" if members in alone else "read a common tensor or are tied"
        formats = _common_formats(members, pinned, allowed, shared)
        for name in members:
            if name not in allowed:
                # An own format could never agree with the group; its readers share one quantizer.
                allowed[name] = tuple(Candidate(FLOAT, f) for f in formats or (FLOAT,))
                notes.append(_float_note(name, scores))
            elif formats:
                allowed[name] = tuple(c for c in allowed[name] if c.activation in formats)
        _note_forced_format(members, pinned, scores, allowed, notes, shared)
    return tuple(allowed[name] for name in table.names), tuple(notes)


def _pinned(
    table: LayerTable, scores: ScoreTable, pins: Pins, ties: Sequence[tuple[str, ...]]
) -> tuple[Allowed, list[str]]:
    for name in pins:
        if name not in table.names:
            raise UnknownNameError("layer", name, table.names)
    pinned: Allowed = {layer.name: (DEFAULT_PIN,) for layer in table.layers if layer.pinned}
    for name, pin in pins.items():
        pinned[name] = (pin,) if isinstance(pin, Candidate) else tuple(dict.fromkeys(pin))
    notes = [note for own in ties for note in _spread(own, scores, pinned)]
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


def _spread(tied: tuple[str, ...], scores: ScoreTable, pinned: Allowed) -> list[str]:
    """Pin all layers of a tie alike, in place; return a note on those that were not pinned."""
    holders = [name for name in tied if name in pinned]
    if not holders:
        return []
    common = tuple(c for c in pinned[holders[0]] if all(c in pinned[name] for name in holders))
    if not common:
        named = "; ".join(f"`{name}`: {_texts(pinned[name])}" for name in holders)
        raise AllocationError(
            f"Tied layers must be pinned to one candidate, got {named}. Pin them alike, release "
            f"one or take it out of the tie."
        )
    pinned.update(dict.fromkeys(holders, common))
    if common == scores.candidates:  # a released layer: no member is held
        return []
    # Several candidates are a choice among scores: a layer without any cannot follow.
    scored = [name for name in tied if len(common) == 1 or name in scores.layers]
    followers = [name for name in scored if name not in holders]
    pinned.update(dict.fromkeys(followers, common))
    verb = "follows" if len(followers) == 1 else "follow"
    note = f"{_names(followers)} {verb} the pin of {_names(holders)} to {_texts(common)}: tied."
    return [note] if followers else []


def _check_scored(ties: Sequence[tuple[str, ...]], scores: ScoreTable, allowed: Allowed) -> None:
    for own in ties:
        silent = [name for name in own if name not in allowed]
        if silent and len(silent) < len(own):
            known = next(name for name in own if name in allowed)
            raise AllocationError(
                f"Tied layers must have a candidate in common: {_names(silent)} has no scores and "
                f"keeps a float weight, `{known}` may take {_texts(allowed[known])}. Take "
                f"{_names(silent)} out of the tie, or pin the layers of the tie to one candidate."
            )


def _common_formats(
    members: tuple[str, ...], pinned: Allowed, allowed: Allowed, shared: str
) -> tuple[str, ...]:
    """Return the activation formats that all members with candidates can take."""
    held = _intersection(allowed[name] for name in members if name in pinned)
    if held == ():
        named = "; ".join(f"`{name}`: {_texts(pinned[name])}" for name in members if name in pinned)
        raise AllocationError(
            f"Layers that {shared} must be pinned to one activation format, got "
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
        f"{_names(lacking)} must take the activation format {' or '.join(held or ())}, to which "
        f"{_names(holders)} is pinned, because layers that {shared} share one; the candidates are "
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
    shared: str,
) -> None:
    narrowed = [
        name
        for name in members
        if name not in pinned and name in scores.layers and allowed[name] != scores.candidates
    ]
    if narrowed:
        formats = dict.fromkeys(c.activation for name in narrowed for c in allowed[name])
        notes.append(
            f"{_names(narrowed)} can only take {' or '.join(formats)} activations, as a pinned "
            f"layer does: layers that {shared} share a format."
        )


def _float_note(name: str, scores: ScoreTable) -> str:
    reasons = [s.reason for s in scores.skipped if s.name == name]
    return f"`{name}` keeps its float weight: {reasons[0] if reasons else 'it has no scores'}."


def _texts(candidates: Iterable[Candidate]) -> str:
    return ", ".join(c.text for c in candidates)


def _names(layers: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in layers)
