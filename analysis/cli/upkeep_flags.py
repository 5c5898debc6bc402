"""The flags of the steps that need no study."""

import argparse

from analysis.cli.shared_flags import number


def fill_cache(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``cache``."""
    parser.add_argument("action", choices=("ls", "verify", "clear"))
    parser.add_argument("--older-than", metavar="7d", help="with clear: s, m, h, d or w")
    parser.add_argument("--cache-dir", metavar="DIR", help="folder of the result store")


def fill_demo(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``demo``."""
    parser.add_argument("action", choices=("train",))
    parser.add_argument("--network", action="append", metavar="NAME", help="repeatable; else all")
    parser.add_argument("--seed", type=number(0), default=0, metavar="N")
    parser.add_argument("--epochs", type=number(1), metavar="N", help="else the network's own")
    parser.add_argument("--out", metavar="FOLDER", help="else in place of the shipped weights")
    parser.add_argument("--threads", type=number(1), metavar="N", help="threads on the CPU")


def fill_nothing(parser: argparse.ArgumentParser) -> None:
    """Add no flag."""
    del parser
