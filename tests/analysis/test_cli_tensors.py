"""The steps ``distributions`` and ``initialization``, and recalibrations of other steps."""

import numpy as np
import pytest

from analysis.errors import QuantizationError
from analysis.records.distributions import ROLES, STATISTICS
from tests.analysis.cli_studies import build, say


def test_distributions_of_every_layer_and_role_come_as_one_json_object(lab):
    found = lab.json("distributions")
    assert [layer["name"] for layer in found["layers"]] == ["0", "3", "7"]
    assert (found["network"], found["n"], found["cached"]) == ("float", 12, False)
    for layer in found["layers"]:
        assert set(layer) == {"name", *ROLES}
        weight = layer["weight"]
        assert set(STATISTICS) < set(weight)
        assert sum(weight["histogram"]["counts"]) == weight["count"]
        assert len(weight["channels"]["low"]) == {"0": 6, "3": 8, "7": 3}[layer["name"]]
        assert 0 < weight["average_channel_precision"] <= 1
        assert 0 <= weight["clipped"] < 0.5
        assert 0 <= layer["input"]["clipped"] < 0.5
        assert layer["pre_activation"]["clipped"] is None
    last = build()[7].weight.detach().numpy()
    assert found["layers"][2]["weight"]["low"] == pytest.approx(last.min())
    assert "network's" in found["layers"][2]["post_activation"]["reason"]
    assert lab.json("distributions")["cached"]


def test_one_layer_comes_with_every_range(lab):
    found = lab.json("distributions", "--layer", "3", "--format", "int4")
    assert [layer["name"] for layer in found["layers"]] == ["3"]
    weight, read = found["ranges"]
    assert (weight["format"], weight["per_channel"], read["per_channel"]) == ("int4", True, False)
    names = [each["estimator"] for each in weight["estimators"]]
    assert names[:4] == ["min_max", "percentile", "mse", "entropy"]
    errors = {e["estimator"]: e["rounding"] + e["clipping"] for e in weight["estimators"]}
    assert errors["mse"] <= errors["min_max"]
    text = lab("distributions", "--layer", "3").out
    assert "optimal for a Gaussian" in text


def test_a_layer_that_is_not_there_is_named_with_its_nearest(lab):
    said = lab("distributions", "--layer", "4")
    assert said.status == 1
    assert "`4`" in said.err


def test_what_a_quantized_network_holds_lies_on_its_grid(lab):
    plain = lab.json("distributions", "--layer", "3")
    found = lab.json("distributions", "--layer", "3", "--allocation", "uniform:w2a8")
    assert found["network"] == "quantized"
    assert found["ranges"] is None
    held = np.count_nonzero(found["layers"][0]["weight"]["histogram"]["counts"])
    assert held < np.count_nonzero(plain["layers"][0]["weight"]["histogram"]["counts"])


def test_a_recalibration_changes_distributions_and_what_is_measured(lab):
    plain, equalized = (
        lab.json("distributions", "--layer", "3", *more)
        for more in ((), ("--recalibrate", "equalization"))
    )
    assert equalized["network"] == "float after equalization"
    assert any("`7`" in note or "pairs" in note for note in equalized["notes"])
    assert equalized["layers"][0]["weight"]["high"] != plain["layers"][0]["weight"]["high"]
    words = ("quantize", "--allocation", "uniform:w4a8", "--per-tensor")
    before = lab.json(*words)
    after = lab.json(*words, "--recalibrate", "equalization", "--method", "bias_correction")
    assert (before["recalibrations"], after["recalibrations"]) == ([], ["equalization"])
    assert after["name"].endswith("equalization + bias_correction")
    assert after["measured"]["kl"] != before["measured"]["kl"]
    float_again = lab.json(
        "quantize", "--allocation", "uniform:float", "--release-first-last",
        "--recalibrate", "equalization",
    )  # fmt: skip
    # Equalization preserves the float function.
    assert float_again["measured"]["kl"] == pytest.approx(0, abs=1e-8)


def test_a_recalibrated_quantized_network_is_read_back_from_its_file(lab):
    path = lab.folder / "model.safetensors"
    made = lab.json(
        "quantize", "--allocation", "uniform:w4a8", "--per-tensor", "--out-model", path,
        "--recalibrate", "equalization,absorption", "--method", "bias_correction",
    )  # fmt: skip
    again = lab.json("evaluate", "--model-file", path)
    assert again["kl"] == pytest.approx(made["measured"]["kl"], rel=1e-9)
    assert again["top1"] == made["measured"]["top1"]


