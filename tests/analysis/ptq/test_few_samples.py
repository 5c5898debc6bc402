"""What every method that learns from samples does with hardly any."""

import pytest
import torch

from analysis.models.network import build_network
from analysis.ptq.wording import mebibytes, percent, sample_count
from analysis.quant.configure import plan_of
from analysis.records import QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch
from tests.reference.quantizing import quantize, task_of

SETTINGS = QuantSettings(activation_range="min_max")
SHORT: dict[str, dict[str, object]] = {
    "bias_correction": {},
    "gptq": {},
    "gpfq": {},
    "adaround": {"iterations": 3},
    "brecq": {"iterations": 3},
    "eptq": {"steps": 3},
}


@pytest.mark.parametrize("method", SHORT)
@pytest.mark.parametrize(
    ("n", "trained"), [(1, "1 sample is"), (2, "2 samples are"), (7, "7 samples are"), (40, "35")]
)
def test_few_samples_are_told_with_their_number_and_do_for_it(method, n, trained):
    network = build_network(toys.twice(), batch(2, 3, 8, 8))
    task = task_of(network, batch(n, 3, 8, 8), "w3a4", SETTINGS)
    found, notes = quantize(task, method, **SHORT[method])
    said = [note for note in notes if note.startswith("Only ")]
    held_out = method in ("adaround", "brecq", "eptq")
    assert len(said) == 1
    assert said[0].startswith(f"Only {trained if held_out or n < 40 else '40'}")
    assert "fewer than 256" in said[0]
    with torch.no_grad():
        assert network(task.inputs(range(n)), plan_of(network, found, SETTINGS)).isfinite().all()


def test_enough_samples_are_not_warned_of():
    x = batch(256, 3, 8, 8)
    task = task_of(build_network(toys.twice(), x[:2]), x, "w3a4", SETTINGS)
    for method in ("bias_correction", "gptq"):
        assert not any(note.startswith("Only ") for note in quantize(task, method)[1])


def test_numbers_in_notes_can_be_read():
    assert [sample_count(n) for n in (1, 2, 1024)] == ["1 sample", "2 samples", "1,024 samples"]
    assert sample_count(1, "held-out") == "1 held-out sample"
    assert [percent(share) for share in (0.0, 0.12356, 1.0, 4.71e-5)] == [
        "0.00%", "12.36%", "100.00%", "0.0047%",
    ]  # fmt: skip
    assert [mebibytes(mib) for mib in (0, 0.0312, 1024)] == ["0 MiB", "0.031 MiB", "1,024 MiB"]
