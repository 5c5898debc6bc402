"""The words of the command line. Imports nothing heavy: help and wrong usage answer at once."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn

from analysis.cli.vocabulary import STEPS

PROGRAM = "python -m analysis"


class UsageError(Exception):
    """The words do not make a command; ``program`` is the part that was understood."""

    def __init__(self, message: str, program: str) -> None:
        super().__init__(message)
        self.program = program


@dataclass(frozen=True, slots=True)
class Call:
    """A command: the step's name, the function that runs it, its flags and those still unread.

    ``known`` are all flags that the step takes whatever method is chosen.
    """

    step: str
    function: str
    args: argparse.Namespace
    unread: tuple[str, ...]
    known: tuple[str, ...]

    def refuse(self, message: str) -> NoReturn:
        """Reject the command as wrong usage."""
        raise UsageError(message, f"{PROGRAM} {self.step}")

    def refuse_flags(self, unread: Sequence[str], flags: Iterable[str] = ()) -> NoReturn:
        """Reject words that are no flag of the step, with the nearest flags."""
        word = unread[0].partition("=")[0]
        near = get_close_matches(word, [*self.known, *flags], n=3, cutoff=0.6)
        hint = f"; did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else "."
        self.refuse(f"There is no flag `{word}` here{hint}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message[:1].upper() + message[1:] + ".", self.prog)


def parse(argv: Sequence[str]) -> Call:
    """Read the words after ``python -m analysis``.

    Flags that belong to a method's options are left unread: they depend on the method.

    Raises:
        UsageError: If a step, flag or value is wrong.
        SystemExit: After help was printed.
    """
    top = _Parser(prog=PROGRAM, description="Which layers of a network can give up bits?")
    commands = top.add_subparsers(dest="step", metavar="STEP", parser_class=_Parser)
    parsers = {}
    for step in STEPS:
        parsers[step.name] = commands.add_parser(
            step.name,
            help=step.help,
            description=step.help[0].upper() + step.help[1:] + ".",
            epilog=_METHOD_NOTE if step.methods else None,
            allow_abbrev=False,
        )
        step.fill(parsers[step.name])
        parsers[step.name].add_argument(
            "--json", action="store_true", help="print one JSON object on standard output"
        )
    known = [s.name for s in STEPS]
    if not argv:
        top.error(f"a step must be named: {', '.join(known)}")
    if not argv[0].startswith("-") and argv[0] not in known:
        near = get_close_matches(argv[0], known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
        raise UsageError(
            f"There is no step `{argv[0]}`; {hint or 'known: ' + ', '.join(known) + '.'}", PROGRAM
        )
    args, unread = top.parse_known_args(argv)
    if args.step is None:
        top.error(f"a step must be named first: {', '.join(known)}")
    step = next(s for s in STEPS if s.name == args.step)
    flags = tuple(parsers[step.name]._option_string_actions)
    call = Call(step.name, f"analysis.cli.{step.function}", args, tuple(unread), flags)
    if unread and not step.methods:
        call.refuse_flags(unread)
    return call


_METHOD_NOTE = (
    "Every option of the chosen method is a flag as well: `python -m analysis metrics`, "
    "`solvers`, `methods` and `exporters` list them with their ranges and defaults."
)
