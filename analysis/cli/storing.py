"""What the backend that a command names would keep of an allocation."""

from dataclasses import dataclass
from typing import Any

from analysis.cli.method_flags import chosen
from analysis.cli.parser import Call
from analysis.quant.backends import BACKENDS
from analysis.quant.storage import sentences, stored_as
from analysis.records import Allocation, LayerTable


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
