"""What backends keep of an allocation: laws over all of them, sizes and sentences by hand."""

from dataclasses import replace
from math import prod

import pytest

from analysis.errors import QuantizationError, UnknownNameError
from analysis.models.cost import BITS_PER_MIB, costs, size_bits
from analysis.quant.backends import BACKENDS
from analysis.quant.formats import FORMATS, bits_of
from analysis.quant.storage import sentences, stored_as
from analysis.records import FLOAT, Allocation, Candidate, LayerTable
from tests.reference.allocation import make_table

NAMES = [*FORMATS, FLOAT]
EVERY = [Candidate(weight, activation) for weight in NAMES for activation in NAMES]
# A depthwise and a plain convolution, two linear layers, a transposed convolution.
SHAPES = [
    ("conv2d", (6, 1, 3, 3)),
    ("conv2d", (8, 6, 1, 1)),
    ("linear", (5, 13)),
    ("linear", (4, 16)),
    ("conv_transpose2d", (3, 2, 2, 2)),
]


def shaped(kinds=SHAPES, others: int = 7) -> LayerTable:
    counts = [prod(shape) for _, shape in kinds]
    table = make_table(counts, others=others)
    pairs = zip(table.layers, kinds, strict=True)
    layers = tuple(replace(layer, kind=k, weight_shape=shape) for layer, (k, shape) in pairs)
    return replace(table, layers=layers)


TABLE = shaped()


