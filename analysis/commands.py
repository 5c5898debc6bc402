"""The command line that equals a step, ready to copy."""

import shlex
from collections.abc import Mapping
from typing import Any

from analysis.records import StudySpec

# The embedded demo study, which the command line assumes when nothing is named.
DEMO = StudySpec(
    name="Demo: digits-resnet",
    model="demo:digits-resnet",
    calibration="demo:digits",
    evaluation="demo:digits",
    normalize="0.3;0.32",
)


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
            words += [f"--{name.replace('_', '-')}", str(value)]
    for flag, value in (flags or {}).items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is True:
                words.append(f"--{flag}")
            elif item is not False and item not in ("", None):
                words += [f"--{flag}", str(item)]
    return shlex.join(words)


def _differs(spec: StudySpec, name: str) -> bool:
    return bool(getattr(spec, name) != getattr(DEMO, name))
