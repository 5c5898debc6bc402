"""Notes of a method: what it did, and apart from that what it left as it was, with the reason."""

from collections.abc import Iterable, Iterator, Mapping

from analysis.events import Note

_LEFT = "Not "


def left_out(what: str, reasons: Mapping[str, str]) -> Iterator[Note]:
    """Yield one note per reason, naming the layers that it keeps out.

    Args:
        what: What did not happen to these layers, as a participle: "equalized".
        reasons: Layer names to reasons.
    """
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(f"`{name}`")
    for reason, layers in names.items():
        yield Note(f"{_LEFT}{what}: {', '.join(layers)}: {reason}.")


def sorted_notes(notes: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what was done and what was left out, each in the order in which it was noted."""
    every = tuple(dict.fromkeys(notes))
    left = tuple(note for note in every if note.startswith(_LEFT))
    return tuple(note for note in every if note not in left), left
