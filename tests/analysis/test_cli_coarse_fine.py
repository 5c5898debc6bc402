"""Weights in two parts on the command line: measured, written, read again, held against a tool."""

from safetensors import safe_open

WORDS = ("--allocation", "uniform:w4a8", "--method", "coarse_fine", "--split", "always")


def test_a_file_of_split_weights_measures_what_the_quantization_measured(lab, tmp_path):
    file = tmp_path / "m.safetensors"
    made = lab.json("quantize", *WORDS, "--per-tensor", "--out-model", file)
    with safe_open(file, framework="pt") as opened:
        names = [n for n in opened.keys() if n.startswith("coarse.")]  # noqa: SIM118
    assert {n.split(".")[1] for n in names} == {"0", "3"}
    again = lab.json("evaluate", "--model-file", file)
    assert made["measured"] | {"seconds": 0} == {
        n: v for n, v in (again | {"seconds": 0}).items() if n != "cached"
    }
    plain = lab.json("quantize", "--allocation", "uniform:w4a8", "--per-tensor")
    assert made["costs"]["size_mib"] > plain["costs"]["size_mib"]
    assert made["measured"]["kl"] != plain["measured"]["kl"]


def test_what_a_tool_keeps_of_the_allocation_is_not_said_of_two_parts(lab):
    backend = ("--backend", "onnx")
    split = lab.json("quantize", *WORDS, *backend)["storage"]["sentences"]
    plain = lab.json("quantize", "--allocation", "uniform:w4a8", *backend)["storage"]["sentences"]
    assert split[:-1] == plain
    assert "2 weights are in two parts" in split[-1]
