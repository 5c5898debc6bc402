"""What the backend that a command names would keep of an allocation."""

from dataclasses import dataclass
from typing import Any

from analysis.cli.method_flags import chosen
from analysis.cli.parser import Call
from analysis.quant.backends import BACKENDS
from analysis.quant.split import COARSE_ROLE
from analysis.quant.storage import sentences, stored_as
from analysis.records import Allocation, Configuration, LayerTable


@dataclass(frozen=True, slots=True)
class Notes:
    """What is printed: a value for JSON, None without a backend, and lines for people."""

    data: dict[str, Any] | None
    lines: tuple[str, ...]


def check_backend(call: Call) -> None:
    """Refuse an unknown backend as wrong usage, before anything is computed."""
    if call.args.backend is not None:
        chosen(call, BACKENDS, call.args.backend)


def storage_notes(call: Call, table: LayerTable, allocation: Allocation) -> Notes:
    """Return what the named backend keeps in another way; nothing where none is named."""
    if call.args.backend is None:
        return Notes(None, ())
    found = stored_as(table, allocation, call.args.backend)
    said = sentences(found)
    data = {
        "backend": found.backend,
        "asked_mib": found.asked_mib,
        "stored_mib": found.stored_mib,
        "sentences": said,
        "layers": found.changed,
    }
    return Notes(data, said)


def with_parts(notes: Notes, made: Configuration) -> Notes:
    """Add what no backend's rule knows: the weights that the method put in two parts."""
    split = {each.name for each in made.ranges if each.role == COARSE_ROLE}
    if notes.data is None or not split:
        return notes
    said = (
        f"That is said of the allocation: {len(split)} "
        f"{'weight is' if len(split) == 1 else 'weights are'} in two parts, and what holds one set "
        "of codes for each needs the 8-bit centre taps as convolutions of their own."
    )
    data = notes.data | {"sentences": (*notes.data["sentences"], said)}
    return Notes(data, (*notes.lines, said))
