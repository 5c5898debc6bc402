from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from analysis import workflow
from analysis.events import result
from analysis.records import Study, StudySpec
from analysis.workspace import Workspace
from cache.store import Store
from tests.analysis.cli_studies import MODEL, Lab, make_lab


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors are no faster on two threads, and waking them is slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A small study for the command line."""
    return make_lab(tmp_path)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with a store of its own."""
    return Workspace(Store(tmp_path / "own"), allow_factory=True)


@pytest.fixture
def study(lab: Lab, workspace: Workspace) -> Study:
    """The study of the lab, opened through the library."""
    spec = StudySpec(
        model=MODEL,
        calibration=f"npz:{lab.folder / 'calibration.npz'}",
        evaluation=f"npz:{lab.folder / 'evaluation.npz'}",
        normalize="none",
    )
    return result(workflow.opening(workspace, spec))
