"""Weights in two parts on the quantization page, from the choice to what changed."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

from analysis import catalog
from analysis.allocation import allocation_costs
from analysis.records import Study
from pages.ui import resources
from pages.ui.allocations import UNIFORM

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def texts(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


def press(at: AppTest, label: str) -> AppTest:
    """Click a button that starts a job, wait for its end and look again."""
    jobs = resources.jobs()
    known = {job.id for job in jobs.jobs()}
    next(b for b in at.button if b.label == label).click().run()
    job = jobs.wait(next(j.id for j in jobs.jobs() if j.id not in known), timeout=120)
    assert job.state == "finished", job.error
    at.run()
    assert not at.exception
    return at


def test_split_weights_are_measured_counted_and_compared(demo_study: Study) -> None:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    at = at.switch_page("quantization.py").run()
    at.radio(key="quantize-source").set_value(UNIFORM).run()
    at.selectbox(key="quantize-method").set_value("coarse_fine").run()
    at.text_input(key="quantize-name").set_value("two parts").run()
    at = press(at, "Quantize and measure")
    said = "\n".join([texts(at), *(box.value for box in at.info)])
    assert "13 weights split into centre taps of 8 bits and the rest" in said
    assert "The centre taps add 12.4 KiB" in said
    assert "Not split, but rounded to nearest" in said
    store = resources.store()
    saved = catalog.configurations(store, demo_study)["two parts"]
    table = catalog.layer_table(store, demo_study)
    assert table is not None
    assert saved.costs.size_mib > allocation_costs(table, saved.allocation).size_mib
    roles = list(at.dataframe[0].value["Role"])
    assert (roles.count("coarse weight"), roles.count("weight")) == (13, 16)
    assert "--method coarse_fine" in at.code[0].value
    press(at, "Compare with rounding to nearest")
    assert "13 weights are the sum of two parts" in texts(at)
