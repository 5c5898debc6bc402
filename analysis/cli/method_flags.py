"""Flags that the options of the chosen methods become."""

import argparse
from typing import Any, NoReturn

from analysis.cli.parser import Call
from analysis.cli.session import usage
from analysis.commands import option_flags
from analysis.options import Options, OptionSpec, build, describe
from analysis.ptq import PTQ_METHODS
from analysis.recalibration import RECALIBRATIONS
from analysis.registry import Method, Registry


def chosen(call: Call, registry: Registry[Any], name: str) -> Method[Any]:
    """Return a method by the name that was typed; an unknown name is wrong usage."""
    with usage(call):
        return registry[name]


def chosen_ptq(call: Call, name: str) -> tuple[Method[Any], tuple[str, ...]]:
    """Return a post-training method and what goes before it.

    The name of a recalibration stands for rounding to nearest behind it.
    """
    if name in RECALIBRATIONS.names():
        return PTQ_METHODS["nearest"], (name,)
    return chosen(call, PTQ_METHODS, name), ()


def read_options(call: Call, **methods: Method[Any]) -> dict[str, Options]:
    """Return the options record of each method, by role, from the flags left unread.

    Args:
        call: The command.
        methods: Role (``metric``, ``solver``, ``method``) to the chosen method.

    Raises:
        UsageError: If a flag belongs to none of them, or a value is outside its range.
    """
    flags = option_flags(**{role: method.options for role, method in methods.items()})
    parser = _Parser(call)
    for flag, (role, spec) in flags.items():
        _add(parser, flag, f"{role}:{spec.name}", spec)
    given, unread = parser.parse_known_args(call.unread)
    if unread:
        call.refuse_flags(unread, [f"--{flag}" for flag in flags])
    values: dict[str, dict[str, object]] = {role: {} for role in methods}
    for destination, value in vars(given).items():
        role, _, name = destination.partition(":")
        values[role][name] = value
    with usage(call):
        return {role: build(method.options, values[role]) for role, method in methods.items()}


def describe_flags(role: str, options: type[Options]) -> list[tuple[str, str]]:
    """Return each flag of a method with its range, default and help."""
    flags = option_flags(**{role: options})
    return [(f"--{flag}", _range(spec)) for flag, (_, spec) in flags.items()] if flags else []


def describe_parts(name: str, options: type[Options]) -> list[tuple[str, str]]:
    """Return each option of a recalibration as it is written behind its name, as above."""
    return [(f"{name}:{spec.name}=…", _range(spec)) for spec in describe(options)]


class _Parser(argparse.ArgumentParser):
    def __init__(self, call: Call) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.call = call

    def error(self, message: str) -> NoReturn:
        self.call.refuse(message[:1].upper() + message[1:] + ".")


def _add(parser: argparse.ArgumentParser, flag: str, destination: str, spec: OptionSpec) -> None:
    if spec.type is bool:
        parser.add_argument(
            f"--{flag}",
            dest=destination,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
        )
    else:
        parser.add_argument(f"--{flag}", dest=destination, default=argparse.SUPPRESS)


def _range(spec: OptionSpec) -> str:
    if spec.choices:
        allowed = " | ".join(spec.choices)
    elif spec.low is not None or spec.high is not None:
        low = "-inf" if spec.low is None else f"{spec.low:g}"
        high = "inf" if spec.high is None else f"{spec.high:g}"
        allowed = f"{low} to {high}"
    else:
        allowed = spec.type.__name__
    return f"{spec.help} [{allowed}; default {spec.default}]"
