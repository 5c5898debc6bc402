import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded

import pytest
import torch
from hypothesis import settings

settings.register_profile("bitlens", derandomize=True, deadline=None)
settings.load_profile("bitlens")
torch.set_num_threads(2)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real weights and images, which are not part of the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BITLENS_SHARED_DATA", beside))
    if not (folder / "weights").is_dir():
        pytest.skip("no real weights and images: set BITLENS_SHARED_DATA to their folder")
    return folder
