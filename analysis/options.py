"""Options records: what a method can be told, with ranges, defaults and help.

Forms, command line flags and documentation are generated from these records, so a method
declares an option once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, get_type_hints

from analysis.errors import OptionError, UnknownNameError

T = TypeVar("T", bound="Options")


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option of a method as forms and flags see it.

    ``type`` is one of ``bool``, ``int``, ``float``, ``str``. ``low`` and ``high`` are inclusive.
    """

    name: str
    type: type
    default: bool | int | float | str
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None


def option(
    default: bool | int | float | str,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """Declare one field of an options record with its range (inclusive) and help text."""
    return field(
        default=default, metadata={"help": help, "low": low, "high": high, "choices": choices}
    )


@dataclass(frozen=True, slots=True)
class Options:
    """Base of every options record; a frozen dataclass whose fields are made by :func:`option`.

    Raises:
        OptionError: On construction, if a value has the wrong type or lies outside its range, or
            values do not go together.
    """

    def __post_init__(self) -> None:
        """Check every field against its declaration, then all of them together."""
        for spec in describe(type(self)):
            _check(type(self).__name__, spec, getattr(self, spec.name))
        self.check()

    def check(self) -> None:
        """Raise an OptionError where values that are in range do not go together."""


def describe(options: type[Options]) -> tuple[OptionSpec, ...]:
    """Return the declared options of a record class in the order of its fields."""
    hints = get_type_hints(options)
    return tuple(
        OptionSpec(name=f.name, type=hints[f.name], default=f.default, **f.metadata)  # type: ignore[arg-type]
        for f in fields(options)
    )


def build(options: type[T], values: Mapping[str, object]) -> T:
    """Make an options record from named values, reading text as the declared type.

    Args:
        options: The record class.
        values: Option names to values; text is converted, missing names keep their default.

    Raises:
        UnknownNameError: If a name is not an option of the record.
        OptionError: If a value cannot be read, lies outside its range or does not go with others.
    """
    specs = {spec.name: spec for spec in describe(options)}
    for name in values:
        if name not in specs:
            raise UnknownNameError("option", name, specs)
    return options(**{name: _read(specs[name], value) for name, value in values.items()})


def as_dict(options: Options) -> dict[str, bool | int | float | str]:
    """Return the values of an options record by name."""
    return {f.name: getattr(options, f.name) for f in fields(options)}


def _read(spec: OptionSpec, value: object) -> object:
    if spec.type is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str) or spec.type is str:
        return value
    if spec.type is bool:
        if value.lower() in ("true", "yes", "on", "1"):
            return True
        if value.lower() in ("false", "no", "off", "0"):
            return False
    else:
        try:
            return spec.type(value)
        except ValueError:
            pass
    raise OptionError(f"`{spec.name}` must be {_kind(spec.type)}, got {value!r}.")


def _check(owner: str, spec: OptionSpec, value: object) -> None:
    if type(value) is not spec.type:
        raise OptionError(f"`{spec.name}` of {owner} must be {_kind(spec.type)}, got {value!r}.")
    if spec.choices is not None and value not in spec.choices:
        raise UnknownNameError(f"value of `{spec.name}`", str(value), spec.choices)
    if isinstance(value, int | float) and not isinstance(value, bool):
        low = spec.low if spec.low is not None else float("-inf")
        high = spec.high if spec.high is not None else float("inf")
        if not low <= value <= high:
            raise OptionError(f"`{spec.name}` must lie in [{low:g}, {high:g}], got {value:g}.")


def _kind(kind: type) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
