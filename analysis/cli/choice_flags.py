"""The flags of the steps that score layers and choose their bits."""

import argparse

from analysis.cli.shared_flags import (
    backend,
    memory,
    number,
    out,
    pin,
    release,
    settings,
    study,
    tie,
)

_METRIC = "sensitivity metric; `metrics` lists them"
_SOLVER = "allocation solver, else milp; `solvers` lists them"


def fill_score(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``score``."""
    parser.add_argument("--metric", required=True, metavar="NAME", help=_METRIC)
    parser.add_argument("--candidates", metavar="w2a8,w4a8", help="what to score in each layer")
    memory(parser)
    out(parser, "the score table (JSON)")
    settings(parser)
    study(parser)


def fill_agreement(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``agreement``."""
    parser.add_argument(
        "--metrics", metavar="A,B,...", help="what to compare; all whose needs are met by default"
    )
    parser.add_argument(
        "--reference",
        default="output_kl",
        metavar="NAME",
        help="measured metric to compare with: output_kl, loss_increase, accuracy_drop, …",
    )
    parser.add_argument("--set", choices=("calibration", "evaluation"), default="evaluation")
    parser.add_argument("--candidates", metavar="w2a8,w4a8", help="what to score in each layer")
    parser.add_argument("--budget", metavar="RESOURCE=LIMIT", help="also measure allocations")
    memory(parser)
    out(parser, "the agreement (JSON)")
    settings(parser)
    study(parser)


def fill_allocate(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``allocate``."""
    parser.add_argument("--metric", required=True, metavar="NAME", help=_METRIC)
    parser.add_argument("--candidates", metavar="w2a8,w4a8", help="what layers may become")
    parser.add_argument(
        "--budget",
        action="append",
        required=True,
        metavar="RESOURCE=LIMIT",
        help="size=0.5, bops=0.4, act=0.5 (peak activation memory), ace=0.4 (of w8a8 each), "
        "size_mib=X, stored_mib=X, gbops=X, act_mib=X, avg_bits=4, latency_ms=X; repeatable",
    )
    parser.add_argument(
        "--latency",
        metavar="FILE",
        help="CSV with the time of every layer and candidate: layer or shape, candidate, ms",
    )
    parser.add_argument(
        "--free-bits",
        action="store_true",
        help="afterwards raise bits wherever the times of --latency say that it costs none",
    )
    parser.add_argument("--solver", default="milp", metavar="NAME", help=_SOLVER)
    pin(parser)
    tie(parser)
    backend(parser)
    release(parser)
    out(parser, "the allocation file (JSON)")
    settings(parser)
    study(parser)


def fill_latency(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``latency``."""
    parser.add_argument("--out", metavar="FILE.csv", help="write the latency table (CSV)")
    parser.add_argument("--repeats", type=number(5), default=50, metavar="N", help="runs of each")
    parser.add_argument(
        "--warm-up", type=number(1), default=5, metavar="N", help="runs before, not counted"
    )
    parser.add_argument(
        "--parallel", type=number(1), default=1, metavar="N", help="threads of a layer"
    )
    study(parser)


def _sweep(parser: argparse.ArgumentParser, points: int) -> None:
    parser.add_argument(
        "--resource",
        default="size",
        metavar="NAME",
        help="what is limited, else size: size, bops, act, ace (shares of w8a8), size_mib, "
        "stored_mib, gbops, act_mib, avg_bits or latency_ms",
    )
    parser.add_argument(
        "--points",
        type=number(2),
        default=points,
        metavar="K",
        help=f"limits, even from the cheapest to the dearest allocation; else {points}",
    )
    parser.add_argument(
        "--budget",
        action="append",
        default=[],
        metavar="RESOURCE=LIMIT",
        help="another budget, kept at every limit; resources as above; repeatable",
    )
    parser.add_argument(
        "--latency", metavar="FILE.csv", help="times of the layers, for limits of latency_ms"
    )
    parser.add_argument("--candidates", metavar="w2a8,w4a8", help="what layers may become")
    pin(parser)
    tie(parser)
    release(parser)


def fill_pareto(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``pareto``."""
    parser.add_argument("--metric", required=True, metavar="NAME", help=_METRIC)
    parser.add_argument("--solver", default="milp", metavar="NAME", help=_SOLVER)
    _sweep(parser, 20)
    out(parser, "the front (JSON)")
    settings(parser)
    study(parser)


def fill_curve(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``curve``."""
    parser.add_argument(
        "--metric",
        action="append",
        required=True,
        metavar="NAME",
        help=f"{_METRIC}; repeatable",
    )
    parser.add_argument("--solver", action="append", metavar="NAME", help=f"{_SOLVER}; repeatable")
    parser.add_argument(
        "--method",
        action="append",
        metavar="NAME",
        help="quantization method, else nearest; `methods` lists them; repeatable",
    )
    _sweep(parser, 6)
    parser.add_argument(
        "--random",
        type=number(0),
        default=20,
        metavar="N",
        help="random allocations measured within every limit; else 20",
    )
    parser.add_argument(
        "--draw-seed", type=number(0), default=0, metavar="N", help="seed of the random allocations"
    )
    memory(parser)
    out(parser, "the curve (JSON)")
    settings(parser)
    study(parser)
