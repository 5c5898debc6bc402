"""What a method changed, and its ablation, on the quantization page."""

import json
from pathlib import Path

from streamlit.testing.v1 import AppTest

from analysis.records import Study
from pages.ui import resources
from pages.ui.allocations import UNIFORM

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def opened(method: str) -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    at = at.switch_page("quantization.py").run()
    at.radio(key="quantize-source").set_value(UNIFORM).run()
    return at.selectbox(key="quantize-method").set_value(method).run()


def texts(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


def titles(at: AppTest) -> list[str]:
    layouts = [json.loads(c.proto.spec)["layout"] for c in at.get("plotly_chart")]
    return [layout["title"]["text"] for layout in layouts]


def press(at: AppTest, label: str) -> AppTest:
    """Click a button that starts a job, wait for its end and look again."""
    jobs = resources.jobs()
    known = {job.id for job in jobs.jobs()}
    next(b for b in at.button if b.label == label).click().run()
    new = next(job.id for job in jobs.jobs() if job.id not in known)
    job = jobs.wait(new, timeout=120)
    assert job.state == "finished", job.error
    at.run()
    assert not at.exception
    return at


def test_what_a_method_changed_is_compared_on_demand(demo_study: Study) -> None:
    at = press(opened("bias_correction"), "Quantize and measure")
    assert "200 calibration samples, three passes, after the method has run once more" in texts(at)
    press(at, "Compare with rounding to nearest")
    assert any("What bias_correction changed in every layer" in t for t in titles(at))
    assert "Every weight is rounded to the level nearest to it" in texts(at)
    assert "accumulated" in texts(at)
    frames = [frame.value for frame in at.dataframe]
    compared = next(frame for frame in frames if "Gain" in frame)
    assert len(compared) == 16
    assert (compared["Moved"] == 0).all()


def test_rounding_to_nearest_has_nothing_to_compare(demo_study: Study) -> None:
    at = press(opened("nearest"), "Quantize and measure")
    assert "there is nothing to compare" in texts(at)
    assert not any(b.label == "Compare with rounding to nearest" for b in at.button)
    assert not any(t.key == "ablation-on" for t in at.toggle)


def test_an_ablation_is_announced_run_and_drawn(demo_study: Study) -> None:
    at = opened("eptq")
    at.toggle(key="ablation-on").set_value(True).run()
    at.number_input(key="ablation-steps-eptq").set_value(2).run()
    changes = next(m for m in at.multiselect if m.label == "Changes")
    assert "weighting=none" in changes.value
    changes.set_value(["rounding_rate=0"]).run()
    assert not at.exception
    assert "2 trainings of 2 steps: the base and 1 change" in texts(at)
    assert "no time is promised" in texts(at)
    press(at, "Measure the variants")
    assert any("One change of eptq at a time" in title for title in titles(at))
    frames = [frame.value for frame in at.dataframe]
    table = next(frame for frame in frames if "Effect" in frame)
    assert table["Change"].tolist() == ["as it is", "rounding rate 0 (off)"]
    assert table["Effect"].iloc[0] == "base"
    assert table["Effect"].str.contains("the noise").sum() == 1
    assert (table["Seconds"] > 0).all()
    assert any("analysis ablation" in code.value and "--steps 2" in code.value for code in at.code)
    at.number_input(key="ablation-seeds").set_value(2).run()
    assert "2 seeds each; 2 of them stored" in texts(at)
    assert "by the time of earlier trainings" in texts(at)


def test_an_ablation_of_nothing_is_not_offered(demo_study: Study) -> None:
    at = opened("eptq")
    at.toggle(key="ablation-on").set_value(True).run()
    next(m for m in at.multiselect if m.label == "Changes").set_value([]).run()
    assert "Choose at least one change." in [i.value for i in at.info]
    assert not any(b.label == "Measure the variants" for b in at.button)
