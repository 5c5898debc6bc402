import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded

import pytest
import torch
from hypothesis import settings

settings.register_profile("bitlens", derandomize=True, deadline=None)
settings.load_profile("bitlens")
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests go first: they mostly wait, beside other workers that compute."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real weights and images, which are not part of the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BITLENS_SHARED_DATA", beside))
    if not (folder / "weights").is_dir():
        pytest.skip("no real weights and images: set BITLENS_SHARED_DATA to their folder")
    return folder
