"""Choosing an allocation: the draft, uniform bits, a saved configuration or a file."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import streamlit as st

from analysis import catalog
from analysis.allocation_file import allocation_json, read_allocation, uniform_allocation
from analysis.errors import AnalysisError, QuantizationError
from analysis.options import build
from analysis.ptq import PTQ_METHODS
from analysis.quant.formats import FORMATS
from analysis.records import FLOAT, Allocation, Candidate, Configuration, QuantSettings
from analysis.workflow import Recipe
from pages.ui import resources, session, shell
from pages.ui.shell import Page

DRAFT, UNIFORM, SAVED, FILE = "Draft", "Uniform bits", "Saved configuration", "Allocation file"
FILE_NAME = "allocation.json"
_MAX_MIB = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """An allocation and where it comes from.

    ``file`` is what the command line names: a file to download first, or ``uniform:w4a8``.
    ``configuration`` is the saved one it was taken from. ``held`` tells whether the first and last
    layer were held at w8a8 by choice.
    """

    allocation: Allocation
    file: str = FILE_NAME
    configuration: Configuration | None = None
    held: bool = True

    @property
    def recipe(self) -> Recipe:
        """How the network is quantized: as the saved configuration was, else by the defaults."""
        found = self.configuration
        if found is None:
            settings = replace(QuantSettings(), pin_first_last=self.held)
            return Recipe(self.allocation, settings=settings, file=self.file)
        return Recipe(
            self.allocation,
            found.method,
            build(PTQ_METHODS[found.method].options, found.options),
            found.settings,
            found.recalibrations,
            self.file,
        )


def choose(page: Page, key: str, sources: tuple[str, ...]) -> Chosen | None:
    """Draw the choice; None while what was chosen cannot be read or is not there yet."""
    saved = catalog.configurations(resources.store(), page.study)
    source = st.radio("Allocation", sources, horizontal=True, key=f"{key}-source")
    draw: dict[str, Callable[[], Chosen | None]] = {
        DRAFT: lambda: _draft(page),
        UNIFORM: lambda: _uniform(page, key),
        SAVED: lambda: _saved(page, saved, key),
        FILE: lambda: _file(page, key),
    }
    return draw[source]()


def command(page: Page, chosen: Chosen, line: str, key: str) -> None:
    """Show an equal command line, with the allocation file that it names to download."""
    with shell.command(line):
        if chosen.file == FILE_NAME:
            st.download_button(
                f"Download the {FILE_NAME} that it reads",
                allocation_json(chosen.allocation, study=page.study.spec.name),
                FILE_NAME,
                "application/json",
                key=f"{key}-allocation",
                icon=":material/download:",
                on_click="ignore",
            )


def of_configuration(page: Page, found: Configuration) -> Chosen:
    """Return the allocation of a saved configuration."""
    held = found.settings.pin_first_last
    if held:
        return Chosen(found.allocation, spelling(page, found.allocation), found)
    return Chosen(found.allocation, configuration=found, held=False)


def spelling(page: Page, allocation: Allocation) -> str:
    """Return how the command line names an allocation: ``uniform:w4a8``, else a file."""
    most = Counter(allocation.candidates).most_common(1)[0][0]
    same = uniform_allocation(page.table, most) == allocation
    return f"uniform:{most.text}" if same else FILE_NAME


def _draft(page: Page) -> Chosen:
    st.markdown("What the bit assignment page holds.")
    allocation = session.draft(page.study, page.table)
    return Chosen(allocation, file=spelling(page, allocation))


def _uniform(page: Page, key: str) -> Chosen:
    names = list(FORMATS)
    left, right = st.columns(2)
    weight = left.selectbox("Weights", names, names.index("int4"), key=f"{key}-uniform-weight")
    activation = right.selectbox(
        "Activations", [*names, FLOAT], names.index("int8"), key=f"{key}-uniform-activation"
    )
    held = st.checkbox("Hold first and last layer at w8a8", True, key=f"{key}-held")
    candidate = Candidate(weight, activation)
    allocation = uniform_allocation(page.table, candidate, pin_first_last=held)
    return Chosen(allocation, file=f"uniform:{candidate.text}", held=held)


def _saved(page: Page, saved: dict[str, Configuration], key: str) -> Chosen | None:
    if not saved:
        st.info("No configuration of this study is saved yet: quantize the draft first.")
        return None
    name = st.selectbox("Configuration", list(saved), key=f"{key}-saved")
    return of_configuration(page, saved[name])


def _file(page: Page, key: str) -> Chosen | None:
    upload = st.file_uploader(
        "Allocation file (JSON)", ["json"], key=f"{key}-upload", max_upload_size=_MAX_MIB
    )
    pasted = st.text_area(
        "or paste it",
        key=f"{key}-pasted",
        height=120,
        placeholder='{"allocation": {"layer name": "w4a8", ...}}',
    )
    if upload is None and not pasted.strip():
        st.info(f"The file names a format for each of the {len(page.table.layers)} layers.")
        return None
    try:
        text = pasted if upload is None else _text(upload.getvalue())
        allocation = read_allocation(text, page.table)
        return Chosen(allocation, file=spelling(page, allocation))
    except AnalysisError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _text(content: bytes) -> str:
    if len(content) > _MAX_MIB * 2**20:
        raise QuantizationError(
            f"An allocation file must not exceed {_MAX_MIB} MiB, got {len(content) / 2**20:.1f}. "
            "Choose the file that this page or the command line wrote."
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise QuantizationError(
            f"An allocation file must be UTF-8 text, byte {error.start} is not. "
            "Choose the file that this page or the command line wrote."
        ) from error
