"""The steps of the command line and the flags of each; nothing heavy is imported."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A step: its name, the function that runs it, its help and flags."""

    name: str
    function: str
    help: str
    fill: Callable[[argparse.ArgumentParser], None]
    methods: bool = False  # whether options of methods become flags


def _number(low: int) -> Callable[[str], int]:
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


def _common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument("--cache-dir", metavar="DIR", help="folder of the result store")
    group.add_argument("--no-cache", action="store_true", help="keep no results, read none")
    group.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    group.add_argument("--threads", type=_number(1), metavar="N", help="threads on the CPU")


def _study(parser: argparse.ArgumentParser) -> None:
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
    group.add_argument("--normalize", metavar="imagenet|MEAN;STD|none")
    group.add_argument("--input-size", type=_number(0), metavar="N", help="pixels; 0: their own")
    group.add_argument("--samples", type=_number(0), metavar="N", help="calibration; 0: all")
    group.add_argument(
        "--evaluation-samples", type=_number(0), metavar="N", help="evaluation; 0: all"
    )
    group.add_argument("--seed", type=_number(0), metavar="N", help="of the choice of samples")
    _common(parser)


def _out(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--out", metavar="FILE", help=f"write {what}")


def _settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("quantizers")
    group.add_argument("--scope", choices=("tensor", "layer_input"))
    group.add_argument("--weight-range", metavar="NAME", help="range estimator of weights")
    group.add_argument("--activation-range", metavar="NAME", help="range estimator of activations")
    group.add_argument("--percentile", type=float, metavar="P", help="of the estimator percentile")
    group.add_argument("--per-tensor", action="store_true", help="one scale per weight")


def _recalibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recalibrate",
        default="",
        metavar="A,B:OPTION=VALUE,...",
        help="what is done to the network first, in this order; `recalibrations` lists them "
        "with their options",
    )


def _memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory-mib",
        type=_number(1),
        default=2048,
        metavar="N",
        help="memory for the activations of one batch; batches shrink to fit",
    )


def _release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--release-first-last",
        action="store_true",
        help="do not hold the first and the last layer at w8a8",
    )


def _allocation(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--allocation",
        required=required,
        metavar="FILE|uniform:W4A8",
        help="allocation file, or one candidate for all layers",
    )
    _release(parser)


def _fill_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="name of the study")
    _out(parser, "a study file (TOML)")
    _study(parser)


def _fill_layers(parser: argparse.ArgumentParser) -> None:
    _out(parser, "the layer table (JSON)")
    _study(parser)


def _fill_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metric", required=True, metavar="NAME")
    parser.add_argument("--candidates", metavar="w2a8,w4a8", help="what to score in each layer")
    _memory(parser)
    _out(parser, "the score table (JSON)")
    _settings(parser)
    _study(parser)


