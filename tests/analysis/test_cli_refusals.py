"""What the command line refuses: exit status, one clear line, no traceback, nothing lost."""

import argparse
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from analysis.allocation import RESOURCES
from analysis.cli.session import Session
from analysis.cli.vocabulary import STEPS
from analysis.commands import RESERVED
from tests.analysis.cli_studies import MODEL, Lab, build, images, make_lab, say

NOT_BUILT = ("factorize",)
ALLOCATE = ("allocate", "--metric", "output_kl")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lab(tmp_path_factory.mktemp("lab"))


def refused(said, status: int, *parts: str) -> None:
    """One line that begins with ``error:`` and holds the parts, nothing on standard output."""
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert said.status == status, said.err
    assert said.out == ""
    assert len(lines) == 1
    assert said.err.splitlines()[-1] == lines[0]
    assert "Traceback" not in said.err
    for part in parts:
        assert part in lines[0]


# --- usage ---


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["A step must be named: study, layers"]),
        (["scor"], ["no step `scor`", "did you mean `score`"]),
        (["factorize"], ["no step `factorize`"]),
        (["score"], ["--metric", "score --help"]),
        (["score", "--metric", "hessian_atention"], ["did you mean `hessian_attention`"]),
        (["score", "--metric", "output_kl", "--probes", 3], ["no flag `--probes`"]),
        (["score", "--metric", "output_kl", "--batch-sze", 3], ["did you mean `--batch-size`"]),
        (["score", "--metric", "output_kl", "--batch-size", 0], ["[1, 4096], got 0"]),
        (["score", "--metric", "output_kl", "--batch-size", "x"], ["a whole number, got 'x'"]),
        (["score", "--metric", "output_kl", "--candidates", "w4"], ["look like `w4a8`"]),
        (["score", "--metric", "output_kl", "--candidates", "w9a8"], ["no format `int9`"]),
        (["score", "--metric", "output_kl", "--weight-range", "mze"], ["did you mean `mse`"]),
        (
            ["score", "--metric", "output_kl", "--activation-range", "hmse"],
            ["Ranges of activations", "`hmse`", "Choose one of min_max"],
        ),
        (["layers", "--sampels", 3], ["did you mean `--samples`"]),
        (["layers", "--samples", -1], ["at least 0, got '-1'"]),
        (["layers", "--device", "tpu"], ["--device", "tpu"]),
        (["layers", "--model", MODEL], ["must come with --calibration and --evaluation"]),
        (["layers", "--no-cache", "--cache-dir", "x"], ["exclude each other"]),
        (["allocate", "--metric", "output_kl", "--budget", "sise=1"], ["did you mean `size`"]),
        (["allocate", "--metric", "output_kl", "--budget", "size"], ["look like `size=0.6`"]),
        (
            ["allocate", "--metric", "output_kl", "--budget", "size=1", "--pin", "w8a8"],
            ["A pin must look like"],
        ),
        (
            [*ALLOCATE, "--budget", "size=0.5", "--budget", "size=0.6"],
            ["one budget, got size=0.5, size=0.6"],
        ),
        (
            [*ALLOCATE, "--budget", "size=1", "--pin", "fc=w4a8", "--pin", "fc=w8a8"],
            ["pinned to one candidate, `fc` is to several"],
        ),
        (
            [*ALLOCATE, "--budget", "size=1", "--pin", "fc=w4a8,w8a8"],
            ["pinned to one candidate, `fc` is to several"],
        ),
        (
            ["curve", "--metric", "output_kl", "--budget", "bops=1", "--budget", "bops=2"],
            ["one budget, got bops=1, bops=2"],
        ),
        (["score", "--metric", "output_kl", "--percentile", 200], ["[50, 100], got 200"]),
        (["score", "--metric", "output_kl", "--percentile", "nan"], ["[50, 100], got nan"]),
        (
            ["allocate", "--metric", "output_kl", "--budget", "size=1", "--solver", "mipl"],
            ["did you mean `milp`"],
        ),
        (["quantize", "--allocation", "uniform:4"], ["look like `w4a8`"]),
        (["quantize", "--allocation", "x", "--method", "neerest"], ["did you mean `nearest`"]),
        (
            ["export", "--allocation", "x", "--out", "x", "--format", "layer_csv"],
            ["did you mean `layers_csv`"],
        ),
        (["evaluate", "--allocation", "x", "--model-file", "y"], ["exclude each other"]),
        (["cache", "list"], ["list"]),
        (["cache", "clear", "--older-than", "7"], ["must look like `7d`"]),
        (["cache", "ls", "--older-than", "7d"], ["belongs to `cache clear`"]),
        (["distributions", "--format", "int9"], ["no format `int9`"]),
        (["initialization", "--inits", "he_norml"], ["did you mean `he_normal`"]),
        (["initialization", "--inits", "normal:0:-1"], ["normal:"]),
        (["initialization", "--architectures", "regulr"], ["did you mean `regular`"]),
        (["initialization", "--seeds", 0], ["at least 1"]),
        (["demo", "train", "--network", "digits-vt"], ["did you mean `digits-vit`"]),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(words, parts, tmp_path, monkeypatch):
    monkeypatch.setenv("BITLENS_CACHE", str(tmp_path / "store"))
    refused(say(*words), 2, *parts)


