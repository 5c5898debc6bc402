"""Long work in the background: one manager for the process, shared by every browser session.

A job iterates the events of a step in a worker thread. Listeners poll immutable snapshots; a
journal on disk tells the next process what this one was doing.
"""

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.errors import AnalysisError, UnknownNameError, out_of_memory
from analysis.events import Events, Finished, Note, Progress, Report, Started
from analysis.journal import Job as Job
from analysis.journal import read_journal, write_journal
from analysis.pace import Pace
from cache.errors import StoreError

logger = logging.getLogger(__name__)

KEPT_JOBS = 100
KEPT_RESULTS = 4
SAVE_EVERY = 1.0  # seconds between two writes of mere progress

INTERRUPTED = "The program ended before this job did; run it again to complete it."
UNSAVED = "The job list could not be saved"


class JobManager:
    """Runs steps in daemon threads, one job at a time per key.

    Args:
        journal: JSON file of the last jobs, replaced atomically; used by one manager at a time.
            Jobs that it lists as active are listed as ``interrupted``; a file that cannot be read
            is set aside under another name.
        workers: Number of jobs that run at the same time, at least 1.
        clock: Seconds since the epoch.

    Raises:
        ValueError: If there is no worker.
    """

    def __init__(
        self, journal: Path, workers: int = 1, clock: Callable[[], float] = time.time
    ) -> None:
        if workers < 1:
            raise ValueError(f"`workers` must be at least 1, got {workers}.")
        self._journal, self._clock = journal, clock
        self._changed = threading.Condition()  # the one lock; notified when a state changes
        self._jobs: dict[str, Job] = {job.id: job for job in read_journal(journal, clock())}
        self._queue: dict[str, Callable[[], Events[Any]]] = {}
        self._paces: dict[str, Pace] = {}
        self._results: OrderedDict[str, Any] = OrderedDict()
        self._closing = False
        self._saved_at = float("-inf")
        self._save_fails = False
        if any(job.active for job in self._jobs.values()):
            for job in tuple(self._jobs.values()):
                if job.active:
                    self._set(job.id, state="interrupted", cancelling=False, error=INTERRUPTED)
            self._save()
        self._threads = [
            threading.Thread(target=self._work, name=f"job-worker-{i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        key: str,
        title: str,
        step: str,
        command: str,
        make_events: Callable[[], Events[Any]],
    ) -> str:
        """Queue a step, or join the active job of equal key; return the job's id.

        A job that is being cancelled is not joined: the new one starts when it has ended.

        Args:
            key: What identifies the result; equal keys are never computed side by side.
            title: What a person calls the work.
            step: Name of the workflow step.
            command: The equal command line.
            make_events: Starts the step; called in a worker thread.

        Raises:
            AnalysisError: If the manager was closed.
        """
        with self._changed:
            if self._closing:
                raise AnalysisError(
                    f"Jobs need a running server, but it is shutting down and cannot take "
                    f"`{title}`; start it again and repeat."
                )
            for job in self._jobs.values():
                if job.key == key and job.active and not job.cancelling:
                    return job.id
            job = Job(
                id=uuid.uuid4().hex[:12],
                key=key,
                title=title,
                step=step,
                command=command,
                submitted=float(self._clock()),
            )
            self._jobs[job.id] = job
            self._queue[job.id] = make_events
            self._forget_old()
            self._commit(job.id)
            return job.id

    def jobs(self) -> tuple[Job, ...]:
        """Return every job, newest first."""
        with self._changed:
            return tuple(self._snapshot(job) for job in reversed(self._jobs.values()))

    def job(self, id: str) -> Job:
        """Return one job.

        Raises:
            UnknownNameError: If there is no such job.
        """
        with self._changed:
            return self._snapshot(self._find(id))

    def cancel(self, id: str) -> Job:
        """Stop a job: at once if it is queued, at the next event of its step if it runs.

        A job that has ended stays as it is, and a step whose next event is its result finishes.

        Raises:
            UnknownNameError: If there is no such job.
        """
        with self._changed:
            if self._stop(self._find(id)):
                self._commit(id)
            return self._snapshot(self._jobs[id])

    def result(self, id: str) -> Any:
        """Return the result of a finished job, or None if it is not, or no longer, in memory.

        Only the few results read last are held; the store has the others.

        Raises:
            UnknownNameError: If there is no such job.
        """
        with self._changed:
            self._find(id)
            if id in self._results:
                self._results.move_to_end(id)
            return self._results.get(id)

    def wait(self, id: str, timeout: float | None = None) -> Job:
        """Block until a job has ended or ``timeout`` seconds have passed; return the job then.

        Raises:
            UnknownNameError: If there is no such job.
        """
        with self._changed:
            self._find(id)
            # A job that is forgotten while we wait had ended.
            last = self._jobs[id]

            def ended() -> bool:
                nonlocal last
                last = self._jobs.get(id, last)
                return id not in self._jobs or not last.active

            self._changed.wait_for(ended, timeout)
            return self._snapshot(last)

    def close(self, timeout: float = 5.0) -> bool:
        """Cancel every job and end the workers; return whether all did within ``timeout`` s.

        A step that does not give way is left to its daemon thread and is ``interrupted`` in the
        next process.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closing = True
            for job in tuple(self._jobs.values()):
                self._stop(job)
            self._commit()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    # --- workers ---------------------------------------------------------------------------------

    def _work(self) -> None:
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        taken = self._take()
        if taken is None:
            return False
        id, make_events = taken
        try:
            finished = self._drive(id, make_events)
        except (AnalysisError, StoreError) as error:
            self._end(id, state="failed", error=str(error) or type(error).__name__)
        except BaseException as error:  # a worker outlives whatever a step raises
            logger.exception("job %s failed", id)
            self._end(id, state="failed", error=_explain(error))
        else:
            if finished is None:
                self._end(id, state="cancelled")
            else:
                self._finish(id, finished)
        return True

    def _take(self) -> tuple[str, Callable[[], Events[Any]]] | None:
        """Wait for a job whose key is not running; None when the manager closes."""
        with self._changed:
            while not self._closing:
                running = {job.key for job in self._jobs.values() if job.state == "running"}
                for id in self._queue:
                    if self._jobs[id].key not in running:
                        make_events = self._queue.pop(id)
                        self._paces[id] = Pace()
                        self._set(id, state="running", started=float(self._clock()))
                        self._commit(id)
                        return id, make_events
                self._changed.wait()
            return None

    def _drive(self, id: str, make_events: Callable[[], Events[Any]]) -> Finished[Any] | None:
        """Iterate a step to its end; None if it was cancelled."""
        events = make_events()
        try:
            for event in events:
                if isinstance(event, Finished):
                    return event
                if self._report(id, event):
                    return None
            raise RuntimeError("the step ended without a Finished event")
        finally:
            # In this thread: only here can a step's context managers restore thread-local state.
            close = getattr(events, "close", None)
            if close is not None:
                close()

    def _report(self, id: str, event: Report) -> bool:
        """Enter an event; return whether the job is to stop."""
        with self._changed:
            now = float(self._clock())
            if isinstance(event, Started):
                self._paces[id] = Pace()
                self._set(id, message=event.title)
            elif isinstance(event, Progress):
                done, total = int(event.done), int(event.total)
                self._paces[id].observe(done, total, now)
                self._set(id, done=done, total=total, message=event.message)
            elif isinstance(event, Note):
                self._note(id, event.text)
            if abs(now - self._saved_at) >= SAVE_EVERY:
                self._save(id)
            return self._jobs[id].cancelling

    def _finish(self, id: str, event: Finished[Any]) -> None:
        with self._changed:
            self._results[id] = event.result
            while len(self._results) > KEPT_RESULTS:
                self._results.popitem(last=False)
            self._end(id, state="finished", cached=event.cached, result_key=self._jobs[id].key)

    def _end(self, id: str, **changes: Any) -> None:
        with self._changed:
            self._paces.pop(id, None)
            self._set(id, cancelling=False, finished=float(self._clock()), **changes)
            self._commit(id)

    # --- under the lock --------------------------------------------------------------------------

    def _find(self, id: str) -> Job:
        if id not in self._jobs:
            raise UnknownNameError("job", id, self._jobs)
        return self._jobs[id]

    def _snapshot(self, job: Job) -> Job:
        pace = self._paces.get(job.id)
        return job if pace is None else replace(job, eta_seconds=pace.eta(self._clock()))

    def _set(self, id: str, **changes: Any) -> None:
        self._jobs[id] = replace(self._jobs[id], **changes)

    def _note(self, id: str, text: str) -> None:
        self._set(id, notes=(*self._jobs[id].notes, text))

    def _stop(self, job: Job) -> bool:
        """Mark a job to be cancelled; return whether that changed anything."""
        if job.state == "queued":
            del self._queue[job.id]
            self._set(job.id, state="cancelled", finished=float(self._clock()))
        elif job.state == "running" and not job.cancelling:
            self._set(job.id, cancelling=True)
        else:
            return False
        return True

    def _forget_old(self) -> None:
        excess = len(self._jobs) - KEPT_JOBS
        ended = [job.id for job in self._jobs.values() if not job.active]
        for id in ended[: max(excess, 0)]:
            del self._jobs[id]
            self._results.pop(id, None)

    def _commit(self, id: str = "") -> None:
        self._save(id)
        self._changed.notify_all()

    def _save(self, id: str = "") -> None:
        """Write the journal; a failure is noted once on the job that made it be written."""
        self._saved_at = self._clock()
        try:
            write_journal(self._journal, (self._snapshot(job) for job in self._jobs.values()))
            self._save_fails = False
        except OSError as error:
            why = error.strerror or str(error)
            if not self._save_fails:
                logger.warning("%s to %s: %s", UNSAVED, self._journal, why)
            self._save_fails = True
            if id and not any(note.startswith(UNSAVED) for note in self._jobs[id].notes):
                self._note(id, f"{UNSAVED} ({why}); this job runs on, but a restart may forget it.")


def _explain(error: BaseException) -> str:
    """One sentence for an error that a step does not foresee."""
    if out_of_memory(error):
        return (
            "This job needs more memory than is free; use fewer samples, a smaller batch or a "
            "smaller model, or close other programs, and run it again."
        )
    what = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
    return f"Unexpected error {what}, details in the log."
