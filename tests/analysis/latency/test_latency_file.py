"""Latency tables as CSV: what is read, what is refused, and that nothing is lost on the way."""

import pytest

from analysis.errors import AllocationError
from analysis.latency.table_file import latency_csv, load_latency, read_latency
from analysis.records import Candidate, LatencyRow, LatencyTable

SHAPE = "conv2d:64x3x7x7:64x112x112"


def read(text):
    return read_latency(text, "`mine.csv`")


def test_columns_may_come_in_any_order_and_times_are_whole_nanoseconds():
    found = read("ms, candidate ,layer\n0.0015,w4a8,conv1\n1e-3,float,fc\n\n")
    assert found.rows == (
        LatencyRow(layer="conv1", shape="", candidate=Candidate.parse("w4a8"), ns=1500),
        LatencyRow(layer="fc", shape="", candidate=Candidate.parse("float"), ns=1000),
    )
    assert found.notes == ()
    assert (
        read("ms,candidate,layer\n0.1,w8a8,a\n").rows[0].ns == 100_000
    )  # a decimal, not 0.1 in binary


def test_a_shape_can_stand_for_a_layer_and_other_columns_are_named():
    found = read(f"shape,candidate,ms,device,ops\n{SHAPE},w8a8,2,phone,3\n")
    assert (found.rows[0].shape, found.rows[0].layer, found.rows[0].ns) == (SHAPE, "", 2_000_000)
    assert found.notes == ("Columns of `mine.csv` that are not read: device, ops.",)


def test_what_is_written_is_read_again():
    rows = tuple(
        LatencyRow(layer=layer, shape=shape, candidate=Candidate.parse(text), ns=ns, spread_ns=7)
        for layer, shape, text, ns in (
            ("a,b", SHAPE, "w8a8", 1),
            ("fc", "", "float", 123_456_789_012),
            ("", SHAPE, "w4a8", 0),
        )
    )
    table = LatencyTable(rows=rows, source="`mine.csv`")
    assert read(latency_csv(table)) == table


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "`mine.csv` has none"),
        ("layer,ms\na,1\n", "must have the columns `candidate`, `ms` and `layer` or `shape`"),
        ("candidate,ms\nw8a8,1\n", "has `candidate`, `ms`"),
        ("layer,layer,candidate,ms\na,a,w8a8,1\n", "each once"),
        ("layer,candidate,ms\n", "must have a row"),
        ("layer,candidate,ms\na,w8a8\n", "line 2 of `mine.csv` has 2"),
        ("layer,candidate,ms\na,w8a8,-1\n", "line 2 of `mine.csv` has `-1`"),
        ("layer,candidate,ms\na,w8a8,1\nb,w8a8,nan\n", "line 3 of `mine.csv` has `nan`"),
        ("layer,candidate,ms\na,w8a8,inf\n", "has `inf`"),
        ("layer,candidate,ms\na,w8a8,1e99\n", "from 0 to 1e"),
        ("layer,candidate,ms\na,w8a8,fast\n", "must be a number of milliseconds"),
        ("layer,candidate,ms\na,8bit,1\n", "In line 2 of `mine.csv`: A candidate must look like"),
        ("layer,candidate,ms\na,w9a8,1\n", "no format `int9`"),
        ("layer,candidate,ms\n,w8a8,1\n", "has neither"),
        ("shape,candidate,ms\n64x3x7x7,w8a8,1\n", "A shape must look like `conv2d:64x3x7x7"),
        ("layer,candidate,ms\na,w8a8,1\na,w8a8,2\n", "line 3 of `mine.csv` repeats w8a8 of `a`"),
        ('layer,candidate,ms\n"a,w8a8,1\n', "must be CSV"),
    ],
)
def test_what_is_no_latency_table_is_refused_with_its_place(text, said):
    with pytest.raises(AllocationError) as caught:
        read(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(AllocationError, match=r"must be a readable CSV file, got .*missing\.csv"):
        load_latency(tmp_path / "missing.csv")
    (tmp_path / "picture.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(AllocationError, match="it is no text"):
        load_latency(tmp_path / "picture.csv")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_text("layer,candidate,ms\na,w8a8,1\n", encoding="utf-8-sig")
    assert load_latency(path).source == "`excel.csv`"
