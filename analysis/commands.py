"""The command line that equals a step, ready to copy, and the flags that it is written in.

The command line of :mod:`analysis.cli` reads what is written here; a test holds the two together.
"""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from analysis.options import Options, OptionSpec, as_dict, describe
from analysis.records import Budget, QuantSettings, StudySpec

# The embedded demo study, which the command line assumes when nothing is named.
DEMO = StudySpec(
    name="Demo: digits-resnet",
    model="demo:digits-resnet",
    calibration="demo:digits",
    evaluation="demo:digits",
    normalize="0.3;0.32",
)

# Flags with a meaning of their own, in any step: an option of a method never takes one.
RESERVED = frozenset({
    "study", "model", "weights", "calibration", "evaluation", "normalize", "input-size",
    "samples", "evaluation-samples", "seed", "device", "threads", "no-cache", "cache-dir", "json",
    "out", "help", "name", "metric", "candidates", "solver", "budget", "pin",
    "release-first-last", "method", "allocation", "out-model", "model-file", "format",
    "older-than", "network", "epochs", "scope", "weight-range", "activation-range", "percentile",
    "per-tensor", "metrics", "reference", "set", "numbers", "attribution", "path-steps",
    "memory-mib", "recalibrate", "layer", "inits", "architectures", "seeds", "workers",
    "train-on", "resource", "points", "random", "draw-seed",
    "latency", "free-bits", "tie", "backend", "repeats", "warm-up", "parallel", "recovery",
    "variant",
})  # fmt: skip


def command_line(step: str, spec: StudySpec, flags: Mapping[str, Any] | None = None) -> str:
    """Return ``python -m analysis STEP`` with the flags that a study and a step need.

    Args:
        step: Name of the step.
        spec: The study; parts that equal the embedded demo's are left out.
        flags: Further flags; False, None and empty values are left out, lists are repeated.
    """
    words = ["python", "-m", "analysis", step]
    if spec.model.startswith("demo:"):
        if spec.model != DEMO.model:
            words += ["--model", spec.model]
        rest = [n for n in ("calibration", "evaluation", "normalize") if _differs(spec, n)]
    else:
        words += ["--model", spec.model]
        rest = ["calibration", "evaluation", "normalize"]
    rest += ["weights", "input_size", "samples", "evaluation_samples", "seed"]
    for name in rest:
        value = getattr(spec, name)
        if value not in ("", 0):
            words += _words(name.replace("_", "-"), value)
    for flag, value in (flags or {}).items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is True:
                words.append(f"--{flag}")
            elif item is not False and item not in ("", None):
                words += _words(flag, item)
    return shlex.join(words)


def default_name(model: str) -> str:
    """Return the name of a study that was given none: demo studies have one."""
    kind, _, name = model.partition(":")
    return f"Demo: {name}" if kind == "demo" else ""


def option_flags(**roles: type[Options]) -> dict[str, tuple[str, OptionSpec]]:
    """Return the flags of the options of the methods that a step uses.

    A flag is the option's name; where that has a meaning of its own, or an earlier method has it,
    the role comes before it: ``--metric-seed``.

    Args:
        roles: Role (``metric``, ``solver``, ``method``) to the options record of its method.

    Returns:
        Flag without dashes in front to the role and the option.
    """
    flags: dict[str, tuple[str, OptionSpec]] = {}
    for role, options in roles.items():
        for spec in describe(options):
            flag = spec.name.replace("_", "-")
            if flag in RESERVED or flag in flags:
                flag = f"{role}-{flag}"
            flags[flag] = (role, spec)
    return flags


def changed_options(**roles: Options) -> dict[str, Any]:
    """Return flags and values of the options that differ from their defaults, by role."""
    values = {role: as_dict(options) for role, options in roles.items()}
    changed: dict[str, Any] = {}
    for flag, (role, spec) in option_flags(**{r: type(o) for r, o in roles.items()}).items():
        value = values[role][spec.name]
        if value != spec.default:
            changed |= {f"no-{flag}": True} if value is False else {flag: value}
    return changed


def changed_settings(settings: QuantSettings) -> dict[str, Any]:
    """Return flags and values of the settings that differ from their defaults."""
    defaults = asdict(QuantSettings())
    changed = {n: v for n, v in asdict(settings).items() if v != defaults[n]}
    if changed.pop("per_channel", True) is False:
        changed["per_tensor"] = True
    if changed.pop("pin_first_last", True) is False:
        changed["release_first_last"] = True
    return {name.replace("_", "-"): value for name, value in changed.items()}


def budget_text(budget: Budget) -> str:
    """Return ``resource=limit`` with every digit that counts."""
    short = f"{budget.limit:g}"
    return f"{budget.resource}={short if float(short) == budget.limit else repr(budget.limit)}"


def _words(flag: str, value: object) -> list[str]:
    # A value that begins with a dash would be read as a flag.
    text = str(value)
    return [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]


def _differs(spec: StudySpec, name: str) -> bool:
    return bool(getattr(spec, name) != getattr(DEMO, name))
