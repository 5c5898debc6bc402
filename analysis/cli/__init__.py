"""The command line: every step of the app without a browser, through the same store.

Exit status: 0 done, 1 an error in the input, 2 wrong usage, 3 infeasible budget, 130 cancelled.
Modules that need torch are imported by the step that runs, so that help and wrong usage are
answered at once.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from analysis.cli.parser import UsageError, parse
from analysis.errors import AnalysisError, InfeasibleBudgetError, out_of_memory
from cache.errors import StoreError

__all__ = ["main"]

DONE, WRONG_INPUT, WRONG_USAGE, INFEASIBLE, CANCELLED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one step and return the exit status.

    Args:
        argv: The words after ``python -m analysis``; those of the process when left out.
    """
    try:
        call = parse(sys.argv[1:] if argv is None else argv)
        module, _, function = call.function.partition(":")
        with warnings.catch_warnings():
            # Its remarks on files and devices are for programmers.
            warnings.filterwarnings("ignore", module=r"torch\b")
            getattr(import_module(module), function)(call)
        sys.stdout.flush()
        return DONE
    except SystemExit as end:  # argparse printed the help
        return int(end.code or DONE)
    except UsageError as error:
        return _refuse(error, WRONG_USAGE, f" `{error.program} --help` lists what it takes.")
    except InfeasibleBudgetError as error:
        return _refuse(error, INFEASIBLE)
    except (AnalysisError, StoreError) as error:
        return _refuse(error, WRONG_INPUT)
    except BrokenPipeError:  # the reader of our output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        return _refuse(error, WRONG_INPUT)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        # What we say ourselves names the layer; what torch says names its source files.
        own = str(error) if isinstance(error, MemoryError) else ""
        text = "More memory is needed than is free; use fewer samples or a smaller `--batch-size`."
        return _refuse(f"{own} {text}".strip(), WRONG_INPUT)
    except KeyboardInterrupt:
        text = "Cancelled; what was finished is kept, the same command goes on from there."
        return _refuse(text, CANCELLED, mark="")


def _refuse(error: object, status: int, hint: str = "", mark: str = "error: ") -> int:
    print(f"{mark}{' '.join(str(error).split())}{hint}", file=sys.stderr, flush=True)
    return status
