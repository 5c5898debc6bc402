"""What the assignment page says of formats that a backend stores in another way."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog
from analysis.allocation_file import uniform_allocation
from analysis.quant.backends import BACKENDS
from analysis.quant.storage import sentences, stored_as
from analysis.records import Allocation, Candidate, LayerTable, Study
from pages.ui import resources
from pages.ui.session import Key

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


@pytest.fixture
def table(demo_study: Study) -> LayerTable:
    found = catalog.layer_table(resources.store(), demo_study)
    assert found is not None
    return found


def keep(study: Study, table: LayerTable, text: str) -> Allocation:
    """Make a draft of one candidate, as an earlier session left it."""
    draft = uniform_allocation(table, Candidate.parse(text), pin_first_last=False)
    resources.store().put_part(catalog.study_id(study), Key.DRAFT, draft)
    return draft


def assignment() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    return at.switch_page("assignment.py").run()


def test_what_onnx_stores_in_another_way_is_said_and_listed(
    demo_study: Study, table: LayerTable
) -> None:
    draft = keep(demo_study, table, "w5a6")
    at = assignment()
    assert not at.exception
    said = sentences(stored_as(table, draft, "onnx"))
    assert [w.value for w in at.warning] == ["\n".join(f"- {each}" for each in said)]
    assert (
        at.expander(key="storage-table").label == f"{len(table.names)} layers stored in another way"
    )
    at.session_state["storage-table"] = True
    at.run()
    assert not at.exception
    listed = next(d.value for d in at.dataframe if "Stored as" in d.value)
    assert len(listed) == 2 * len(table.names)
    weights = listed[listed["Tensor"] == "weight"]
    assert tuple(weights["Layer"]) == table.names
    assert set(weights["Asked"]) == {"int5"}
    assert set(weights["Stored as"]) == {"int8"}
    assert any(BACKENDS["onnx"].reference in m.value for m in at.markdown)


def test_another_backend_or_none_is_asked_for_and_kept(
    demo_study: Study, table: LayerTable
) -> None:
    keep(demo_study, table, "w4a8")
    at = assignment()
    assert not at.warning
    assert any("keeps every format of this allocation as it is" in s.value for s in at.success)
    at.selectbox(key="backend").set_value("torchao").run()
    assert not at.exception
    assert "torchao" in at.warning[0].value
    at.selectbox(key="backend").set_value("").run()
    assert not at.warning
    assert not at.success
    at.switch_page("export.py").run()
    at.switch_page("assignment.py").run()
    assert at.selectbox(key="backend").value == ""