def _fill_allocate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metric", required=True, metavar="NAME")
    parser.add_argument("--candidates", metavar="w2a8,w4a8", help="what layers may become")
    parser.add_argument(
        "--budget",
        action="append",
        required=True,
        metavar="RESOURCE=LIMIT",
        help="size=0.5, bops=0.4, act=0.5 (peak activation memory), ace=0.4 (of w8a8 each), "
        "size_mib=X, stored_mib=X, act_mib=X, avg_bits=4, latency_ms=X; repeatable",
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
    parser.add_argument("--solver", default="milp", metavar="NAME")
    parser.add_argument(
        "--pin", action="append", default=[], metavar="LAYER=w8a8", help="repeatable"
    )
    _release(parser)
    _out(parser, "the allocation file (JSON)")
    _settings(parser)
    _study(parser)


def _fill_latency(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FILE.csv", help="write the latency table (CSV)")
    parser.add_argument("--repeats", type=_number(5), default=50, metavar="N", help="runs of each")
    parser.add_argument(
        "--warm-up", type=_number(1), default=5, metavar="N", help="runs before, not counted"
    )
    parser.add_argument(
        "--parallel", type=_number(1), default=1, metavar="N", help="threads of a layer"
    )
    _study(parser)


def _sweep(parser: argparse.ArgumentParser, points: int) -> None:
    parser.add_argument(
        "--resource", default="size", metavar="NAME", help="what is limited, named as in budgets"
    )
    parser.add_argument(
        "--points",
        type=_number(2),
        default=points,
        metavar="K",
        help="limits, even from the cheapest to the dearest allocation",
    )
    parser.add_argument(
        "--budget",
        action="append",
        default=[],
        metavar="RESOURCE=LIMIT",
        help="another budget, kept at every limit; repeatable",
    )
    parser.add_argument(
        "--latency", metavar="FILE.csv", help="times of the layers, for limits of latency_ms"
    )
    parser.add_argument("--candidates", metavar="w2a8,w4a8", help="what layers may become")
    _release(parser)


def _fill_pareto(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metric", required=True, metavar="NAME")
    parser.add_argument("--solver", default="milp", metavar="NAME")
    _sweep(parser, 20)
    _out(parser, "the front (JSON)")
    _settings(parser)
    _study(parser)


def _fill_curve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metric", action="append", required=True, metavar="NAME", help="repeatable"
    )
    parser.add_argument("--solver", action="append", metavar="NAME", help="repeatable; else milp")
    parser.add_argument(
        "--method", action="append", metavar="NAME", help="repeatable; else nearest"
    )
    _sweep(parser, 6)
    parser.add_argument(
        "--random",
        type=_number(0),
        default=20,
        metavar="N",
        help="random feasible allocations measured at every limit",
    )
    parser.add_argument(
        "--draw-seed", type=_number(0), default=0, metavar="N", help="of the random allocations"
    )
    _memory(parser)
    _out(parser, "the curve (JSON)")
    _settings(parser)
    _study(parser)


def _fill_agreement(parser: argparse.ArgumentParser) -> None:
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
    _memory(parser)
    _out(parser, "the agreement (JSON)")
    _settings(parser)
    _study(parser)


def _fill_distributions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layer", metavar="NAME", help="one layer, and what every range costs it")
    parser.add_argument("--format", default="int8", metavar="NAME", help="grid of the ranges")
    _allocation(parser, required=False)
    parser.add_argument("--method", default="nearest", metavar="NAME")
    _recalibrate(parser)
    _out(parser, "the distributions (JSON)")
    _settings(parser)
    _study(parser)


def _fill_initialization(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--inits", default="", metavar="A,B,...", help="names, normal:MEAN:STD or uniform:LOW:HIGH"
    )
    parser.add_argument("--architectures", default="", metavar="A,B,...")
    parser.add_argument("--seeds", type=_number(1), default=3, metavar="K", help="runs of each")
    parser.add_argument("--epochs", type=_number(1), default=6, metavar="E")
    parser.add_argument("--workers", type=_number(1), default=2, metavar="N", help="processes")
    parser.add_argument(
        "--train-on",
        choices=("digits", "study"),
        default="digits",
        help="the embedded digits, or the study's calibration set",
    )
    _out(parser, "the runs (JSON)")
    _study(parser)


def _fill_inspect(parser: argparse.ArgumentParser) -> None:
    _allocation(parser, required=True)
    parser.add_argument("--method", default="nearest", metavar="NAME")
    _recalibrate(parser)
    parser.add_argument("--set", choices=("calibration", "evaluation"), default="calibration")
    parser.add_argument("--numbers", metavar="3,14", help="samples whose pixels are attributed")
    parser.add_argument(
        "--attribution",
        default="integrated_gradients",
        metavar="NAME",
        help="integrated_gradients, saliency or grad_cam",
    )
    parser.add_argument(
        "--path-steps", type=_number(1), default=32, metavar="N", help="of integrated gradients"
    )
    _out(parser, "the predictions or attributions (JSON)")
    _settings(parser)
    _study(parser)


def _fill_quantize(parser: argparse.ArgumentParser) -> None:
    _allocation(parser, required=True)
    parser.add_argument("--method", default="nearest", metavar="NAME")
    _recalibrate(parser)
    parser.add_argument("--name", default="", help="what to call the configuration")
    _out(parser, "the configuration (JSON)")
    parser.add_argument("--out-model", metavar="FILE.safetensors", help="write codes and scales")
    _settings(parser)
    _study(parser)


def _fill_evaluate(parser: argparse.ArgumentParser) -> None:
    _allocation(parser, required=False)
    parser.add_argument("--model-file", metavar="FILE", help="what `quantize --out-model` wrote")
    _out(parser, "the measurement (JSON)")
    _settings(parser)
    _study(parser)


def _fill_export(parser: argparse.ArgumentParser) -> None:
    _allocation(parser, required=True)
    parser.add_argument("--format", required=True, metavar="NAME")
    parser.add_argument("--out", required=True, metavar="PATH", help="file, or folder for several")
    _study(parser)


def _fill_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("ls", "verify", "clear"))
    parser.add_argument("--older-than", metavar="7d", help="with clear: s, m, h, d or w")
    parser.add_argument("--cache-dir", metavar="DIR", help="folder of the result store")


def _fill_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("train",))
    parser.add_argument("--network", action="append", metavar="NAME", help="repeatable; else all")
    parser.add_argument("--seed", type=_number(0), default=0, metavar="N")
    parser.add_argument("--epochs", type=_number(1), metavar="N", help="else the network's own")
    parser.add_argument("--out", metavar="FOLDER", help="else in place of the shipped weights")
    parser.add_argument("--threads", type=_number(1), metavar="N", help="threads on the CPU")