def allocation(table: LayerTable, *texts: str) -> Allocation:
    found = tuple(Candidate.parse(text) for text in texts)
    return Allocation(layers=table.names, candidates=found * (len(table.layers) // len(found)))


def storage(backend: str, *texts: str, table: LayerTable = TABLE):
    return stored_as(table, allocation(table, *texts), backend)


def grid(stored: str) -> tuple[int, int]:
    """Integer limits, written out once more."""
    bits = int(stored.lstrip("uint"))
    return (0, 2**bits - 1) if stored[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@pytest.mark.parametrize("backend", BACKENDS.names())
def test_every_format_is_kept_whole_or_said_not_to_be(backend):
    for candidate, layer in ((c, x) for c in EVERY for x in storage(backend, c.text).layers):
        for kept, asked, signed in (
            (layer.weight, candidate.weight, True),
            (layer.activation, candidate.activation, False),
        ):
            assert kept.asked == asked
            assert (kept.reason == "") == (kept.how == "same")
            if kept.how == "float":
                assert kept.stored == "float32"
                assert asked != FLOAT
            elif kept.how in ("same", "wider") and asked != FLOAT:
                assert (kept.how == "same") == (kept.bits == bits_of(asked))
                (low, high), (least, most) = grid(kept.stored), FORMATS[asked].grid(signed)
                assert high - low >= most - least
                assert not signed or low <= least < most <= high
                assert high - low + 1 == 2**kept.bits


@pytest.mark.parametrize("backend", BACKENDS.names())
@pytest.mark.parametrize("text", ["w2a8", "w3a3", "w8a8", "w16a16", "float"])
def test_sizes_are_those_of_the_integers_with_whole_bytes(backend, text):
    found = storage(backend, text)
    assert (
        found.asked_mib
        == size_bits(TABLE, [bits_of(Candidate.parse(text).weight)] * 5) / BITS_PER_MIB
    )
    assert found.stored_mib >= found.asked_mib
    stored = [layer.weight.bits for layer in found.layers]
    slack = found.stored_mib * BITS_PER_MIB - size_bits(TABLE, stored)
    rows = sum(layer.weight_shape[0] for layer in TABLE.layers)
    assert 0 <= slack < (32 * rows if backend == "compressed_tensors" else 8 * len(TABLE.layers))


@pytest.mark.parametrize("backend", BACKENDS.names())
def test_float_stays_as_it_is_and_costs_what_the_costs_say(backend):
    found = storage(backend, "float")
    assert found.changed == ()
    assert found.asked_mib == found.stored_mib == costs(TABLE, [32] * 5, [32] * 5).size_mib
    (sentence,) = sentences(found)
    assert sentence == f"{BACKENDS[backend].title} keeps every format of this allocation as it is."


def test_onnx_widens_to_the_next_integer_that_the_opset_has():
    asked = ["w2a2", "w3a3", "w5a5", "w7a7", "w16a16"]
    table = {name: storage(name, *asked).layers for name in ("onnx", "onnx_25", "openvino")}
    assert [layer.weight.stored for layer in table["onnx"]] == [
        "int4",
        "int4",
        "int8",
        "int8",
        "int16",
    ]
    assert [layer.weight.stored for layer in table["onnx_25"]][:2] == ["int2", "int4"]
    assert [x.activation.stored for x in table["openvino"]] == [
        "uint4",
        "uint4",
        "uint8",
        "uint8",
        "uint16",
    ]
    assert [layer.weight for layer in table["openvino"]][2].how == "wider"


def test_a_weight_of_an_odd_count_fills_its_last_byte():
    layer = storage("onnx", "w4a8").layers[2]
    assert (layer.asked_bits, layer.stored_bits) == (65 * 4, 66 * 4)


def test_rows_of_compressed_tensors_fill_words_of_32_bits():
    linear = storage("compressed_tensors", "w3a8").layers[2]
    assert linear.weight.how == "same"
    assert linear.stored_bits == 5 * 64  # 13 codes of 3 bits are 39 bits
    assert storage("compressed_tensors", "w16a8").layers[2].stored_bits == 65 * 16


def test_linear_layers_alone_are_kept_by_the_torch_formats():
    for name in ("compressed_tensors", "torchao"):
        found = storage(name, "w4a8").layers
        assert [layer.weight.how == "float" for layer in found] == [True, True, False, False, True]
    assert storage("torchao", "w16a8").layers[2].weight.how == "float"
    assert storage("torchao", "w4a8").layers[2].activation.stored == "float32"
    assert storage("compressed_tensors", "w4a8").layers[2].activation.how == "same"


@pytest.mark.parametrize(
    ("text", "weights", "activation"),
    [
        ("w2a8", ["int4", "int4", "int2", "int2", "float32"], "int8"),
        ("w4a8", ["int4", "int4", "int4", "int4", "float32"], "int8"),
        ("w4a16", ["int8", "int4", "int4", "int4", "float32"], "int16"),
        ("w4afloat", ["int8", "int4", "int4", "int4", "float32"], "int8"),
        ("w16a16", ["float32", "float32", "int16", "int16", "float32"], "int16"),
        ("w16a8", ["float32", "float32", "float32", "float32", "float32"], "int8"),
        ("wfloata5", ["float32", "float32", "float32", "float32", "float32"], "int8"),
    ],
)
def test_litert_reads_what_its_kernels_were_seen_to_read(text, weights, activation):
    found = storage("litert", text).layers
    assert [layer.weight.stored for layer in found] == weights
    assert {layer.activation.stored for layer in found[:4]} == {activation}


def test_litert_takes_steps_from_float_and_from_16_bits():
    assert storage("litert", "w8afloat").layers[1].activation.how == "coarser"
    assert storage("litert", "w8a16").layers[1].activation.how == "coarser"
    assert storage("litert", "w16afloat").layers[1].activation.how == "same"  # weights stay float


def test_one_sentence_says_what_each_widening_costs():
    mib = 2**20
    table = make_table([mib, mib, 2 * mib, mib], others=mib // 4)
    found = sentences(storage("onnx", "w5a8", "w7a8", "w3a8", "w8a6", table=table))
    assert found == (
        "2 layers of 5 to 7 bits take 8 bits each in ONNX QDQ (opset 21): 2 MiB of weights instead "
        "of 1.5.",
        "1 layer of 3 bits takes 4 bits in ONNX QDQ (opset 21): 1 MiB of weights instead of 0.75.",
        "1 layer reads activations of 6 bits, which become uint8 in ONNX QDQ (opset 21): opset 21 "
        "has integers of 4, 8 and 16 bits; a Clip before QuantizeLinear must hold the range that "
        "was asked for.",
        "All parameters take 5 MiB there instead of 4.25, scales not counted.",
    )


def test_what_stays_float_is_said_with_its_reason():
    first, second, _, last = sentences(storage("torchao", "w4a8"))
    assert first.startswith("3 layers of 4 bits keep float weights in torchao")
    assert "one scale per output channel" in first
    assert second.startswith("2 layers of 4 bits take 8 bits each")
    assert last.startswith("All parameters take")


def test_padding_alone_is_said_as_a_size():
    table = shaped([("linear", (5, 13))])
    first, second = sentences(storage("compressed_tensors", "w3a8", table=table))
    assert first.endswith("keeps every format of this allocation as it is.")
    assert second.startswith("All parameters take")


def test_the_order_of_the_allocation_does_not_matter():
    plain = allocation(TABLE, "w2a8", "w3a8", "w4a8", "w5a8", "w6a8")
    turned = Allocation(layers=plain.layers[::-1], candidates=plain.candidates[::-1])
    assert stored_as(TABLE, turned, "onnx") == stored_as(TABLE, plain, "onnx")


def test_a_backend_that_was_not_run_is_unknown():
    with pytest.raises(UnknownNameError, match="no backend `tensorrt`"):
        storage("tensorrt", "w8a8")
    with pytest.raises(UnknownNameError, match="did you mean `onnx`"):
        storage("onx", "w8a8")


def test_an_allocation_of_another_model_is_refused():
    other = Allocation(layers=("a", "b"), candidates=(Candidate.parse("w4a8"),) * 2)
    with pytest.raises(QuantizationError, match="got 2 names for 5 layers"):
        stored_as(TABLE, other, "onnx")


def test_every_backend_says_on_what_it_was_run():
    for backend in BACKENDS:
        assert backend.reference.startswith("run with ")
