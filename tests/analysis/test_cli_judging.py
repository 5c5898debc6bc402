"""The steps ``agreement`` and ``inspect``, memory limits and metrics that cannot be computed."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from analysis.models.network import build_network
from analysis.sensitivity.task import batch_limit
from tests.analysis.cli_studies import make_lab


def test_agreement_says_what_ranks_like_the_reference(lab):
    found = lab.json("agreement", "--metrics", "layer_mse,size_only", "--reference", "output_sqnr")
    assert found["metrics"] == ["layer_mse", "size_only"]
    assert found["reference"] == "output_sqnr"
    assert found["data"] == "evaluation"
    assert found["n"] == 30
    # Three layers are too few for a rank correlation to mean anything: said, not computed.
    assert {r["tau"] for r in found["rankings"]} == {None}
    assert all("layers" in r["reason"] for r in found["rankings"])
    assert found["verdict"]
    assert lab.json("agreement", "--metrics", "layer_mse,size_only", "--reference", "output_sqnr")[
        "cached"
    ]


def test_agreement_leaves_out_what_cannot_be_computed_and_says_so(lab):
    np.savez(
        lab.folder / "calibration.npz",
        x=np.random.default_rng(5).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8),
    )
    said = lab("agreement", "--metrics", "layer_mse,fisher_output", "--reference", "output_kl")
    assert said.status == 0, said.err
    assert "`fisher_output` is left out: it needs labels" in said.err
    said = lab("agreement", "--metrics", "fisher_output", "--reference", "output_kl")
    assert said.status == 1
    assert "every one was left out" in said.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--reference", "weight_mse"), "must be measured layer by layer"),
        (("--metrics", "layer_mso"), "did you mean `layer_mse`"),
        (("--reference", "output_lk"), "did you mean `output_kl`"),
        (("--budget", "weight=3"), "weight"),
    ],
)
def test_agreement_refuses_what_it_cannot_take(lab, words, hint):
    said = lab("agreement", "--metrics", "layer_mse", *words)
    assert said.status in (1, 2)
    assert hint in said.err
    assert "Traceback" not in said.err


def test_the_accuracy_of_allocations_is_compared_at_one_budget(lab):
    found = lab.json("agreement", "--metrics", "layer_mse,size_only,random", "--budget", "size=0.8")
    assert found["budget"] == {"size": 0.8}
    assert [m["metric"] for m in found["metrics"]] == ["layer_mse", "size_only", "random"]
    assert found["best"] in ("layer_mse", "size_only", "random")
    best = next(m for m in found["metrics"] if m["metric"] == found["best"])
    assert best["versus_best"]["difference"] == 0
    assert all(m["n"] == 30 and m["low"] <= m["top1"] <= m["high"] for m in found["metrics"])


def test_inspect_predicts_every_sample_with_both_networks(lab):
    found = lab.json("inspect", "--allocation", "uniform:w2a4")
    assert found["data"] == "calibration"
    assert found["n"] == 12
    flipped = [n for n in range(12) if found["float_class"][n] != found["quantized_class"][n]]
    assert found["flipped"] == flipped
    assert all((found["quantized_margin"][n] < 0) == (n in flipped) for n in range(12))
    assert min(found["float_margin"]) >= 0
    untouched = lab.json("inspect", "--allocation", "uniform:float", "--release-first-last")
    assert untouched["flipped"] == []
    assert untouched["float_margin"] == untouched["quantized_margin"]
    assert max(untouched["divergence"]) == pytest.approx(0, abs=1e-12)


def test_inspect_attributes_classes_to_pixels(lab):
    out = lab.folder / "maps.json"
    words = ("inspect", "--allocation", "uniform:w3a8", "--set", "evaluation", "--numbers", "4,0")
    found = lab.json(*words, "--attribution", "saliency", "--out", out)
    assert found["samples"] == [4, 0]
    assert np.array(found["float_maps"]).shape == (2, 8, 8)
    assert all(0 <= d <= 2 and math.isfinite(d) for d in found["drift"])
    assert json.loads(out.read_text())["method"] == "saliency"


def test_a_small_memory_makes_small_batches_and_the_same_scores(lab, tmp_path, monkeypatch):
    words = ("score", "--metric", "hessian_attention", "--candidates", "w4a8")
    usual = lab.json(*words)
    monkeypatch.setattr("analysis.workflow.scoring.batch_limit", lambda network, mib: 5 * mib)
    (tmp_path / "other").mkdir()
    other = make_lab(tmp_path / "other")
    said = other(*words, "--memory-mib", "1", "--json")
    assert "Batches hold 5 samples instead of 32" in said.err
    assert said.json["cached"] is False
    assert np.allclose(said.json["values"], usual["values"], rtol=1e-5)
    again = other(*words, "--memory-mib", "2", "--json")
    assert again.json["cached"] is True


@pytest.mark.parametrize("budget", [(), ("--budget", "size=0.9")])
def test_metrics_are_compared_within_the_memory_limit_too(lab, monkeypatch, budget):
    monkeypatch.setattr("analysis.workflow.scoring.batch_limit", lambda network, mib: 5 * mib)
    words = ("agreement", "--metrics", "layer_mse,size_only", "--candidates", "w2a8,w4a8,w8a8")
    said = lab(*words, *budget, "--memory-mib", "1")
    assert said.status == 0, said.err
    assert "layer_mse: Batches hold 5 samples instead of 64" in said.err


def test_the_limit_counts_activations_twice():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1024)).eval()
    network = build_network(model, torch.randn(2, 1, 2, 2))
    # Flatten gives 4 values, the layer 1,024, both with their gradients, 4 bytes each.
    assert batch_limit(network, 1) == 2**20 // (8 * 1028)
    assert batch_limit(network, 0) == 1