def _fill_nothing(parser: argparse.ArgumentParser) -> None:
    del parser


STEPS = (
    Step("study", "model:study", "load model and data, write a study file", _fill_study),
    Step("layers", "model:layers", "list the layers with their costs", _fill_layers),
    Step("score", "choice:score", "score layers by a metric", _fill_score, methods=True),
    Step(
        "agreement", "agree:agreement", "compare metrics with what was measured", _fill_agreement
    ),
    Step(
        "inspect", "samples:inspect", "look at single samples", _fill_inspect, methods=True
    ),
    Step(
        "distributions",
        "tensors:distributions",
        "describe weights and activations",
        _fill_distributions,
        methods=True,
    ),
    Step(
        "initialization",
        "lab:initialization",
        "train from several initializers, compare ranges and accuracy",
        _fill_initialization,
    ),
    Step("metrics", "registries:metrics", "list the sensitivity metrics", _fill_nothing),
    Step("solvers", "registries:solvers", "list the allocation solvers", _fill_nothing),
    Step("methods", "registries:methods", "list the quantization methods", _fill_nothing),
    Step(
        "recalibrations",
        "registries:recalibrations",
        "list what can be done to a network before it is quantized",
        _fill_nothing,
    ),
    Step("exporters", "registries:exporters", "list the export formats", _fill_nothing),
    Step(
        "allocate", "choice:allocate", "find bits within budgets", _fill_allocate, methods=True
    ),
    Step(
        "latency",
        "timing:latency",
        "time every layer alone on this machine, w8a8 and float",
        _fill_latency,
    ),
    Step(
        "pareto",
        "curves:pareto",
        "find bits for many limits of one resource",
        _fill_pareto,
        methods=True,
    ),
    Step(
        "curve", "curves:curve", "measure accuracy over a resource, with baselines", _fill_curve
    ),
    Step(
        "quantize", "measure:quantize", "quantize and measure", _fill_quantize, methods=True
    ),
    Step("evaluate", "measure:evaluate", "measure the accuracy", _fill_evaluate),
    Step(
        "export",
        "measure:export",
        "write an allocation in another format",
        _fill_export,
        methods=True,
    ),
    Step("cache", "store:cache", "list, check or clear stored results", _fill_cache),
    Step("demo", "training:demo", "train the embedded demo networks anew", _fill_demo),
)  # fmt: skip
