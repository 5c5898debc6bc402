"""A method and its changed options as one word: ``absorption:padding=interior:deviations=2``.

Stored records, keys, names and the command line spell a recalibration like this. A method under
its defaults is its bare name.
"""

from typing import Any

from analysis.errors import OptionError
from analysis.options import Options, as_dict, build, describe
from analysis.registry import Method, Registry


def spell(name: str, options: Options) -> str:
    """Return a method's name with the options that differ from their defaults, in their order."""
    values = as_dict(options)
    changed = [
        f"{spec.name}={value_text(values[spec.name])}"
        for spec in describe(type(options))
        if values[spec.name] != spec.default
    ]
    return ":".join([name, *changed])


def read(registry: Registry[Any], text: str) -> tuple[Method[Any], Options]:
    """Return the method and the options that a word spells, in any order.

    Raises:
        UnknownNameError: If there is no such method or option.
        OptionError: If an option has no value, is given twice or lies outside its range.
    """
    name, *parts = (part.strip() for part in text.split(":"))
    method = registry[name]
    values: dict[str, object] = {}
    for part in parts:
        option, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not value or option in values:
            raise OptionError(
                f"Options of `{name}` must each be given once as `option=value`, got `{part}` in "
                f"`{text}`. Write `{name}:option=value`."
            )
        values[option] = value
    return method, build(method.options, values)


def canonical(registry: Registry[Any], text: str) -> str:
    """Return the one spelling of a method and its options: equal choices are equal words."""
    method, options = read(registry, text)
    return spell(method.name, options)


def value_text(value: bool | int | float | str) -> str:
    """Return a value as :func:`analysis.options.build` reads it, with every digit that counts."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)
