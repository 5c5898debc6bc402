"""What the quantization page says before a training is started."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from analysis import workflow
from analysis.events import result
from analysis.records import Study
from pages.ui import resources, words
from tests.pages.test_page_training import eptq, start, texts


def chosen(at: AppTest, method: str) -> AppTest:
    return at.selectbox(key="quantize-method").set_value(method).run()


def test_before_anything_was_timed_the_length_is_said_and_no_time(demo_study: Study) -> None:
    at = eptq(40)
    assert "40 steps of 32 samples; nothing was timed" in texts(at)
    assert "300 iterations for each layer, of 32 samples" in texts(chosen(at, "adaround"))
    assert "300 iterations for each block, of 32 samples" in texts(chosen(at, "brecq"))
    assert not at.exception


def test_then_the_time_is_that_of_the_float_network_and_of_a_training(demo_study: Study) -> None:
    store = resources.store()
    result(workflow.float_outputs(resources.workspace(), demo_study).events(store))
    at = eptq(4)
    assert re.search(
        r"roughly [\d.]+ s: 4 steps .* estimated from the time of the float", texts(at)
    )
    job = resources.jobs().wait(start(at), timeout=120)
    assert job.state == "finished", job.error
    at = eptq(400)
    assert not at.exception
    assert re.search(
        r"about [\d.]+ (s|min): 400 steps .* by the time of 1 stored training", texts(at)
    )
    assert "roughly" in texts(chosen(at, "adaround"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.04, "1 s"), (34.7, "35 s"), (99.4, "99 s"), (374, "6 min"), (9000, "2.5 h")],
)
def test_an_expected_duration_has_no_more_digits_than_an_estimate(seconds, text):
    assert words.roughly(seconds) == text
