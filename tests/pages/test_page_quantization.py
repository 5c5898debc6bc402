"""From an allocation to a measured accuracy."""

import json
from pathlib import Path

from streamlit.testing.v1 import AppTest

from analysis import catalog
from analysis.allocation_file import allocation_json, uniform_allocation
from analysis.quant.estimators import RANGE_ESTIMATORS
from analysis.records import Candidate, Study
from pages.ui import resources
from pages.ui.allocations import FILE, SAVED, UNIFORM

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def quantization() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    return at.switch_page("quantization.py").run()


def texts(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


def measure(at: AppTest) -> AppTest:
    next(b for b in at.button if b.label == "Quantize and measure").click().run()
    job = resources.jobs().wait(resources.jobs().jobs()[0].id, timeout=60)
    assert job.state == "finished", job.error
    return at.run()


def test_without_a_study_the_page_leads_to_the_demo(cache_dir: Path) -> None:
    at = quantization()
    assert not at.exception
    assert "No study is open yet" in texts(at)


def test_the_page_says_what_will_happen_before_it_does(demo_study: Study) -> None:
    at = quantization()
    assert not at.exception
    assert "**uniform w8a8**" in texts(at)
    assert "597 evaluation samples" in texts(at)
    assert not at.metric


def test_ranges_that_need_scores_are_offered_for_weights_alone_and_say_what_they_cost(
    demo_study: Study,
) -> None:
    at = quantization()
    weight = at.selectbox(key="quantize-weight")
    offered = at.selectbox(key="quantize-activation").options
    assert set(weight.options) - set(offered) == {RANGE_ESTIMATORS["hmse"].title}
    assert "scores of single weights" not in texts(at)
    weight.set_value("hmse").run()
    assert not at.exception
    assert "scores of single weights" in texts(at)
    assert RANGE_ESTIMATORS["hmse"].cost in texts(at)


def test_a_measurement_is_shown_beside_float_and_saved_under_its_name(demo_study: Study) -> None:
    at = quantization()
    at.radio(key="quantize-source").set_value(UNIFORM).run()
    at.text_input(key="quantize-name").set_value("mine").run()
    at = measure(at)
    assert not at.exception
    cards = {metric.label: metric for metric in at.metric}
    saved = catalog.configurations(resources.store(), demo_study)["mine"]
    assert cards["Measured accuracy"].value == f"{saved.measured.top1:.2%}"
    assert "n = 597" in cards["Measured accuracy"].delta
    assert "the noise" in cards["Difference, paired"].delta
    clipped = list(at.dataframe[0].value["Clipped"])
    assert clipped == sorted(clipped, reverse=True)
    assert len(clipped) == len(saved.ranges)
    assert "--allocation uniform:w4a8" in at.code[0].value
    assert "Saved as **mine**" in texts(at)


def test_a_name_of_another_configuration_is_pointed_out(demo_study: Study) -> None:
    at = quantization()
    at.text_input(key="quantize-name").set_value("mine").run()
    measure(at)
    at.radio(key="quantize-source").set_value(UNIFORM).run()
    assert not at.exception
    assert any("names another configuration" in w.value for w in at.warning)


def test_a_deleted_name_is_given_back_without_measuring_again(demo_study: Study) -> None:
    at = measure(quantization())
    store, kind = resources.store(), catalog.configurations_kind(demo_study)
    (name,) = store.named(kind)
    store.unname(kind, name)
    at.run()
    at.button(key="save-name").click().run()
    assert not at.exception
    assert list(store.named(kind)) == [name]
    assert len(resources.jobs().jobs()) == 1


def test_an_allocation_file_is_read_and_offered_for_the_command_line(demo_study: Study) -> None:
    table = catalog.layer_table(resources.store(), demo_study)
    assert table is not None
    content = json.loads(
        allocation_json(uniform_allocation(table, Candidate.parse("w4a8")), study="x")
    )
    content["allocation"][table.names[3]] = "w6a8"
    at = quantization()
    at.radio(key="quantize-source").set_value(FILE).run()
    at.text_area(key="quantize-pasted").set_value(json.dumps(content)).run()
    assert not at.exception
    assert "1×w6a8" in texts(at)
    assert "--allocation allocation.json" in at.code[0].value
    assert len(at.get("download_button")) == 1


def test_a_file_of_another_model_is_refused_with_what_is_wrong(demo_study: Study) -> None:
    at = quantization()
    at.radio(key="quantize-source").set_value(FILE).run()
    at.text_area(key="quantize-pasted").set_value('{"allocation": {"other": "w4a8"}}').run()
    assert not at.exception
    (error,) = at.error
    assert "16 missing" in error.value
    assert "1 unknown (other)" in error.value


def test_an_upload_that_is_no_text_is_refused(demo_study: Study) -> None:
    at = quantization()
    at.radio(key="quantize-source").set_value(FILE).run()
    at.file_uploader(key="quantize-upload").set_value(
        ("a.json", b"\xff\xfe{}", "application/json")
    ).run()
    assert not at.exception
    assert "must be UTF-8 text" in at.error[0].value


def test_with_nothing_saved_the_page_says_so(demo_study: Study) -> None:
    at = quantization()
    at.radio(key="quantize-source").set_value(SAVED).run()
    assert not at.exception
    assert "No configuration of this study is saved yet" in at.info[0].value
