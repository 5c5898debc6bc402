"""What an exporter wrote: its checks, its files to download, a look at their text."""

import io
import zipfile
from collections.abc import Mapping

import streamlit as st

from analysis.commands import changed_options, command_line
from analysis.errors import AnalysisError
from analysis.export import Exported, ExportTask
from analysis.export.task import Exporter
from analysis.known import known
from analysis.options import Options
from analysis.registry import Method
from pages.ui import resources
from pages.ui.allocations import Chosen
from pages.ui.shell import Page

_LINES = 60
_LANGUAGES = {"json": "json", "csv": "text", "toml": "toml", "yaml": "yaml", "py": "python"}


def write(
    page: Page, chosen: Chosen, exporter: Method[Exporter], options: Options
) -> Exported | None:
    """Run an exporter with what the store knows about the allocation; draw its error if any."""
    about = known(resources.store(), page.study, chosen.allocation)
    task = ExportTask(
        study=page.study,
        table=page.table,
        allocation=chosen.allocation,
        scores=about.scores,
        solution=about.solution,
        configuration=chosen.configuration or about.configuration,
    )
    with st.container(horizontal=True):
        for what, there in (
            ("scores", task.scores),
            ("solver's certificate", task.solution),
            ("measured accuracy", task.configuration),
        ):
            icon = ":material/check:" if there else ":material/remove:"
            st.markdown(f"{icon} {what}{'' if there else ': none for this allocation'}")
    try:
        return exporter.function(task, options)
    except AnalysisError as error:
        st.error(str(error), icon=":material/error:")
        return None


def command(
    page: Page, chosen: Chosen, exporter: Method[Exporter], options: Options, made: Exported
) -> str:
    """Return the equal command line."""
    flags = {
        "allocation": chosen.file,
        "release-first-last": not chosen.held,
        "format": exporter.name,
        "out": next(iter(made.files)) if len(made.files) == 1 else exporter.name,
    }
    return command_line("export", page.study.spec, flags | changed_options(exporter=options))


def checks(made: Exported) -> bool:
    """Draw every check as a line; tell whether all passed."""
    for check in made.checks:
        text = f"**{check.what}**: {check.detail}"
        if check.passed:
            st.markdown(f":green[:material/check_circle:] Passed, {text}")
        else:
            st.error(f"Failed, {text}", icon=":material/cancel:")
    if not made.checks:
        st.markdown("This exporter declares no check.")
    return all(check.passed for check in made.checks)


def downloads(files: Mapping[str, bytes], stem: str) -> None:
    """Draw one button per file, and one for all where there are several."""
    with st.container(horizontal=True):
        for place, (name, content) in enumerate(files.items()):
            st.download_button(
                f"{name} ({_size(len(content))})",
                content,
                name,
                key=f"download-{name}",
                icon=":material/download:",
                type="primary" if place == 0 else "secondary",
                on_click="ignore",
            )
        if len(files) > 1:
            st.download_button(
                "All files (zip)",
                _zipped(files),
                f"{stem}.zip",
                "application/zip",
                key="download-all",
                icon=":material/folder_zip:",
                on_click="ignore",
            )


def preview(files: Mapping[str, bytes]) -> None:
    """Show the first lines of every text file."""
    for name, content in files.items():
        try:
            lines = content.decode("utf-8").splitlines()
        except UnicodeDecodeError:
            st.markdown(f"`{name}` is binary, {_size(len(content))}.")
            continue
        few = lines[:_LINES]
        rest = "" if len(few) == len(lines) else f", the first {len(few)} of them shown"
        st.markdown(f"**{name}** · {len(lines):,} lines{rest}")
        language = _LANGUAGES.get(name.rsplit(".", 1)[-1], "text")
        st.code("\n".join(few), language=language, height=420)


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 1024:.1f} KiB"


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
