"""A method that trains: what it will take, how far it is, how it went."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from analysis import catalog
from analysis.records import Study
from pages.ui import resources
from pages.ui.allocations import UNIFORM

MAIN = Path(__file__).parents[2] / "pages" / "main.py"
STEPS = 400


def eptq(steps: int) -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    at = at.switch_page("quantization.py").run()
    at.radio(key="quantize-source").set_value(UNIFORM).run()
    at.selectbox(key="quantize-method").set_value("eptq").run()
    return at.number_input(key="quantize-options-eptq-steps").set_value(steps).run()


def texts(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


def titles(at: AppTest) -> list[str]:
    layouts = [json.loads(c.proto.spec)["layout"] for c in at.get("plotly_chart")]
    return [layout["title"]["text"] for layout in layouts]


def start(at: AppTest, label: str = "Quantize and measure") -> str:
    next(b for b in at.button if b.label == label).click().run()
    return resources.jobs().jobs()[0].id


def test_a_training_is_announced_shown_and_saved(demo_study: Study) -> None:
    at = eptq(8)
    assert not at.exception
    assert "8 steps of 32 samples" in texts(at)
    assert "Needs a training" in texts(at)
    job = resources.jobs().wait(start(at), timeout=120)
    assert job.state == "finished", job.error
    at.run()
    assert not at.exception
    assert any("After 8 steps" in title for title in titles(at))
    assert "Only 175 samples are trained on" in "\n".join((*[i.value for i in at.info], texts(at)))
    saved = next(iter(catalog.configurations(resources.store(), demo_study).values()))
    assert saved.method == "eptq"
    assert "--method eptq" in at.code[0].value
    assert "--steps 8" in at.code[0].value


def test_options_that_do_not_go_together_are_refused_in_one_line(demo_study: Study) -> None:
    at = eptq(8)
    at.number_input(key="quantize-options-eptq-reconstruction").set_value(0.0).run()
    assert not at.exception
    (refused,) = at.error
    assert "both weights are 0" in refused.value
    assert [each.value for each in at.toast] == [refused.value]  # wherever the page is scrolled
    at.number_input(key="quantize-options-eptq-logits").set_value(1.0).run()
    assert not at.error
    assert "8 steps of 32 samples" in texts(at)


def until(at: AppTest, condition: Callable[[], bool]) -> None:
    """Run the page again and again, as a browser does, until something is so."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, texts(at)
        time.sleep(0.3)
        at.run()


def test_a_cancelled_training_keeps_its_curves_and_goes_on(demo_study: Study) -> None:
    at = eptq(STEPS)
    jobs, first = resources.jobs(), start(at)
    until(at, lambda: bool(titles(at)))
    assert not at.exception
    jobs.cancel(first)
    assert jobs.wait(first, timeout=60).state == "cancelled"
    at.run()
    assert re.match(
        r"The last run was cancelled at \d+%; finished parts are kept", at.info[0].value
    )
    assert any("After " in title for title in titles(at))
    again = start(at, "Resume")
    until(at, lambda: any(note.startswith("Goes on after") for note in jobs.job(again).notes))
    jobs.cancel(again)
    jobs.wait(again, timeout=60)
