"""What is timed, how often, and on what. Imports nothing heavy."""

import platform
from dataclasses import dataclass
from importlib.metadata import version

from analysis.options import Options, option
from analysis.records import FLOAT, Candidate

INT8, UNTOUCHED = Candidate("int8", "int8"), Candidate(FLOAT, FLOAT)
MEASURED = (INT8, UNTOUCHED)


@dataclass(frozen=True, slots=True)
class TimingOptions(Options):
    """How often a layer is run."""

    repeats: int = option(50, low=5, high=10000, help="Runs of each layer; their median counts.")
    warm_up: int = option(5, low=1, high=1000, help="Runs before, which do not count.")
    parallel: int = option(1, low=1, high=256, help="Threads of a layer.")


def machine() -> str:
    """Return what the times belong to: processor and version of onnxruntime."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.partition(":")[2].strip() for line in file if "model name" in line]
        name = models[0] if models else name
    except OSError:
        pass  # no Linux
    return f"{name}, onnxruntime {version('onnxruntime')}"
