"""What all sessions of the server share: the store, the jobs, the live studies."""

import importlib
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.jobs import JobManager
from cache.layout import default_root
from cache.remembering import RememberingStore
from cache.store import Store

if TYPE_CHECKING:
    from analysis.workspace import Workspace

_lock = threading.Lock()


def store() -> Store:
    """Return the result store; what was read last is kept in memory."""
    return _store(default_root())


def jobs() -> JobManager:
    """Return the job manager of this process and store."""
    with _lock:
        return _jobs(default_root())


def workspace() -> "Workspace":
    """Return the live studies of this process; imports torch on first use."""
    from analysis.workspace import Workspace

    with _lock:
        return _workspace(default_root(), Workspace)


@lru_cache(maxsize=8)
def _store(root: Path) -> Store:
    return RememberingStore(root)


@lru_cache(maxsize=8)
def _jobs(root: Path) -> JobManager:
    return JobManager(root / "jobs.json")


@lru_cache(maxsize=8)
def _workspace(root: Path, make: "type[Workspace]") -> "Workspace":
    return make(Store(root))


def warm_up() -> None:
    """Import torch and the workflow in the background: the first page does not wait for them."""
    threading.Thread(
        target=importlib.import_module, args=("analysis.workflow",), daemon=True
    ).start()


def shut_down() -> None:
    """Cancel every job and wait for the workers, so that the server ends at once."""
    jobs().close()
