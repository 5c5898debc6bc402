"""The distributions page: all layers, one layer with its grid, what it is compared with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.allocation_file import uniform_allocation
from analysis.demo_studies import DEMOS
from analysis.events import result
from analysis.models.demo import load
from analysis.records import Candidate, Distributions, Study
from pages.ui import resources, session

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
    assert any("pairs equalized" in each.value for each in at.info)
    assert any("left as it was" in e.label for e in at.expander)
    # The layer that changed most is shown, though another one is flagged.
    assert any("Weights of layer2.0.conv1" in h.value for h in at.subheader)
    assert any("`layer2.0.conv1` changed most" in m.value for m in at.markdown)
    assert any("kept the weights" in m.value for m in at.markdown)
    precision = next(m for m in at.metric if m.label == "Average channel precision")
    assert " → " in precision.value
    frame = at.dataframe[0].value
    assert {"change", "acp_after", "low_after"} <= set(frame.columns)
    channels = next(text for text in titles(at) if "Channel ranges" in text)
    assert "outlines: float after equalization" in channels
    at.button_group(key="recalibrated-bits").set_value("w4a4").run()
    next(b for b in at.button if b.label == "Measure both").click().run()
    job = resources.jobs().jobs()[0]
    assert resources.jobs().wait(job.id, timeout=120).state == "finished"
    at.run()
    assert not at.exception
    assert {"Before", "After", "Difference"} <= {metric.label for metric in at.metric}


def test_a_layer_that_a_recalibration_left_alone_is_said_to_be_the_same(
    demo_study: Study, described: Distributions
) -> None:
    space = resources.workspace()
    step = workflow.distributions(space, demo_study, recalibrations=("equalization",))
    result(step.events(space.store))
    at = page(
        distributions_beside="The float network, recalibrated",
        distributions_recalibrations=["equalization"],
    )
    at.selectbox(key="layer").set_value("conv1").run()
    assert not at.exception
    assert any("did not change it" in m.value for m in at.markdown)


def test_the_options_of_a_recalibration_reach_the_network_and_the_command_line(
    demo_study: Study, described: Distributions
) -> None:
    at = page(
        distributions_beside="The float network, recalibrated",
        distributions_recalibrations=["absorption"],
    )
    at.selectbox(key="distributions-absorption-padding").set_value("interior")
    at.number_input(key="distributions-absorption-deviations").set_value(0.0).run()
    assert not at.exception
    spelled = "absorption:deviations=0:padding=interior"
    assert any(f"--recalibrate {spelled}" in code.value for code in at.code)
    space = resources.workspace()
    step = workflow.distributions(space, demo_study, recalibrations=(spelled,))
    result(step.events(space.store))
    at.run()
    assert not at.exception
    assert any("channels gave up to" in each.value for each in at.info)


def test_measuring_before_and_after_takes_no_saved_name(
    demo_study: Study, described: Distributions
) -> None:
    space = resources.workspace()
    table = result(workflow.layers(space, demo_study).events(space.store))
    recipe = workflow.Recipe(uniform_allocation(table, Candidate.parse("w4a8")))
    usual = "uniform w4a8, nearest"
    result(workflow.quantize(space, demo_study, recipe, name=usual).events(space.store))
    kind = catalog.configurations_kind(demo_study)
    owner = space.store.named(kind)[usual]
    at = page(
        distributions_beside="The float network, recalibrated",
        distributions_recalibrations=["equalization"],
    )
    result(
        workflow.distributions(space, demo_study, recalibrations=("equalization",)).events(
            space.store
        )
    )
    at.run()
    assert any(f"{usual} (2)" in m.value for m in at.markdown)
    next(b for b in at.button if b.label == "Measure both").click().run()
    job = resources.jobs().jobs()[0]
    assert resources.jobs().wait(job.id, timeout=120).state == "finished"
    named = space.store.named(kind)
    assert named[usual] == owner
    assert set(named) == {usual, f"{usual} (2)", "uniform w4a8, equalization + nearest"}


def test_a_layer_of_zeros_and_one_of_a_constant_are_shown(cache_dir: Path, tmp_path: Path) -> None:
    state = {name: value.clone() for name, value in load("digits-resnet").state_dict().items()}
    state["layer1.0.conv1.weight"].zero_()
    state["fc.weight"].fill_(0.1)
    save_file(state, tmp_path / "weights.safetensors")
    space = resources.workspace()
    spec = replace(DEMOS[0].spec, weights=str(tmp_path / "weights.safetensors"), name="zeros")
    study = result(workflow.opening(space, spec))
    result(workflow.distributions(space, study).events(space.store))
    at = page()
    assert not at.exception
    for layer, quality in (("layer1.0.conv1", "no signal"), ("fc", "no error")):
        at.selectbox(key="layer").set_value(layer).run()
        assert not at.exception
        values = {metric.label: metric.value for metric in at.metric}
        assert values["SQNR"] == quality
        assert values["Average channel precision"] == "–"
        texts = [*values.values(), *(metric.delta for metric in at.metric)]
        assert not any(word in text for text in texts for word in ("nan", "inf", "-0 "))
        assert any("Clipping and error" in text for text in titles(at)) == (layer == "fc")
    assert any("the layer only sums up what it reads" in m.value for m in at.markdown)


def test_modules_that_no_quantizer_acts_on_are_named(cache_dir: Path) -> None:
    space = resources.workspace()
    vit = next(demo for demo in DEMOS if "vit" in demo.spec.model)
    study = result(workflow.opening(space, vit.spec))
    result(workflow.distributions(space, study).events(space.store))
    at = page()
    assert not at.exception
    skipped = session.table(study).skipped
    assert skipped
    assert any(f"Not described: {len(skipped)} modules" in e.label for e in at.expander)
    for each in skipped:
        assert any(f"`{each.name}`" in m.value and each.reason in m.value for m in at.markdown)


def test_the_selected_layer_is_the_one_that_is_shown(described: Distributions) -> None:
    at = page()
    at.selectbox(key="layer").set_value("fc").run()
    assert not at.exception
    assert any("Weights of fc" in h.value for h in at.subheader)
