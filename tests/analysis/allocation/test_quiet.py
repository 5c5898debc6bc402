import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.allocation.quiet import no_native_output

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="redirects on POSIX only")


def say(text: bytes) -> None:
    ctypes.CDLL(None).puts(text)


def flush() -> None:
    ctypes.CDLL(None).fflush(None)


def test_native_prints_inside_are_discarded_and_others_kept(capfd):
    say(b"before")
    with no_native_output():
        say(b"inside")
        with no_native_output():
            say(b"nested")
        say(b"still inside")
    say(b"after")
    flush()
    assert capfd.readouterr().out.split() == ["before", "after"]


def test_the_output_is_restored_when_the_body_raises(capfd):
    with pytest.raises(KeyError), no_native_output():
        raise KeyError
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"


def test_a_process_without_standard_output_is_left_alone():
    body = (
        "import os; os.close(1)\n"
        "from analysis.allocation.quiet import no_native_output\n"
        "with no_native_output(): pass\n"
        "os._exit(7)\n"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", body], cwd=root, check=False).returncode == 7
