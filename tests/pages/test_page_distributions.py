"""The distributions page: all layers, one layer with its grid, what it is compared with."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.events import result
from analysis.records import Candidate, Distributions, Study
from pages.ui import resources

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def page(**state: object) -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=120).run()
    for key, value in state.items():
        at.session_state[key.replace("_", "-")] = value
    return at.switch_page("distributions.py").run()


def titles(at: AppTest) -> list[str]:
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    return [chart["layout"]["title"]["text"] for chart in charts]


@pytest.fixture
def described(demo_study: Study) -> Distributions:
    step = workflow.distributions(resources.workspace(), demo_study)
    return result(step.events(resources.store()))


def test_without_a_study_the_page_says_where_to_open_one(cache_dir: Path) -> None:
    at = page()
    assert not at.exception
    assert any("No study is open yet" in m.value for m in at.markdown)


def test_before_anything_is_described_the_page_says_what_it_takes(demo_study: Study) -> None:
    at = page()
    assert not at.exception
    assert "Describe the distributions" in [button.label for button in at.button]
    assert any("analysis distributions" in code.value for code in at.code)


def test_every_kind_of_tensor_is_drawn_with_its_grid_where_one_acts(
    demo_study: Study,
    described: Distributions,
) -> None:
    at = page()
    assert not at.exception
    strip, histogram, curve, channels = titles(at)
    assert "Ranges of the weights" in strip
    assert "layer3.1.conv1" in histogram
    assert "SQNR" in histogram
    assert "48 channels" in channels
    assert "int8" in curve
    labels = [metric.label for metric in at.metric]
    assert {"Average channel precision", "SQNR", "Clipped"} <= set(labels)
    at.button_group(key="distributions-role").set_value("pre_activation").run()
    assert not at.exception
    assert len(titles(at)) == 3  # no quantizer acts there, so there is no range to explore
    assert any("No quantizer acts" in m.value for m in at.markdown)
    at.button_group(key="distributions-role").set_value("post_activation").run()
    assert not at.exception
    # What the next layer reads is quantized; its ranges wait for those of the calibration set.
    assert len(titles(at)) == 3
    assert "Try every range" in [button.label for button in at.button]
    step = workflow.statistics(resources.workspace(), demo_study)
    result(step.events(resources.store()))
    at.run()
    assert len(titles(at)) == 4
    assert any("is added to another tensor" in m.value for m in at.markdown)


def test_what_stands_out_is_said_with_a_remedy(described: Distributions) -> None:
    at = page()
    said = [m.value for m in at.markdown if ":material/flag:" in m.value]
    assert any("Channel 32 alone widens" in text and "per-channel" in text for text in said)


def test_a_quantized_network_and_a_recalibrated_one_are_laid_over(
    demo_study: Study, described: Distributions
) -> None:
    space = resources.workspace()
    table = result(workflow.layers(space, demo_study).events(space.store))
    recipe = workflow.Recipe(uniform_allocation(table, Candidate.parse("w4a8")))
    made = workflow.quantize(space, demo_study, recipe, name="mine")
    result(made.events(space.store))
    result(workflow.distributions(space, demo_study, recipe).events(space.store))
    at = page(distributions_beside="mine")
    assert not at.exception
    assert "as a line" in titles(at)[1]
    step = workflow.distributions(space, demo_study, recalibrations=("equalization",))
    result(step.events(space.store))
    at = page(
        distributions_beside="The float network, recalibrated",
        distributions_recalibrations=["equalization"],
    )
    assert not at.exception
    assert "as a line" in titles(at)[1]
    assert any("--recalibrate equalization" in code.value for code in at.code)
    assert any("noted on the way" in e.label for e in at.expander)
    at.button_group(key="recalibrated-bits").set_value("w4a4").run()
    next(b for b in at.button if b.label == "Measure both").click().run()
    job = resources.jobs().jobs()[0]
    assert resources.jobs().wait(job.id, timeout=120).state == "finished"
    at.run()
    assert not at.exception
    assert {"Before", "After", "Difference"} <= {metric.label for metric in at.metric}


def test_the_selected_layer_is_the_one_that_is_shown(described: Distributions) -> None:
    at = page()
    at.selectbox(key="layer").set_value("fc").run()
    assert not at.exception
    assert any("Weights of fc" in h.value for h in at.subheader)