def test_bounds_of_activations_cannot_be_written_to_a_file(lab):
    said = lab(
        "quantize", "--allocation", "uniform:w4a8", "--recalibrate", "bounded_relu",
        "--out-model", lab.folder / "model.safetensors",
    )  # fmt: skip
    assert said.status == 1
    assert "bounds of activations" in said.err
    assert "Leave out what bounds" in said.err


@pytest.mark.parametrize("step", ["distributions", "quantize", "inspect"])
def test_an_unknown_recalibration_is_wrong_usage(lab, step):
    words = () if step == "distributions" else ("--allocation", "uniform:w4a8")
    said = lab(step, *words, "--recalibrate", "equalisation")
    assert said.status == 2
    assert "equalization" in said.err


def test_options_of_a_recalibration_stand_behind_its_name(lab):
    words = ("quantize", "--allocation", "uniform:w4a8", "--recalibrate")
    default = lab.json(*words, "bounded_relu:percent=99.99")
    lower = lab.json(*words, "bounded_relu:percent=60")
    assert default["recalibrations"] == ["bounded_relu"]
    assert default["name"].endswith(", bounded_relu + nearest")
    assert lower["recalibrations"] == ["bounded_relu:percent=60"]
    assert lower["name"].endswith(", bounded_relu:percent=60 + nearest")
    assert lower["measured"]["kl"] > default["measured"]["kl"]
    assert lab.json(*words, "bounded_relu:bound=percentile:percent=60.0")["cached"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("absorption:paddin=mean", "`padding`"),
        ("absorption:padding=middle", "interior"),
        ("absorption:padding", "option=value"),
    ],
)
def test_a_wrong_option_of_a_recalibration_is_wrong_usage(lab, text, said):
    found = lab("quantize", "--allocation", "uniform:w4a8", "--recalibrate", text)
    assert found.status == 2
    assert said in found.err


def test_recalibrations_list_their_options_as_they_are_written():
    text = say("recalibrations").out
    assert "absorption:padding=…" in text
    assert "--padding" not in text


def test_configurations_without_a_name_take_over_no_other_one(lab):
    words = ("quantize", "--allocation", "uniform:w4a8", "--release-first-last")
    plain = lab.json(*words)
    per_tensor = lab.json(*words, "--per-tensor")
    assert plain["name"] == "uniform w4a8, nearest"
    assert per_tensor["name"] == "uniform w4a8, per tensor, nearest"
    lab.json(
        *words, "--weight-range", "min_max", "--name", "uniform w4a8, scope layer_input, nearest"
    )
    taken = lab.json(*words, "--scope", "layer_input")
    assert taken["name"] == "uniform w4a8, scope layer_input, nearest (2)"
    assert lab.json(*words)["name"] == "uniform w4a8, nearest"
    analytic = lab.json(*words, "--method", "bias_correction", "--estimate", "analytic")
    assert analytic["name"] == "uniform w4a8, bias_correction:estimate=analytic"
    assert any("corrected" in note for note in analytic["notes"])


def test_a_network_that_gives_nan_is_described_but_for_what_holds_it(lab, monkeypatch):
    def broken(*_, **__):
        raise QuantizationError("Activations must be finite, `sqrt` gave NaN.")
        yield

    monkeypatch.setattr("analysis.workflow.quantized", broken)
    found = lab("distributions")
    assert found.status == 0
    assert "clipped shares are not known: Activations must be finite" in found.out
    assert "ACP" in found.out
    told = lab.json("distributions")
    assert told["layers"][0]["weight"]["clipped"] is None
    assert "finite" in told["clipped_unknown"]


def test_recalibrations_are_listed():
    found = say("recalibrations", "--json").json
    names = [each["name"] for each in found["recalibrations"]]
    assert {"equalization", "absorption", "bounded_relu"} <= set(names)


def test_the_layers_step_says_how_layers_hang_together(lab):
    layers = lab.json("layers")["layers"]
    assert [layer.get("reads") for layer in layers[:3]] == [[], ["0"], ["3"]]
    assert [layer.get("block") for layer in layers[:3]] == sorted(
        layer.get("block") for layer in layers[:3]
    )
