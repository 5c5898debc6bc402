"""A method that trains layer by layer: how every layer's error fell."""

import json
from pathlib import Path

from streamlit.testing.v1 import AppTest

from analysis.records import Study
from pages.ui import resources
from pages.ui.allocations import UNIFORM

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def test_the_errors_of_all_layers_are_drawn_once_they_are_trained(demo_study: Study) -> None:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    at = at.switch_page("quantization.py").run()
    at.radio(key="quantize-source").set_value(UNIFORM).run()
    at.selectbox(key="quantize-method").set_value("adaround").run()
    at.number_input(key="quantize-options-adaround-iterations").set_value(2).run()
    assert not at.exception
    next(b for b in at.button if b.label == "Quantize and measure").click().run()
    job = resources.jobs().wait(resources.jobs().jobs()[0].id, timeout=120)
    assert job.state == "finished", job.error
    at.run()
    assert not at.exception
    layouts = [json.loads(c.proto.spec)["layout"] for c in at.get("plotly_chart")]
    titles = [layout["title"]["text"] for layout in layouts]
    assert any("rounded to nearest," in title for title in titles)
    assert "--method adaround" in at.code[0].value
