"""The flags of the steps that look at a network, quantize it and measure."""

import argparse

from analysis.cli.shared_flags import (
    allocation,
    backend,
    number,
    out,
    recalibrate,
    release,
    settings,
    study,
)


def fill_study(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``study``."""
    parser.add_argument("--name", help="name of the study")
    out(parser, "a study file (TOML)")
    study(parser)


def fill_layers(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``layers``."""
    out(parser, "the layer table (JSON)")
    study(parser)


def fill_distributions(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``distributions``."""
    parser.add_argument("--layer", metavar="NAME", help="one layer, and what every range costs it")
    parser.add_argument("--format", default="int8", metavar="NAME", help="grid of the ranges")
    allocation(parser, required=False)
    parser.add_argument("--method", default="nearest", metavar="NAME")
    recalibrate(parser)
    out(parser, "the distributions (JSON)")
    settings(parser)
    study(parser)


def fill_initialization(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``initialization``."""
    parser.add_argument(
        "--inits", default="", metavar="A,B,...", help="names, normal:MEAN:STD or uniform:LOW:HIGH"
    )
    parser.add_argument("--architectures", default="", metavar="A,B,...")
    parser.add_argument("--seeds", type=number(1), default=3, metavar="K", help="runs of each")
    parser.add_argument("--epochs", type=number(1), default=6, metavar="E")
    parser.add_argument("--workers", type=number(1), default=2, metavar="N", help="processes")
    parser.add_argument(
        "--train-on",
        choices=("digits", "study"),
        default="digits",
        help="the embedded digits, or the study's calibration set",
    )
    out(parser, "the runs (JSON)")
    study(parser)


def fill_inspect(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``inspect``."""
    allocation(parser, required=True)
    parser.add_argument("--method", default="nearest", metavar="NAME")
    recalibrate(parser)
    parser.add_argument("--set", choices=("calibration", "evaluation"), default="calibration")
    parser.add_argument("--numbers", metavar="3,14", help="samples whose pixels are attributed")
    parser.add_argument(
        "--attribution",
        default="integrated_gradients",
        metavar="NAME",
        help="integrated_gradients, saliency or grad_cam",
    )
    parser.add_argument(
        "--path-steps", type=number(1), default=32, metavar="N", help="of integrated gradients"
    )
    out(parser, "the predictions or attributions (JSON)")
    settings(parser)
    study(parser)


def fill_quantize(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``quantize``."""
    allocation(parser, required=True)
    parser.add_argument("--method", default="nearest", metavar="NAME")
    recalibrate(parser)
    backend(parser)
    parser.add_argument("--name", default="", help="what to call the configuration")
    out(parser, "the configuration (JSON)")
    parser.add_argument("--out-model", metavar="FILE.safetensors", help="write codes and scales")
    parser.add_argument(
        "--recovery",
        action="store_true",
        help="also compare every layer with rounding to nearest: weights that moved, output errors",
    )
    settings(parser)
    study(parser)


def fill_ablation(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``ablation``."""
    allocation(parser, required=True)
    parser.add_argument(
        "--method", default="eptq", metavar="NAME", help="base method, else eptq; `methods` lists"
    )
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="OPTION=VALUE[:...]",
        help="a change of the base's options; every choice and switch by default; repeatable",
    )
    parser.add_argument(
        "--seeds", type=number(1), default=1, metavar="K", help="seeds of each variant, else 1"
    )
    recalibrate(parser)
    out(parser, "the ablation (JSON)")
    settings(parser)
    study(parser)


def fill_ladder(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``ladder``."""
    parser.add_argument(
        "--allocation",
        action="append",
        required=True,
        metavar="FILE|uniform:w4a8",
        help="an allocation file, or one candidate for all layers; repeatable",
    )
    parser.add_argument(
        "--method",
        action="append",
        required=True,
        metavar="[RECALIBRATION+...]NAME[:OPTION=VALUE...][@RANGE]",
        help="what goes before, a method with its options, the range of weights; repeatable",
    )
    parser.add_argument(
        "--reference", default="", metavar="METHOD", help="what others are held against; the last"
    )
    parser.add_argument(
        "--seeds", type=number(1), default=1, metavar="K", help="seeds of methods that draw, else 1"
    )
    release(parser)
    recalibrate(parser)
    out(parser, "the ladder (JSON)")
    settings(parser)
    study(parser)


def fill_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``evaluate``."""
    allocation(parser, required=False)
    parser.add_argument("--model-file", metavar="FILE", help="what `quantize --out-model` wrote")
    out(parser, "the measurement (JSON)")
    settings(parser)
    study(parser)


def fill_export(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``export``."""
    allocation(parser, required=True)
    parser.add_argument("--format", required=True, metavar="NAME")
    parser.add_argument("--out", required=True, metavar="PATH", help="file, or folder for several")
    study(parser)
