"""The allocation file: bits per layer as JSON, the currency between tools and people."""

import json
from collections.abc import Mapping
from typing import Any

from analysis.errors import QuantizationError, UnknownNameError
from analysis.quant.formats import bits_of
from analysis.records import Allocation, Candidate, LayerTable

SCHEMA = 1


def allocation_json(
    allocation: Allocation, *, study: str, made_by: Mapping[str, Any] | None = None
) -> str:
    """Return the text of an allocation file.

    Args:
        allocation: What to write.
        study: Name of the study it was made for.
        made_by: How it came about: metric, solver, budgets.
    """
    content = {
        "schema": SCHEMA,
        "study": study,
        "allocation": {
            name: {"weight": c.weight, "activation": c.activation}
            for name, c in zip(allocation.layers, allocation.candidates, strict=True)
        },
        "made_by": dict(made_by or {}),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_allocation(text: str, table: LayerTable) -> Allocation:
    """Read an allocation file for a model.

    A candidate may be written as ``{"weight": ..., "activation": ...}`` or in its short text form.

    Raises:
        QuantizationError: If the text is not such JSON, or names do not fit the model's layers.
        UnknownNameError: If a format is unknown.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise QuantizationError(
            f"An allocation file must be JSON, line {error.lineno} is not: {error.msg}. Take it as "
            "it was exported, or mend that line."
        ) from error
    except (RecursionError, ValueError) as error:  # nested too deep, an endless number
        raise QuantizationError(
            "An allocation file must name a format for each layer and nothing more, got JSON that "
            "is nested too deep or holds an endless number. Take it as it was exported."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("allocation"), dict):
        raise QuantizationError(
            'An allocation file must hold {"allocation": {layer: {"weight": ..., "activation": '
            "...}}}, the key `allocation` is missing."
        )
    if content.get("schema", SCHEMA) != SCHEMA:
        raise QuantizationError(
            f"An allocation file must have schema {SCHEMA}, got "
            f"`{str(content['schema'])[:20]}`. Export it again."
        )
    chosen = {name: _candidate(name, value) for name, value in content["allocation"].items()}
    unknown = [name for name in chosen if name not in table.names]
    missing = [name for name in table.names if name not in chosen]
    if unknown or missing:
        wrong = [
            f"{len(names)} {what} ({_few(names)})"
            for what, names in (("missing", missing), ("unknown", unknown))
            if names
        ]
        raise QuantizationError(
            f"An allocation must name every layer of the model once: {', '.join(wrong)}. "
            "Was it made for another model?"
        )
    return Allocation(layers=table.names, candidates=tuple(chosen[n] for n in table.names))


def uniform_allocation(
    table: LayerTable, candidate: Candidate, *, pin_first_last: bool = True
) -> Allocation:
    """Return the allocation that gives every layer one candidate, pinned layers w8a8.

    A layer that shares its input with a pinned one takes the pinned activation format.
    """
    pinned = Candidate("int8", "int8")
    pins = {layer.name for layer in table.layers if layer.pinned and pin_first_last}
    groups = {layer.activation_group for layer in table.layers if layer.name in pins}
    return Allocation(
        layers=table.names,
        candidates=tuple(
            pinned
            if layer.name in pins
            else Candidate(candidate.weight, pinned.activation)
            if layer.activation_group in groups
            else candidate
            for layer in table.layers
        ),
    )


def _candidate(name: str, value: object) -> Candidate:
    if isinstance(value, str):
        try:
            candidate = Candidate.parse(value[:80])
        except QuantizationError as error:
            raise QuantizationError(f"Layer `{name[:80]}`: {error}") from error
    elif isinstance(value, dict) and {"weight", "activation"} <= value.keys():
        candidate = Candidate(str(value["weight"])[:80], str(value["activation"])[:80])
    else:
        raise QuantizationError(
            f'Layer `{name[:80]}` must have {{"weight": ..., "activation": ...}} or a text such as '
            f"`w4a8`, got {repr(value)[:80]}."
        )
    try:
        bits_of(candidate.weight), bits_of(candidate.activation)
    except UnknownNameError as error:
        raise QuantizationError(f"Layer `{name[:80]}`: {error}") from error
    return candidate


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of the file, refused where a name comes twice: one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise QuantizationError(
            f"An allocation file must hold every name once, `{twice[:80]}` comes twice. Take one "
            "out."
        )
    return found


def _few(names: list[str]) -> str:
    return (
        ", ".join(name[:80] for name in names[:3]) + (", …" if len(names) > 3 else "")
        if names
        else "none"
    )
