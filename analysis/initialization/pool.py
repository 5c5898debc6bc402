"""Many runs side by side in processes of their own, handed over one by one as they finish."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from analysis.errors import AnalysisError, OptionError
from analysis.events import Progress, Work
from analysis.initialization.frames import Frame, pack, receive, send
from analysis.initialization.lab_data import LabData
from analysis.initialization.settings import BITS, RunSetting
from analysis.initialization.training import train_run
from analysis.records.initialization import InitRun
from cache.codec import loads

Done = Callable[[RunSetting, InitRun], None]
Answers = queue.SimpleQueue[tuple[int, Frame | None]]

ROOT = Path(__file__).resolve().parents[2]
WORKER = "analysis.initialization.worker"
# Seconds between two looks at whether the consumer wants to go on.
TICK = 0.25
MAX_WORKERS = 64


def default_workers() -> int:
    """Return how many processes this machine has cores for, four at most."""
    return min(os.cpu_count() or 1, 4)


def run_many(
    settings: Sequence[RunSetting],
    data: LabData,
    workers: int,
    done: Done,
    bits: tuple[int, ...] = BITS,
) -> Work[tuple[InitRun, ...]]:
    """Train many networks, several at a time, and hand over each as it is finished.

    Every worker is a fresh Python process with one thread, which takes about two seconds to start;
    it gets the next setting when it has finished one. Equal settings give equal records whatever
    the number of workers. Closing the generator kills the workers; runs that ``done`` was called
    with are not lost.

    Args:
        settings: What to train.
        data: Images and labels.
        workers: Number of processes; with 1 everything happens in this one.
        done: Called in the consumer's thread with every finished run, in the order of finishing.
        bits: Widths at which the trained networks are quantized.

    Yields:
        ``Progress`` in epochs of all runs and one more a run, several a second; while processes
        start, which tells no pace, out of a single unit.

    Returns:
        The runs in the order of the settings.

    Raises:
        OptionError: If the number of workers is not in 1..64.
        AnalysisError: If a run is refused, or a worker ends by itself.
        RuntimeError: If a worker fails for a reason that is no fault of the input.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise OptionError(f"`workers` must lie in [1, {MAX_WORKERS}], got {workers}.")
    workers = min(workers, len(settings))
    if workers > 1:
        return (yield from _side_by_side(settings, data, workers, done, bits))
    count = _Count(settings)
    found = []
    for place, setting in enumerate(settings):
        run = yield from _counted(train_run(setting, data, bits), place, count)
        found.append(run)
        done(setting, run)
        yield count.finished(place, f"{setting.title}: done")
    return tuple(found)


class _Count:
    """How far runs are: a unit for every epoch and one for the quantization of each run."""

    def __init__(self, settings: Sequence[RunSetting]) -> None:
        self.units = [setting.epochs + 1 for setting in settings]
        self.done = [0] * len(settings)
        self.runs = 0

    def moved(self, place: int, done: int, message: str) -> Progress:
        """Note how far a run is; its last unit counts when it has been handed over."""
        self.done[place] = min(done, self.units[place] - 1)
        return self.progress(message)

    def finished(self, place: int, message: str) -> Progress:
        """Note that a run has ended, early if it diverged."""
        self.done[place] = self.units[place]
        self.runs += 1
        return self.progress(message)

    def progress(self, message: str) -> Progress:
        """Say how far all of them are."""
        text = f"{self.runs} of {len(self.units)} runs · {message}"
        return Progress(sum(self.done), sum(self.units), text)


def _counted(work: Work[InitRun], place: int, count: _Count) -> Work[InitRun]:
    """Report a run's progress among all of them."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if isinstance(event, Progress):
            yield count.moved(place, event.done, event.message)
        else:
            yield event


def _side_by_side(
    settings: Sequence[RunSetting],
    data: LabData,
    workers: int,
    done: Done,
    bits: tuple[int, ...],
) -> Work[tuple[InitRun, ...]]:
    found: dict[int, InitRun] = {}
    total = len(settings)
    count = _Count(settings)
    report = Progress(0, 1, f"starting {workers} processes, a few seconds")
    with _started(settings, data, workers, bits) as answers:
        while len(found) < total:
            yield report
            try:
                place, frame = answers.get(timeout=TICK)
            except queue.Empty:
                continue
            setting = settings[place]
            if frame is None:
                raise AnalysisError(
                    f"A worker process must run until its work is done, the one for {setting.title}"
                    " ended by itself. Is there memory for all of them? Ask for fewer workers."
                )
            text = "" if frame.kind == "run" else frame.text.decode()
            if frame.kind == "refused":
                raise AnalysisError(text)
            if frame.kind == "failed":
                raise RuntimeError(f"{setting.title} failed in its worker process:\n{text}")
            if frame.kind == "run":
                run = found[place] = loads(InitRun, frame.text, frame.archive)
                done(setting, run)
                report = count.finished(place, f"{setting.title}: done")
            else:
                said = json.loads(text)
                report = count.moved(place, said["done"], said["message"])
    yield report
    return tuple(found[place] for place in range(total))


@contextmanager
def _started(
    settings: Sequence[RunSetting], data: LabData, workers: int, bits: tuple[int, ...]
) -> Iterator[Answers]:
    """Start workers on the settings; inside, their answers come with the place of the setting."""
    tasks: queue.SimpleQueue[tuple[int, RunSetting] | None] = queue.SimpleQueue()
    for task in enumerate(settings):
        tasks.put(task)
    for _ in range(workers):
        tasks.put(None)
    answers: Answers = queue.SimpleQueue()
    packed = pack(data)
    processes: list[subprocess.Popen[bytes]] = []
    threads: list[threading.Thread] = []
    try:
        for _ in range(workers):
            process = _process()
            processes.append(process)
            thread = threading.Thread(
                target=_drive, args=(process, packed, tasks, answers, bits), daemon=True
            )
            threads.append(thread)
            thread.start()
        yield answers
    finally:
        for process in processes:
            process.kill()
        for thread in threads:
            thread.join()
        for process in processes:
            _close(process)


def _process() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", WORKER],
        cwd=ROOT,
        # More threads than one a worker would fight for the cores.
        env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C in the terminal is for the server
    )


def _drive(
    process: subprocess.Popen[bytes],
    packed: Frame,
    tasks: "queue.SimpleQueue[tuple[int, RunSetting] | None]",
    answers: Answers,
    bits: tuple[int, ...],
) -> None:
    """Give one worker the data and then tasks until there are none; pass on what it answers."""
    requests, replies = process.stdin, process.stdout
    assert requests is not None
    assert replies is not None
    ready = True
    while (task := tasks.get()) is not None:
        place, setting = task
        asked = {"setting": asdict(setting), "bits": bits}
        frame: Frame | None = None
        try:
            if ready:
                send(requests, packed)
                ready = False
            send(requests, Frame("run", json.dumps(asked).encode()))
            while (frame := receive(replies)) is not None and frame.kind == "progress":
                answers.put((place, frame))
        except OSError:  # its end of a pipe is gone, as when it was killed
            frame = None
        answers.put((place, frame))
        if frame is None:
            return


def _close(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:  # what was still to be sent has no reader
                continue
