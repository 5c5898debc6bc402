"""Keep a library's stray prints off the standard output."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_inside = 0
_saved = -1


@contextmanager
def no_native_output() -> Iterator[None]:
    """Discard what native code writes to file descriptor 1 while the body runs.

    HiGHS 1.12 prints a debug line past its own log switch (ERGO-Code/HiGHS issue 2783), which would
    break the JSON of the command line. The redirection is one for the whole process: it begins with
    the first body to enter and ends with the last to leave. On Windows nothing is redirected.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _saved
    with _lock:
        _inside += 1
        if _inside > 1 or sys.platform == "win32":
            return
        _flush()
        try:
            _saved = os.dup(1)
        except OSError:  # there is no standard output to protect
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.close(sink)


def _leave() -> None:
    global _inside, _saved
    with _lock:
        _inside -= 1
        if _inside or _saved < 0:
            return
        _flush()
        os.dup2(_saved, 1)
        os.close(_saved)
        _saved = -1


def _flush() -> None:
    # C keeps its own buffer: unflushed, a discarded line would come out later.
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)
