"""Every step of the command line on a small study: what it prints, writes and keeps."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.export import EXPORTERS, Check, Exported
from analysis.ptq import PTQ_METHODS
from analysis.sensitivity import METRICS
from tests.analysis.cli_studies import Lab, make_lab, say

LAYERS = ["0", "3", "7"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def fresh(tmp_path):
    return make_lab(tmp_path)


def allocated(lab: Lab) -> Path:
    path = lab.folder / "allocation.json"
    said = lab("allocate", "--metric", "output_kl", "--budget", "size=0.8", "--out", path)
    assert said.status == 0, said.err
    return path


# --- study and layers ---


def test_study_says_what_was_loaded(lab):
    found = lab.json("study")
    assert found["classes"] == 3
    assert found["model"].startswith("factory:tests.analysis.cli_studies:build")
    assert len(found["weights_digest"]) == 64
    assert found["calibration"]["n"] == 12
    assert found["evaluation"]["n"] == 30
    assert found["calibration"]["digest"] != found["evaluation"]["digest"]
    assert found["path"] is None


def test_a_written_study_file_means_the_same_from_any_folder(lab, tmp_path, monkeypatch):
    written = lab.json("study", "--samples", 5, "--name", "mine", "--out", tmp_path / "s.toml")
    assert written["path"] == str(tmp_path / "s.toml")
    monkeypatch.chdir(tmp_path)
    read = say("study", "--study", "s.toml", "--json", *lab.store).json
    assert read | {"path": None} == written | {"path": None}
    assert read["calibration"]["n"] == 5


def test_relative_paths_of_a_study_file_start_at_its_folder(lab, monkeypatch, tmp_path):
    (lab.folder / "s.toml").write_text(
        'model = "factory:tests.analysis.cli_studies:build"\n'
        'calibration = "npz:calibration.npz"\nevaluation = "npz:evaluation.npz"\n'
    )
    monkeypatch.chdir(tmp_path)
    # The second step opens the study from the record that the first one stored.
    for step in ("study", "evaluate"):
        said = say(step, "--study", lab.folder / "s.toml", "--json", *lab.store)
        assert said.status == 0, said.err


def test_parts_override_a_study_file(lab, tmp_path):
    lab.json("study", "--out", tmp_path / "s.toml")
    found = say("study", "--study", tmp_path / "s.toml", "--samples", 4, "--json", *lab.store).json
    assert (found["calibration"]["n"], found["evaluation"]["n"]) == (4, 30)


def test_layers_add_up_to_the_totals(lab):
    found = lab.json("layers")
    layers = [layer for layer in found["layers"] if layer["skipped_reason"] is None]
    assert [layer["name"] for layer in layers] == LAYERS
    assert [layer["weight_shape"] for layer in layers] == [[6, 3, 3, 3], [8, 6, 3, 3], [3, 8]]
    assert [layer["pinned"] for layer in layers] == [True, False, True]
    # Weights 162, 432, 24; outputs 6 x 6 and 4 x 4 pixels; BatchNorm leaves six biases.
    assert [layer["params"] for layer in layers] == [162 + 6, 432 + 8, 24 + 3]
    assert [layer["macs"] for layer in layers] == [162 * 36, 432 * 16, 24]
    totals = found["totals"]
    assert totals["params"] == 168 + 440 + 27
    assert totals["params_before_folding"] == 168 + 12 + 440 + 27
    assert totals["macs"] == 162 * 36 + 432 * 16 + 24
    assert totals["bops"] == 32 * 32 * totals["macs"]
    assert totals["size_mib"] == pytest.approx(4 * totals["params"] / 2**20)


# --- score and allocate ---


def test_attention_scores_layers_alone_without_candidates(lab):
    found = lab.json("score", "--metric", "hessian_attention")
    assert found["candidates"] is None
    assert found["layers"] == LAYERS
    assert np.shape(found["values"]) == np.shape(found["stderr"]) == (3,)
    assert np.shape(found["per_sample"]) == (12, 3)
    assert np.mean(found["per_sample"], axis=0) == pytest.approx(found["values"])
    assert found["exact"] is True
    assert found["passes"] == {"forward": 1, "backward": 3}


def test_a_metric_of_candidates_takes_the_usual_ones(lab):
    found = lab.json("score", "--metric", "output_kl")
    assert found["candidates"] == ["w2a8", "w3a8", "w4a8", "w6a8", "w8a8"]
    assert np.shape(found["values"]) == (3, 5)
    assert found["unit"] == "nats"


def test_a_second_call_reads_the_stored_scores(fresh):
    words = ("score", "--metric", "output_kl", "--candidates", "w4a8,w8a8")
    first, second = fresh.json(*words), fresh.json(*words)
    assert (first.pop("cached"), second.pop("cached")) == (False, True)
    assert first == second


def test_options_of_the_metric_are_flags(lab):
    few = lab.json("score", "--metric", "hessian_attention", "--probes", 2, "--metric-seed", "5")
    assert few["exact"] is False
    assert few["passes"]["backward"] == 2


def test_allocate_keeps_its_budgets_and_proves_it(lab):
    words = ("--metric", "output_kl", "--budget", "size=0.8", "--budget", "avg_bits=5.5")
    found = lab.json("allocate", *words)
    assert list(found["allocation"]) == LAYERS
    assert found["allocation"]["0"] == found["allocation"]["7"] == "w8a8"
    assert found["status"] == "optimal"
    assert found["lower_bound"] <= found["objective"]
    assert [b["resource"] for b in found["budgets"]] == ["size", "avg_bits"]
    for budget in found["budgets"]:
        assert budget["slack"] == budget["limit"] - budget["used"] >= 0


def test_pins_are_heard_and_the_ends_can_be_released(lab):
    words = ("--metric", "output_kl", "--budget", "size=1", "--candidates", "w2a8,w4a8")
    pinned = lab.json("allocate", *words, "--pin", "3=w8a8", "--pin", "7=w6a8")["allocation"]
    assert pinned == {"0": "w8a8", "3": "w8a8", "7": "w6a8"}
    released = lab.json("allocate", *words, "--release-first-last")["allocation"]
    assert set(released.values()) <= {"w2a8", "w4a8"}


def test_the_allocation_file_says_how_it_was_made(lab):
    content = json.loads(allocated(lab).read_text())
    assert content["schema"] == 1
    assert content["allocation"]["0"] == {"weight": "int8", "activation": "int8"}
    assert content["made_by"]["metric"] == "output_kl"
    assert content["made_by"]["budgets"][0]["limit"] == 0.8


# --- quantize and evaluate ---

MEASURED = {"n", "top1", "low", "high", "loss", "versus_float", "seconds"}


def test_the_float_network_is_measured(lab):
    found = lab.json("evaluate")
    assert found.keys() >= MEASURED
    assert found["n"] == 30
    assert found["low"] <= found["top1"] <= found["high"]
    assert found["versus_float"] is None


def test_quantize_measures_and_writes_the_record(lab, tmp_path):
    path = allocated(lab)
    found = lab.json("quantize", "--allocation", path, "--name", "a", "--out", tmp_path / "c.json")
    assert found["method"] == "nearest"
    assert found["name"] == "a"
    assert found["allocation"].keys() == set(LAYERS)
    assert found["measured"].keys() >= MEASURED
    assert found["measured"]["versus_float"].keys() >= {"difference", "low", "high", "agreement"}
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["measured"]["top1"] == found["measured"]["top1"]
    assert len(record["ranges"]) == 6
    assert record["schema"] == 3


def test_evaluating_an_allocation_is_rounding_it_to_nearest(lab):
    path = allocated(lab)
    quantized = lab.json("quantize", "--allocation", path)["measured"]
    evaluated = lab.json("evaluate", "--allocation", path)
    assert {n: v for n, v in evaluated.items() if n != "cached"} == quantized


@pytest.mark.parametrize("words", [(), ("--per-tensor", "--scope", "layer_input")])
def test_a_model_file_measures_what_the_quantization_measured(lab, tmp_path, words):
    file = tmp_path / "m.safetensors"
    made = lab.json("quantize", "--allocation", "uniform:w3a4", "--out-model", file, *words)
    again = lab.json("evaluate", "--model-file", file)
    assert made["measured"] | {"seconds": 0} == {
        n: v for n, v in (again | {"seconds": 0}).items() if n != "cached"
    }


def test_a_model_file_of_another_model_is_refused(lab, tmp_path):
    file = tmp_path / "m.safetensors"
    lab.json("quantize", "--allocation", "uniform:w4a8", "--out-model", file)
    said = say("evaluate", "--model-file", file, *lab.store, "--evaluation-samples", 20)
    assert said.status == 1
    assert "must have been made for this model" in said.err


def test_a_uniform_allocation_holds_the_ends_unless_released(lab):
    held = lab.json("quantize", "--allocation", "uniform:w4a8")["allocation"]
    assert held == {"0": "w8a8", "3": "w4a8", "7": "w8a8"}
    words = ("--allocation", "uniform:w4a8", "--release-first-last")
    assert set(lab.json("quantize", *words)["allocation"].values()) == {"w4a8"}


def test_what_cannot_be_measured_is_null(fresh):
    x = np.random.default_rng(3).integers(0, 256, (8, 3, 8, 8), dtype=np.uint8)
    np.savez(fresh.folder / "evaluation.npz", x=x)
    found = fresh.json("quantize", "--allocation", "uniform:w8a8")["measured"]
    assert found["top1"] is found["low"] is found["loss"] is None
    assert found["versus_float"]["agreement"] <= 1
    assert "not measured (no labels, n = 8)" in fresh("evaluate").out


# --- export ---


def test_export_writes_checked_files(lab, tmp_path):
    path = allocated(lab)
    lab.json("quantize", "--allocation", path)
    found = lab.json(
        "export", "--allocation", path, "--format", "allocation_json", "--out", tmp_path / "x.json"
    )
    assert found["format"] == "allocation_json"
    assert found["files"] == [
        {"path": str(tmp_path / "x.json"), "bytes": (tmp_path / "x.json").stat().st_size}
    ]
    assert all(check["passed"] for check in found["checks"])
    content = json.loads((tmp_path / "x.json").read_text())
    assert content["made_by"]["solver"] == "milp"
    assert content["made_by"]["measured"]["n"] == 30
    # What was exported is an allocation file again.
    again = lab.json("evaluate", "--allocation", tmp_path / "x.json")
    assert again["n"] == 30


def test_an_export_into_a_folder_keeps_its_own_name(lab, tmp_path):
    words = ("--allocation", allocated(lab), "--format", "layers_csv")
    lab.json("export", *words, "--out", tmp_path)
    rows = list(csv.DictReader((tmp_path / "layers.csv").open()))
    assert [row["layer"] for row in rows] == LAYERS
    assert all(math.isfinite(float(row["score"])) for row in rows)


def test_an_export_that_fails_its_check_writes_nothing(lab, tmp_path, monkeypatch):
    def failing(task, options):
        return Exported({"a": b"x"}, (Check("read back", False, "2 of 3"),))

    changed = EXPORTERS["layers_csv"]
    monkeypatch.setitem(
        EXPORTERS._methods, "layers_csv", type(changed)(*_fields(changed, function=failing))
    )
    said = lab(
        "export", "--allocation", "uniform:w4a8", "--format", "layers_csv", "--out", tmp_path
    )
    assert said.status == 1
    assert "`read back` (2 of 3)" in said.err
    assert not (tmp_path / "layers.csv").exists()


def _fields(method, **changed):
    return [changed.get(n, getattr(method, n)) for n in type(method).__dataclass_fields__]


# --- registries ---


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("metrics", METRICS.names()),
        ("solvers", ("milp", "uniform")),
        ("methods", PTQ_METHODS.names()),
        ("exporters", EXPORTERS.names()),
    ],
)
def test_registries_describe_themselves(step, names):
    found = say(step, "--json").json[step]
    assert {entry["name"] for entry in found} >= set(names)
    for entry in found:
        assert entry.keys() >= {"name", "title", "needs", "options", "reference"}
        for option in entry["options"]:
            assert option.keys() >= {"name", "low", "high", "default", "help"}
    shown = say(step).out
    assert all(name in shown for name in names)


def test_flags_are_listed_with_range_and_default():
    assert "--metric-seed" in say("metrics").out
    assert "[0.1 to 3600; default 30.0]" in say("solvers").out


# --- what people see ---


def test_numbers_come_with_units_counts_and_intervals(lab):
    said = lab("quantize", "--allocation", "uniform:w8a8")
    assert " %" in said.out
    assert "n = 30" in said.out
    assert "MiB" in said.out
    assert "versus float:" in said.out
    scores = lab("score", "--metric", "output_kl").out
    assert "nats" in scores
    assert "n = 12" in scores
    assert "3 layers" in lab("layers").out
    assert "optimal" in lab("allocate", "--metric", "output_kl", "--budget", "size=0.8").out
    assert "3 classes" in lab("study").out


def test_the_embedded_demo_is_the_study_when_none_is_named(tmp_path):
    said = say("evaluate", "--json", "--cache-dir", tmp_path, "--samples", 2)
    assert said.json["n"] == 597
    assert said.json["top1"] > 0.98


def test_demo_train_writes_weights(tmp_path):
    words = ("--network", "digits-vit", "--epochs", 1, "--out", tmp_path)
    found = say("demo", "train", *words, "--json").json["trained"]
    assert [t["name"] for t in found] == ["digits-vit"]
    assert (tmp_path / "digits-vit.safetensors").stat().st_size < 500_000


@pytest.mark.shared_data
def test_resnet20_is_measured_as_published(shared_data, tmp_path):
    words = [
        *("--model", "factory:tests.reference.cifar_resnet20:build"),
        *("--weights", shared_data / "weights" / "cifar10_resnet20.th"),
        *("--calibration", f"npz:{shared_data / 'cifar10' / 'train_3805.npz'}"),
        *("--evaluation", f"npz:{shared_data / 'cifar10' / 'test_761.npz'}"),
        *("--normalize", "imagenet", "--samples", 64, "--cache-dir", tmp_path, "--json"),
    ]
    layers = say("layers", *words).json
    assert layers["totals"]["layers"] == 20
    assert layers["totals"]["params_before_folding"] == 269_722
    assert layers["totals"]["params"] == 269_034
    found = say("evaluate", *words).json
    assert round(found["top1"] * found["n"]) == 698
    quantized = say("quantize", "--allocation", "uniform:w8a8", *words).json["measured"]
    assert abs(quantized["versus_float"]["difference"]) <= 0.005


def test_it_runs_as_a_module(lab):
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "study", *lab.study, *lab.store, "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["classes"] == 3


def test_a_recalibration_as_the_method_is_rounding_to_nearest_behind_it(lab):
    words = ("quantize", "--allocation", "uniform:w4a8")
    named = lab.json(*words, "--method", "equalization")
    flag = lab.json(*words, "--recalibrate", "equalization")
    assert named["recalibrations"] == ["equalization"]
    assert named["measured"]["kl"] == flag["measured"]["kl"]
    both = lab.json(*words, "--method", "equalization", "--recalibrate", "absorption")
    assert both["recalibrations"] == ["equalization", "absorption"]


def test_the_trace_is_what_a_training_logged(lab):
    words = ("quantize", "--release-first-last", "--allocation", "uniform:w3a8")
    assert lab.json(*words)["trace"] == []
    trace = lab.json(*words, "--method", "eptq", "--steps", 5)["trace"]
    assert [row["step"] for row in trace] == [1, 2, 3, 4, 5]
    assert trace[-1]["undecided"] == 0.0
    units = lab.json(*words, "--method", "adaround", "--iterations", 3)["trace"]
    assert len(units) == 3
