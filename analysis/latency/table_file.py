"""Latency tables as CSV: columns ``layer`` or ``shape`` or both, ``candidate`` and ``ms``."""

import csv
import io
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path

from analysis.errors import AllocationError, QuantizationError, UnknownNameError
from analysis.models.latency import NS_PER_MS
from analysis.quant.formats import bits_of
from analysis.records import Candidate, LatencyRow, LatencyTable

_LONGEST_MS = 10**9
_SHAPE = re.compile(r"[a-z_0-9]+:[1-9]\d*(x[1-9]\d*)*:[1-9]\d*(x[1-9]\d*)*")
_COLUMNS = ("layer", "shape", "candidate", "ms", "spread_ms")


def read_latency(text: str, source: str) -> LatencyTable:
    """Read a latency table.

    The first line names the columns. ``layer`` is a layer's name, ``shape`` a text such as
    ``conv2d:64x3x7x7:64x112x112`` (:func:`analysis.models.latency.shape_text`), ``candidate`` one
    such as ``w4a8``, ``ms`` the milliseconds per sample, rounded to whole nanoseconds. With a
    ``layer`` it is the time of all its calls, with a shape alone that of one call. ``spread_ms``
    may say how far measurements lay apart; further columns are left unread, which a note says.

    Args:
        text: The content of the file.
        source: What to call it in messages.

    Raises:
        AllocationError: If a column is missing or double, a line is no row, a time is not a number
            of at least 0, a candidate or shape cannot be read, or a row comes twice.
    """
    try:
        lines = list(csv.reader(io.StringIO(text.lstrip("\ufeff")), strict=True))
    except csv.Error as error:
        raise AllocationError(f"A latency table must be CSV, {source} is not: {error}.") from error
    head = [name.strip() for name in lines[0]] if lines else []
    missing = [n for n in ("candidate", "ms") if n not in head]
    if missing or not {"layer", "shape"} & set(head) or len(set(head)) < len(head):
        raise AllocationError(
            f"A latency table must have the columns `candidate`, `ms` and `layer` or `shape`, each "
            f"once; {source} has {', '.join(f'`{n}`' for n in head[:8]) or 'none'}."
        )
    rows: dict[tuple[str, str, Candidate], LatencyRow] = {}
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        place = f"line {number} of {source}"
        if len(cells) != len(head):
            raise AllocationError(
                f"Every line of a latency table must have {len(head)} cells, {place} has "
                f"{len(cells)}."
            )
        row = _row(dict(zip(head, (cell.strip() for cell in cells), strict=True)), place)
        key = (row.layer, "" if row.layer else row.shape, row.candidate)
        if key in rows:
            raise AllocationError(
                f"A latency table must have one row for each layer or shape and candidate, {place} "
                f"repeats {row.candidate.text} of `{row.layer or row.shape}`. Keep one."
            )
        rows[key] = row
    if not rows:
        raise AllocationError(f"A latency table must have a row, {source} has none.")
    unread = [name for name in head if name not in _COLUMNS]
    notes = (f"Columns of {source} that are not read: {', '.join(unread)}.",) if unread else ()
    return LatencyTable(rows=tuple(rows.values()), source=source, notes=notes)


def load_latency(path: Path) -> LatencyTable:
    """Read a latency table from a file.

    Raises:
        AllocationError: If there is no such text file, or as in :func:`read_latency`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise AllocationError(
            f"The latency table must be a readable CSV file, got `{path}`: {reason}."
        ) from error
    return read_latency(text, f"`{path.name}`")


def latency_csv(latency: LatencyTable) -> str:
    """Return a latency table as CSV, every nanosecond kept."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in latency.rows:
        times = (f"{Decimal(ns) / NS_PER_MS:f}" for ns in (row.ns, row.spread_ns))
        writer.writerow([row.layer, row.shape, row.candidate.text, *times])
    return out.getvalue()


def _row(cells: dict[str, str], place: str) -> LatencyRow:
    layer, shape = cells.get("layer", ""), cells.get("shape", "")
    if not (layer or shape):
        raise AllocationError(
            f"A row of a latency table must name a layer or a shape, {place} has neither."
        )
    if shape and not _SHAPE.fullmatch(shape):
        raise AllocationError(
            f"A shape must look like `conv2d:64x3x7x7:64x112x112` (kind, weight, output of a "
            f"sample), {place} has `{shape[:60]}`."
        )
    try:
        candidate = Candidate.parse(cells["candidate"][:80])
        bits_of(candidate.weight), bits_of(candidate.activation)
    except (QuantizationError, UnknownNameError) as error:
        raise AllocationError(f"In {place}: {error}") from error
    spread = _ns(cells["spread_ms"], place) if cells.get("spread_ms") else 0
    ns = _ns(cells["ms"], place)
    return LatencyRow(layer=layer, shape=shape, candidate=candidate, ns=ns, spread_ns=spread)


def _ns(text: str, place: str) -> int:
    try:
        ms = Decimal(text)
    except InvalidOperation:
        ms = Decimal("nan")
    if not (ms.is_finite() and 0 <= ms <= _LONGEST_MS):
        raise AllocationError(
            f"A time must be a number of milliseconds from 0 to {_LONGEST_MS:g}, {place} has "
            f"`{text[:40]}`."
        )
    return round(ms * NS_PER_MS)
