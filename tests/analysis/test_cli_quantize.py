"""``quantize`` by every method: files, interruptions, exhausted memory, what is refused at once."""

from pkgutil import resolve_name

import pytest

from analysis.ptq import PTQ_METHODS
from tests.analysis.cli_studies import Lab, Said

SHORT: dict[str, list[object]] = {
    "adaround": ["--iterations", 3, "--batch-size", 4],
    "brecq": ["--iterations", 3, "--batch-size", 4],
    "eptq": ["--steps", 6, "--batch-size", 4],
    "coarse_fine": ["--split", "always"],
}
KEPT = ("n", "top1", "loss", "kl")


def words(method: str, *more: object) -> list[object]:
    return ["--allocation", "uniform:w3a4", "--method", method, *SHORT.get(method, []), *more]


def refused(said: Said, *parts: str) -> None:
    assert said.status == 1
    assert said.out == ""
    last = said.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert all(part in last for part in parts)
    assert "Traceback" not in said.err


@pytest.mark.parametrize("method", PTQ_METHODS.names())
@pytest.mark.parametrize(
    "settings", [["--weight-range", "hmse"], ["--recalibrate", "equalization,absorption"]]
)
def test_a_file_measures_what_its_quantization_did(lab, method, settings):
    file = lab.folder / "m.safetensors"
    made = lab.json("quantize", *words(method, *settings, "--out-model", file))["measured"]
    again = lab.json("evaluate", "--model-file", file)
    assert [again[name] for name in KEPT] == [made[name] for name in KEPT]


def test_a_file_that_could_not_be_written_is_refused_before_anything_is_computed(lab):
    place = lab.folder / "no" / "m.safetensors"
    refused(lab("quantize", *words("nearest", "--out-model", place)), "there is no folder")
    assert lab.json("quantize", *words("nearest"))["cached"] is False


def test_what_a_file_cannot_hold_is_refused_before_anything_is_quantized(lab):
    bounded = words("nearest", "--recalibrate", "bounded_relu")
    file = lab.folder / "m.safetensors"
    refused(lab("quantize", *bounded, "--out-model", file), "bounds of activations")
    assert not file.exists()
    assert lab.json("quantize", *bounded)["cached"] is False


@pytest.mark.parametrize(
    ("method", "place"),
    [
        ("eptq", "analysis.ptq.trainer:Trainer.step"),
        ("adaround", "analysis.ptq.reconstruction:train_unit"),
        ("brecq", "analysis.ptq.reconstruction:train_unit"),
    ],
)
def test_an_interrupted_training_goes_on_and_ends_with_the_same_numbers(
    lab, monkeypatch, method, place
):
    whole = lab.json("quantize", *words(method), "--cache-dir", lab.folder / "whole")
    plain, calls = resolve_name(place), iter(range(100))

    def third_time_interrupted(*args):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return plain(*args)

    with monkeypatch.context() as patch:
        patch.setattr(place.replace(":", "."), third_time_interrupted)
        said = lab("quantize", *words(method))
    assert said.status == 130
    assert "the same command goes on from there" in said.err
    resumed = lab.json("quantize", *words(method))
    assert any(note.startswith("Goes on after 2 of ") for note in resumed["notes"])
    assert resumed["trace"] == whole["trace"]
    assert [resumed["measured"][n] for n in KEPT] == [whole["measured"][n] for n in KEPT]


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (MemoryError("`conv` needs 12 MiB."), "error: `conv` needs 12 MiB. More memory is needed"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "error: More memory is needed",
        ),
    ],
)
def test_exhausted_memory_is_one_line(lab, monkeypatch, error, part):
    def hungry(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("analysis.ptq.nearest.quantize_nearest", hungry)
    refused(lab("quantize", *words("nearest")), part)


def test_other_faults_of_torch_are_not_taken_for_exhausted_memory(lab, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("analysis.ptq.nearest.quantize_nearest", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        lab("quantize", *words("nearest"))


def test_a_note_is_written_once(lab: Lab):
    said = lab("quantize", *words("adaround"))
    notes = [line for line in said.err.splitlines() if line.startswith("note: ")]
    assert any("samples are trained on" in note for note in notes)
    assert len(set(notes)) == len(notes)
