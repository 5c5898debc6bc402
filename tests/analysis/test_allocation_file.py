import json

import pytest

from analysis.allocation_file import allocation_json, read_allocation, uniform_allocation
from analysis.errors import AnalysisError, QuantizationError
from analysis.records import Candidate
from tests.reference.allocation import make_table

TABLE = make_table([40, 30])


def test_what_is_written_is_read_back():
    allocation = uniform_allocation(TABLE, Candidate.parse("w3a8"), pin_first_last=False)
    text = allocation_json(allocation, study="made up", made_by={"metric": "none"})
    assert read_allocation(text, TABLE) == allocation


def test_short_forms_are_read_too():
    text = json.dumps({"allocation": {"layer0": "w4a8", "layer1": "float"}})
    assert [c.text for c in read_allocation(text, TABLE).candidates] == ["w4a8", "float"]


def test_a_layer_that_comes_twice_is_refused_not_taken_from_the_end():
    text = '{"allocation": {"layer0": "w4a8", "layer1": "w4a8", "layer0": "w2a8"}}'
    with pytest.raises(QuantizationError, match="`layer0` comes twice"):
        read_allocation(text, TABLE)


def test_layers_that_do_not_fit_are_named_and_what_fits_is_not_counted():
    text = json.dumps({"allocation": {"layer0": "w4a8"}})
    with pytest.raises(QuantizationError, match=r"once: 1 missing \(layer1\)\. Was it made"):
        read_allocation(text, TABLE)


@pytest.mark.parametrize(
    "entry",
    ["w" * 200_000, ["x" * 200_000], {"weight": "y" * 200_000, "activation": "int8"}],
    ids=["text", "list", "format"],
)
@pytest.mark.parametrize("name", ["layer0", "n" * 200_000])
def test_no_error_repeats_what_is_far_too_long(name, entry):
    text = json.dumps({"allocation": {name: entry, "layer1": "w4a8"}})
    with pytest.raises(AnalysisError) as refused:
        read_allocation(text, TABLE)
    assert len(str(refused.value)) < 600
