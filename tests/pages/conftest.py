from pathlib import Path

import pytest

from analysis.demo_studies import DEMOS
from analysis.events import result
from analysis.records import Study
from pages.ui import resources


@pytest.fixture
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store of this test alone."""
    root = tmp_path / "store"
    monkeypatch.setenv("BITLENS_CACHE", str(root))
    for name in ("BITLENS_DATA", "BITLENS_STUDIES"):
        monkeypatch.delenv(name, raising=False)
    return root


@pytest.fixture
def demo_study(cache_dir: Path) -> Study:
    """The first embedded study, opened into the store of this test."""
    from analysis import workflow

    return result(workflow.opening(resources.workspace(), DEMOS[0].spec))
