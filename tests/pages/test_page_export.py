"""Taking an allocation away."""

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, workflow
from analysis.allocation_file import read_allocation, uniform_allocation
from analysis.events import result
from analysis.export import EXPORTERS, Check, Exported, ExportTask
from analysis.options import Options
from analysis.records import Candidate, Study
from pages.ui import resources
from pages.ui.allocations import SAVED

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def export() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    return at.switch_page("export.py").run()


def texts(at: AppTest) -> str:
    return "\n".join(m.value for m in at.markdown)


def test_without_a_study_the_page_leads_to_the_demo(cache_dir: Path) -> None:
    at = export()
    assert not at.exception
    assert "No study is open yet" in texts(at)


def test_every_exporter_shows_its_checks_its_file_and_its_command(demo_study: Study) -> None:
    at = export()
    for exporter in EXPORTERS:
        at.selectbox(key="export-format").set_value(exporter.name).run()
        assert not at.exception
        assert "Passed, **read back**" in texts(at)
        assert f"--format {exporter.name}" in at.code[-1].value
        assert len(at.get("download_button")) >= 1


def test_the_draft_is_shown_as_it_will_be_read_back(demo_study: Study) -> None:
    at = export()
    assert '"schema": 1' in at.code[0].value
    assert "the first 60 of them shown" in texts(at)


def test_a_saved_configuration_is_written_with_what_it_measured(demo_study: Study) -> None:
    table = catalog.layer_table(resources.store(), demo_study)
    assert table is not None
    allocation = uniform_allocation(table, Candidate.parse("w4a8"))
    step = workflow.quantize(
        resources.workspace(), demo_study, workflow.Recipe(allocation), name="mine"
    )
    result(step.events(resources.store()))
    at = export()
    at.radio(key="export-source").set_value(SAVED).run()
    assert not at.exception
    assert "**uniform w4a8, ends w8a8**" in texts(at)
    assert "check: measured accuracy" in texts(at)
    assert "--allocation uniform:w4a8" in at.code[-1].value


def test_with_nothing_saved_the_page_leads_to_quantization(demo_study: Study) -> None:
    at = export()
    at.radio(key="export-source").set_value(SAVED).run()
    assert not at.exception
    assert "No configuration of this study is saved yet" in at.info[0].value
    assert not at.get("download_button")


def use(monkeypatch: pytest.MonkeyPatch, function: object) -> None:
    """Let the first exporter behave otherwise."""
    method = next(iter(EXPORTERS))
    monkeypatch.setitem(EXPORTERS._methods, method.name, replace(method, function=function))


def test_nothing_is_offered_when_a_check_fails(
    demo_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(task: ExportTask, options: Options) -> Exported:
        del task, options
        return Exported({"a.json": b"{}"}, (Check("read back", False, "1 layer differs"),))

    use(monkeypatch, broken)
    at = export()
    assert not at.exception
    assert "Failed, **read back**: 1 layer differs" in at.error[0].value
    assert not at.get("download_button")


def test_an_exporter_that_refuses_says_why(
    demo_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(task: ExportTask, options: Options) -> Exported:
        del options
        read_allocation("{", task.table)
        raise AssertionError

    use(monkeypatch, refusing)
    at = export()
    assert not at.exception
    assert at.error[0].value.startswith("An allocation file must be JSON")