def test_help_lists_exactly_what_is_built():
    said = say("--help")
    assert said.status == 0
    for step in STEPS:
        assert f"    {step.name}" in said.out
    for name in NOT_BUILT:
        assert name not in said.out


@pytest.mark.parametrize("step", [step.name for step in STEPS])
def test_every_step_has_help(step):
    said = say(step, "--help")
    assert said.status == 0
    assert "--json" in said.out


def test_help_and_wrong_usage_load_nothing_heavy():
    code = (
        "import sys\n"
        "from analysis.cli import main\n"
        "print([main(words) for words in (['score', '--help'], ['scor'], ['score'],"
        " ['layers', '--sampels', '3'])])\n"
        "print([name for name in ('torch', 'numpy', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert done[-2:] == ["[0, 2, 2, 2]", "[]"]


def test_no_option_of_a_method_can_hide_a_flag_of_a_step():
    for step in STEPS:
        parser = argparse.ArgumentParser()
        step.fill(parser)
        flags = {flag[2:] for flag in parser._option_string_actions if flag.startswith("--")}
        assert flags <= RESERVED


@pytest.mark.parametrize("step", ["allocate", "pareto", "curve"])
def test_help_names_every_resource(step):
    text = " ".join(say(step, "--help").out.split())
    for resource in RESOURCES:
        assert resource in text


# --- input ---


@pytest.mark.parametrize(
    ("place", "part"),
    [("", "it is a folder"), ("nowhere/scores.json", "there is no folder")],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(
    lab, tmp_path, monkeypatch, place, part
):
    def compute(self, step):
        raise AssertionError("it computed first")

    monkeypatch.setattr(Session, "run", compute)
    refused(lab("score", "--metric", "layer_mse", "--out", tmp_path / place), 1, part)


def with_weights(lab: Lab, path: Path):
    return lab("evaluate", "--weights", path)


def state():
    return build().state_dict()


def missing(path: Path) -> None:
    del path


def truncated(path: Path) -> None:
    save_file(state(), path)
    path.write_bytes(path.read_bytes()[:-40])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_keys(path: Path) -> None:
    save_file({f"conv{name}": value for name, value in state().items()}, path)


def with_nan(path: Path) -> None:
    weights = state()
    weights["3.weight"][0, 0, 0, 0] = float("nan")
    save_file(weights, path)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (missing, "does not exist"),
        (truncated, "w.safetensors"),
        (empty, "is empty"),
        (other_keys, "conv0.weight"),
        (with_nan, "3.weight"),
    ],
)
def test_weights_that_do_not_do_are_refused(lab, tmp_path, make, part):
    make(tmp_path / "w.safetensors")
    refused(with_weights(lab, tmp_path / "w.safetensors"), 1, part)


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(lab, tmp_path, wrapped):
    content = {"state_dict": Harmful(tmp_path / "ran")}
    if wrapped:
        torch.save(content, tmp_path / "w.pth")
    else:
        (tmp_path / "w.pth").write_bytes(pickle.dumps(content))
    refused(with_weights(lab, tmp_path / "w.pth"), 1, "w.pth")
    assert not (tmp_path / "ran").exists()


def test_images_of_another_number_of_channels_are_refused(lab, tmp_path):
    for name, seed in (("a", 3), ("b", 4)):
        x = np.random.default_rng(seed).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / name, x=x, y=np.arange(6) % 3)
    words = ("--calibration", f"npz:{tmp_path / 'a.npz'}", "--evaluation", f"npz:{tmp_path}/b.npz")
    refused(lab("study", *words), 1, "3 channel(s)", "got 1")


def test_labels_beyond_the_classes_are_refused(lab, tmp_path):
    path = images(tmp_path / "e.npz", 6, seed=5, y=np.arange(6))
    refused(lab("study", "--evaluation", f"npz:{path}"), 1, "3 classes", "got 5")


