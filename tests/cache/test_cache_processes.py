"""Several processes on one store: two that write and remove, two that read."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.store import Store

ABOUT: dict[str, Any] = {"step": "score", "inputs": {}, "options": {}}
KEYS = tuple(digit * 64 for digit in "abc")


@dataclass(frozen=True)
class Sample:
    values: NDArray[np.float64]
    note: str


def consistent(number: int, note: str) -> Sample:
    """A record in which every value repeats the number of its writer."""
    return Sample(np.full(200, float(number)), f"{note}{number}")


def write(store: Store, writer: int) -> None:
    for turn in range(10):
        for key in KEYS:
            store.put_part(key, "part", consistent(writer, "part"))
            store.put(key, consistent(writer, "whole"), **ABOUT)
            if turn % 4 == writer:
                store.delete(key)


def read(store: Store, stop: Path) -> int:
    def fail(text: str) -> None:
        raise AssertionError(text)

    seen = 0
    while not stop.exists():
        for key in KEYS:
            for record in (
                store.get(key, Sample, fail),
                store.get_part(key, "part", Sample, fail),
            ):
                if record is not None:
                    assert record.note.endswith(f"{int(record.values[0])}")
                    assert (record.values == record.values[0]).all()
                    seen += 1
    return seen


def test_readers_never_see_half_a_result_while_others_write_and_remove(tmp_path):
    stop = tmp_path / "stop"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(role: str, number: int) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, role, str(tmp_path), str(number)]
        return subprocess.Popen(
            command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    readers = [start("read", number) for number in range(2)]
    writers = [start("write", number) for number in range(2)]
    try:
        for writer in writers:
            _, errors = writer.communicate(timeout=60)
            assert writer.returncode == 0, errors
        stop.touch()
        for reader in readers:
            seen, errors = reader.communicate(timeout=60)
            assert reader.returncode == 0, errors
            assert int(seen) > 0
    finally:
        stop.touch()
        for process in (*readers, *writers):
            process.kill()
            process.communicate()
    store = Store(tmp_path / "store")
    assert store.verify() == ()
    assert not list((store.root / "tmp").iterdir())


if __name__ == "__main__":
    role, folder, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if role == "write":
        write(Store(folder / "store"), number)
    else:
        print(read(Store(folder / "store"), folder / "stop"))
