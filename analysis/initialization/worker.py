"""A worker process of the lab: ``python -m analysis.initialization.worker``, driven by a pool.

It is a module of its own because multiprocessing starts workers by running the main script once
more, which in a Streamlit server is the app. Messages come on standard input and go out on what
was standard output; the worker ends with its input, so also when the pool's process dies.
"""

import json
import os
import sys
import traceback
from typing import IO

import torch

from analysis.errors import AnalysisError
from analysis.events import Progress
from analysis.initialization.frames import Frame, receive, send, unpack
from analysis.initialization.lab_data import LabData
from analysis.initialization.settings import RunSetting
from analysis.initialization.training import train_run
from cache.codec import dumps


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are none: first the data, then one setting after the other."""
    first = receive(requests)
    if first is None:
        return
    data = unpack(first)
    while (frame := receive(requests)) is not None:
        asked = json.loads(frame.text)
        try:
            _run(RunSetting(**asked["setting"]), data, tuple(asked["bits"]), answers)
        except BrokenPipeError:
            raise
        except AnalysisError as error:
            send(answers, Frame("refused", str(error).encode()))
        except Exception:
            send(answers, Frame("failed", traceback.format_exc().encode()))


def _run(setting: RunSetting, data: LabData, bits: tuple[int, ...], answers: IO[bytes]) -> None:
    work = train_run(setting, data, bits)
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            send(answers, Frame("run", *dumps(end.value)))
            return
        if isinstance(event, Progress):
            said = {"done": event.done, "message": event.message}
            send(answers, Frame("progress", json.dumps(said).encode()))


def main() -> None:
    """Serve a pool; what libraries print goes to standard error."""
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(sys.stdin.buffer, answers)
    except BrokenPipeError:  # the pool is gone
        os._exit(1)


if __name__ == "__main__":
    main()