def test_the_same_images_for_calibration_and_evaluation_are_refused(lab):
    same = f"npz:{lab.folder / 'calibration.npz'}"
    refused(lab("study", "--evaluation", same), 1, "must not all be calibration images")


def test_an_empty_folder_is_refused(lab, tmp_path):
    (tmp_path / "none").mkdir()
    refused(lab("study", "--evaluation", f"images:{tmp_path / 'none'}"), 1, "none")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--model", "demo:digits-resnett"], "did you mean `digits-resnet`"),
        (["--model", "tensorflow:x"], "`tensorflow:x`"),
        (["--model", "factory:no.such.module:build"], "no.such.module"),
        (["--calibration", "npz:/nowhere/x.npz"], "`x.npz`"),
        (["--calibration", "csv:x"], "`csv:x`"),
        (["--normalize", "a;b"], "got `a;b`"),
        (["--study", "/nowhere/study.toml"], "/nowhere/study.toml"),
    ],
)
def test_parts_of_a_study_that_are_not_there_are_refused(lab, words, part):
    refused(lab("study", *words), 1, part)


def test_a_study_file_with_a_wrong_key_is_refused(lab, tmp_path):
    (tmp_path / "s.toml").write_text('model = "demo:digits-vit"\ncalibrtion = "demo:digits"\n')
    refused(
        say("study", "--study", tmp_path / "s.toml", *lab.store), 1, "did you mean `calibration`"
    )


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "must be JSON"),
        ("[]", "the key `allocation` is missing"),
        ('{"allocation": {"0": "w4a8"}}', "2 missing (3, 7)"),
        ('{"allocation": {"0": "w4a8", "3": "w4a8", "7": "w9a8"}}', "no format `int9`"),
        ("[" * 100_000, "nested too deep"),
        ('{"schema": ' + "9" * 6000 + "}", "endless number"),
        ('{"schema": 9, "allocation": {}}', "schema 1, got `9`"),
    ],
)
def test_allocation_files_that_do_not_fit_are_refused(lab, tmp_path, content, part):
    (tmp_path / "a.json").write_text(content)
    refused(lab("quantize", "--allocation", tmp_path / "a.json"), 1, part)


def test_an_allocation_file_that_is_not_there_is_refused(lab, tmp_path):
    refused(lab("evaluate", "--allocation", tmp_path / "no.json"), 1, "No such file")
    refused(lab("evaluate", "--model-file", tmp_path / "no.safetensors"), 1, "No such file")


def test_a_float_weights_file_is_no_quantized_model(lab, tmp_path):
    save_file(state(), tmp_path / "w.safetensors")
    refused(lab("evaluate", "--model-file", tmp_path / "w.safetensors"), 1, "`--weights`")


def test_a_pin_of_no_layer_is_refused_with_the_layers(lab):
    words = ("--metric", "output_kl", "--candidates", "w4a8", "--budget", "size=1")
    refused(lab("allocate", *words, "--pin", "conv9=w8a8"), 1, "no layer `conv9`")


def test_an_infeasible_budget_ends_with_3_and_names_the_nearest(lab):
    words = ("--metric", "output_kl", "--candidates", "w4a8", "--budget", "size=0.01")
    refused(lab("allocate", *words), 3, "size must be at least")


def test_a_store_that_cannot_be_written_is_refused(lab, tmp_path):
    (tmp_path / "file").write_text("")
    said = say("evaluate", *lab.study, "--cache-dir", tmp_path / "file" / "store")
    refused(said, 1, "The store must be able to")


@pytest.mark.parametrize("place", ["folder", "no/such/folder/x.json"])
def test_an_output_that_cannot_be_written_is_refused_and_nothing_lost(lab, tmp_path, place):
    (tmp_path / "folder").mkdir()
    words = ("--metric", "output_kl", "--candidates", "w4a8")
    refused(lab("score", *words, "--out", tmp_path / place), 1, "must be writable")
    assert lab.json("score", *words)["cached"] is True


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_device_is_refused(lab):
    refused(lab("evaluate", "--device", "cuda"), 1, "must find a CUDA device")


def test_running_out_of_memory_is_said_in_one_line(lab, monkeypatch):
    def hungry(*_, **__):
        raise MemoryError

    monkeypatch.setattr("analysis.workspace.build_network", hungry)
    refused(lab("evaluate"), 1, "memory")


def test_a_fault_of_ours_is_not_hidden(lab, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("analysis.workflow.measuring.logits", broken)
    with pytest.raises(ZeroDivisionError):
        say("evaluate", *lab.study, "--no-cache")
