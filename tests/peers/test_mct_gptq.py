"""Our EPTQ against Sony MCT's gradient-based PTQ: one network at two bits, same images and steps.

MCT lives in an environment of its own: `make peers` makes it and runs this, which takes half an
hour on two cores, most of it for the other's scores of samples and layers.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.data.sources import load_data
from analysis.evaluation.intervals import paired
from analysis.events import result
from analysis.ptq.eptq import EptqOptions
from analysis.records import Candidate, Study, StudySpec
from analysis.workspace import Workspace
from cache.store import Store

PYTHON = os.environ.get("BITLENS_PEERS_PYTHON")
ROOT = Path(__file__).parents[2]
IMAGES, BITS, STEPS = 1024, 2, 512

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="no peer: set BITLENS_PEERS_PYTHON, or run `make peers`"
)


@pytest.fixture(scope="module")
def opened(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, Study, list[str]]:
    weights = shared_data / "weights" / "cifar10_resnet20.th"
    train, test = (shared_data / "cifar10" / f"{name}.npz" for name in ("train_3805", "test_761"))
    folder = tmp_path_factory.mktemp("peer")
    chosen = load_data(f"npz:{train}", role="calibration", limit=IMAGES, seed=0)
    both = folder / "calibration.npz"  # what both sides read whole
    np.savez(both, x=chosen.images, y=chosen.labels)
    spec = StudySpec(
        model="factory:tests.reference.cifar_resnet20:build",
        weights=str(weights),
        calibration=f"npz:{both}",
        evaluation=f"npz:{test}",
        normalize="imagenet",
        samples=IMAGES,
    )
    space = Workspace(Store(folder / "store"))
    study = result(workflow.opening(space, spec, trusted=True))
    assert study.calibration.n == len(chosen) == IMAGES
    return space, study, [str(each) for each in (weights, both, test)]


def test_eptq_is_ahead_at_as_many_steps(
    opened: tuple[Workspace, Study, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    space, study, files = opened
    script = Path(__file__).with_name("mct_gptq.py")
    said = subprocess.run(
        [str(PYTHON), str(script), *files, *map(str, (IMAGES, BITS, STEPS))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}"},
    )
    theirs = json.loads(said.stdout.splitlines()[-1])
    table = result(workflow.layers(space, study).events(space.store))
    allocation = uniform_allocation(table, Candidate.parse(f"w{BITS}a8"))
    recipe = workflow.Recipe(allocation, "eptq", EptqOptions(steps=STEPS))
    ours = result(workflow.quantize(space, study, recipe).events(space.store))
    truth = np.load(files[2])["y"]
    predictions = np.array(theirs["predictions"])
    difference = paired(
        ours.measured.predictions,
        predictions,
        ours.measured.correct,
        predictions == truth,
    )
    with capsys.disabled():
        print(
            f"\nw{BITS}a8, {STEPS} steps: MCT {np.mean(predictions == truth):.2%} in "
            f"{theirs['seconds']:.0f} s; ours {ours.measured.top1:.2%} in {ours.seconds:.0f} s; "
            f"difference {difference.difference:+.2%} ({difference.low:+.2%} to "
            f"{difference.high:+.2%}, paired, n = {len(truth)})"
        )
    assert difference.low > 0
