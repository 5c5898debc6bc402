"""Flags that several steps of the command line share."""

import argparse
from collections.abc import Callable


def number(low: int) -> Callable[[str], int]:
    """Return a reader of whole numbers of at least ``low``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(
                f"it must be a whole number of at least {low}, got {text!r}"
            )
        return value

    return read


def common(parser: argparse.ArgumentParser) -> None:
    """Add where results are kept, and the machine that computes them."""
    group = parser.add_argument_group("results")
    group.add_argument("--cache-dir", metavar="DIR", help="folder of the result store")
    group.add_argument("--no-cache", action="store_true", help="keep no results, read none")
    group.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="else cpu")
    group.add_argument("--threads", type=number(1), metavar="N", help="threads on the CPU")


def study(parser: argparse.ArgumentParser) -> None:
    """Add the study, whole or by its parts."""
    group = parser.add_argument_group(
        "study", "A study file, or its parts one by one; by default the embedded demo."
    )
    group.add_argument("--study", metavar="FILE", help="study file (TOML); parts override it")
    group.add_argument(
        "--model",
        metavar="SPEC",
        help="demo:NAME, torchvision:NAME, timm:NAME or factory:MODULE:FUNCTION",
    )
    group.add_argument("--weights", metavar="FILE", help="weights file, `hub` or `none`")
    for role in ("calibration", "evaluation"):
        group.add_argument(
            f"--{role}",
            metavar="SPEC",
            help="demo:digits, npz:FILE, images:FOLDER or cifar10:FOLDER",
        )
    group.add_argument(
        "--normalize", metavar="imagenet|MEAN;STD|none", help="of the pixels, before the network"
    )
    group.add_argument("--input-size", type=number(0), metavar="N", help="pixels; 0: their own")
    group.add_argument("--samples", type=number(0), metavar="N", help="calibration samples; 0: all")
    group.add_argument(
        "--evaluation-samples", type=number(0), metavar="N", help="evaluation samples; 0: all"
    )
    group.add_argument("--seed", type=number(0), metavar="N", help="seed of the choice of samples")
    common(parser)


def pin(parser: argparse.ArgumentParser) -> None:
    """Add layers that must get a given candidate."""
    parser.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="LAYER=w8a8",
        help="a layer that gets this candidate whatever the solver finds; repeatable",
    )


def tie(parser: argparse.ArgumentParser) -> None:
    """Add layers that must get one candidate."""
    parser.add_argument(
        "--tie",
        action="append",
        default=[],
        metavar="LAYER,LAYER,...",
        help="layers that get one candidate together; repeatable",
    )


def backend(parser: argparse.ArgumentParser) -> None:
    """Add the backend whose integers the formats are compared with."""
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="say which formats this backend stores in another way; `backends` lists them",
    )


def out(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the file that a result is written to."""
    parser.add_argument("--out", metavar="FILE", help=f"write {what}")


def settings(parser: argparse.ArgumentParser) -> None:
    """Add how formats become quantizers."""
    group = parser.add_argument_group("quantizers")
    group.add_argument(
        "--scope",
        choices=("tensor", "layer_input"),
        help="who sees quantized activations: every reader of a tensor (the default), or only the "
        "layer",
    )
    group.add_argument(
        "--weight-range",
        metavar="NAME",
        help="range estimator of weights: min_max, percentile, mse, entropy, or hmse, which takes "
        "scores of single weights that are computed once",
    )
    group.add_argument("--activation-range", metavar="NAME", help="of activations, not hmse")
    group.add_argument(
        "--percentile", type=float, metavar="P", help="of the estimator percentile, 50 to 100 %%"
    )
    group.add_argument("--per-tensor", action="store_true", help="one scale per weight")


def recalibrate(parser: argparse.ArgumentParser) -> None:
    """Add what is done to the network before it is quantized."""
    parser.add_argument(
        "--recalibrate",
        default="",
        metavar="A,B:OPTION=VALUE,...",
        help="what is done to the network first, in this order; `recalibrations` lists them "
        "with their options",
    )


def memory(parser: argparse.ArgumentParser) -> None:
    """Add the memory limit of a batch."""
    parser.add_argument(
        "--memory-mib",
        type=number(1),
        default=2048,
        metavar="N",
        help="memory for the activations of one batch; batches shrink to fit",
    )


def release(parser: argparse.ArgumentParser) -> None:
    """Add that the first and the last layer are not held at 8 bits."""
    parser.add_argument(
        "--release-first-last",
        action="store_true",
        help="do not hold the first and the last layer at w8a8",
    )


def allocation(parser: argparse.ArgumentParser, required: bool) -> None:
    """Add the allocation to work with."""
    parser.add_argument(
        "--allocation",
        required=required,
        metavar="FILE|uniform:W4A8",
        help="allocation file, or one candidate for all layers",
    )
    release(parser)
