"""What the command line prints and writes: JSON, tables, files."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import AnalysisError
from analysis.records import Candidate, Evaluation

RIGHT, LEFT = ">", "<"


def plain(value: object) -> Any:
    """Return a value as JSON knows it: records by field, arrays as lists, NaN and inf as null."""
    if isinstance(value, Candidate):
        return value.text
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(value: object, indent: int | None = None) -> str:
    """Return one JSON value as text."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def show(as_json: bool, data: Mapping[str, Any], text: str) -> None:
    """Print one JSON object, or the text for people."""
    print(to_json(data, indent=None) if as_json else text, file=sys.stdout)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> str:
    """Return aligned columns.

    Args:
        head: Title of each column.
        rows: Cells of each row.
        sides: ``<`` or ``>`` for each column.
    """
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def accuracy(measured: Evaluation) -> str:
    """Return ``91.85 % (89.7-93.6, n = 761)``, the 95 % Wilson interval in brackets."""
    if not measured.labelled:
        return f"not measured (no labels, n = {measured.n})"
    low, high = 100 * measured.low, 100 * measured.high
    return f"{100 * measured.top1:.2f} % ({low:.1f}-{high:.1f}, n = {measured.n})"


def number(value: float) -> str:
    """Return a number with three digits and its power of thousand: ``40.6 M``."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def check_place(path: Path) -> None:
    """Check that a file can be written, before hours are spent on what it is to hold.

    Raises:
        AnalysisError: If its folder does not exist or cannot be written to, or it is a folder.
    """
    reason = ""
    if path.is_dir():
        reason = "it is a folder"
    elif not path.parent.is_dir():
        reason = f"there is no folder `{path.parent}`"
    elif not os.access(path.parent, os.W_OK):
        reason = f"`{path.parent}` cannot be written to"
    if reason:
        raise AnalysisError(
            f"The output file must be writable, got `{path}`: {reason}. Name another one."
        )


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; what was there is replaced.

    Raises:
        AnalysisError: If it cannot be written, or is a folder.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise AnalysisError(
            f"The output file must be writable, got `{path}`: {error.strerror}. Name another one."
        ) from error
