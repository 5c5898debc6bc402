"""What a step needs before it starts: threads, device, store, study."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch

from analysis import workflow
from analysis.allocation_file import read_allocation, uniform_allocation
from analysis.cli.output import check_place
from analysis.cli.parser import Call
from analysis.cli.progress import Reporter
from analysis.commands import DEMO, default_name
from analysis.errors import (
    AllocationError,
    AnalysisError,
    OptionError,
    QuantizationError,
    UnknownNameError,
)
from analysis.latency.table_file import load_latency
from analysis.options import Options, build
from analysis.quant.estimators import RANGE_ESTIMATORS, check_ranges
from analysis.quant.formats import bits_of
from analysis.records import (
    Allocation,
    Candidate,
    LatencyTable,
    LayerTable,
    QuantSettings,
    ScoreTable,
    Study,
    StudySpec,
)
from analysis.steps import Step
from analysis.study import absolute_spec, read_spec
from analysis.workflow.recalibrating import check_recalibrations
from analysis.workspace import Workspace
from cache.layout import default_root
from cache.store import Store

T = TypeVar("T")

_PARTS = (
    "model", "weights", "calibration", "evaluation", "normalize", "input_size", "samples",
    "evaluation_samples", "seed",
)  # fmt: skip
_INTO_FOLDERS = ("export", "demo")  # steps whose ``--out`` may be a folder, made if need be
UNIFORM = "uniform:"


@dataclass(slots=True)
class Session:
    """A command with its workspace; the study is loaded when it is first asked for."""

    call: Call
    workspace: Workspace
    reporter: Reporter = field(default_factory=Reporter)
    _study: Study | None = None

    @property
    def study(self) -> Study:
        """The study that the command names.

        Raises:
            AnalysisError: If it cannot be loaded.
        """
        if self._study is None:
            spec = study_spec(self.call)
            self._study = self.reporter.work(workflow.open_study(self.workspace, spec))
            loaded = self._study
            notes = (*loaded.notes, *loaded.calibration.notes, *loaded.evaluation.notes)
            for note in dict.fromkeys(notes):
                print(f"note: {note}", file=self.reporter.stream)
        return self._study

    @property
    def table(self) -> LayerTable:
        """The layers of the study, which opening it observed."""
        return self.workspace.live(self.study).network.table

    def run(self, step: Step[T]) -> tuple[T, bool]:
        """Run a step; return its result and whether it was stored already."""
        return self.reporter.run(step.events(self.workspace.store))

    def scores(
        self,
        metric: str,
        options: Options | None,
        candidates: tuple[Candidate, ...],
        settings: QuantSettings,
    ) -> Step[ScoreTable]:
        """Return the step whose scores a solver chooses by."""
        return workflow.score(
            self.workspace,
            self.study,
            metric,
            options=options,
            candidates=candidates,
            settings=settings,
        )

    def allocation(self, text: str) -> Allocation:
        """Return the allocation that ``--allocation`` names: a file, or ``uniform:w4a8``.

        Raises:
            QuantizationError: If the file cannot be read or does not fit the model.
        """
        if text.startswith(UNIFORM):
            with usage(self.call):
                candidate = read_candidates(text.removeprefix(UNIFORM))[0]
            held = not self.call.args.release_first_last
            return uniform_allocation(self.table, candidate, pin_first_last=held)
        try:
            content = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise QuantizationError(
                f"The allocation must be a readable file or `uniform:w4a8`, got `{text}`: {reason}."
            ) from error
        return read_allocation(content, self.table)


@contextmanager
def opened(call: Call) -> Iterator[Session]:
    """Set threads and device, open the store, and remove it afterwards if none was wanted.

    Raises:
        AnalysisError: If there is no such device, or the output file cannot be written.
    """
    args = call.args
    if args.no_cache and args.cache_dir is not None:
        call.refuse("`--no-cache` and `--cache-dir` exclude each other.")
    for place in ("out", "out_model"):
        if call.step not in _INTO_FOLDERS and getattr(args, place, None) is not None:
            check_place(Path(getattr(args, place)))
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise AnalysisError(
            "`--device cuda` must find a CUDA device that torch can use, got none. Use "
            "`--device cpu`."
        )
    with ExitStack() as stack:
        if args.no_cache:
            root = Path(stack.enter_context(TemporaryDirectory(prefix="bitlens-")))
        else:
            root = store_root(args.cache_dir)
        yield Session(call, Workspace(Store(root), allow_factory=True, device=args.device))


def store_root(chosen: str | None) -> Path:
    """Return the folder of the store: the one that was named, else the usual one."""
    return default_root() if chosen is None else Path(chosen).expanduser()


def study_spec(call: Call) -> StudySpec:
    """Return the study that a command names, its paths absolute.

    Raises:
        StudyError: If the study file cannot be read.
    """
    args = call.args
    given = {name: getattr(args, name) for name in _PARTS if getattr(args, name) is not None}
    if args.study is not None:
        spec = absolute_spec(read_spec(args.study), Path(args.study).parent)
    else:
        model = given.get("model", DEMO.model)
        spec = replace(DEMO, model=model, name=default_name(model))
        if not model.startswith("demo:"):
            missing = [f"--{n}" for n in ("calibration", "evaluation") if n not in given]
            if missing:
                call.refuse(f"`--model {model}` must come with {' and '.join(missing)}.")
            spec = replace(spec, normalize="none")
    if call.step == "study" and args.name:
        given["name"] = args.name
    spec = replace(spec, **given)
    return absolute_spec(spec, None)


def settings(call: Call) -> QuantSettings:
    """Return the quantizer settings that a command names."""
    args = call.args
    given = {
        name: getattr(args, name)
        for name in ("scope", "weight_range", "activation_range", "percentile")
        if getattr(args, name) is not None
    }
    with usage(call):
        check_ranges(QuantSettings(**given))
        if "percentile" in given:
            build(RANGE_ESTIMATORS["percentile"].options, {"percent": given["percentile"]})
    released = getattr(args, "release_first_last", False) and call.step != "allocate"
    return QuantSettings(**given, per_channel=not args.per_tensor, pin_first_last=not released)


def read_candidates(text: str) -> tuple[Candidate, ...]:
    """Read ``w2a8,w4a8``.

    Raises:
        QuantizationError: If one has another form.
        UnknownNameError: If one names no format.
    """
    found = tuple(Candidate.parse(part.strip()) for part in text.split(","))
    for candidate in found:
        bits_of(candidate.weight), bits_of(candidate.activation)
    return tuple(dict.fromkeys(found))


def read_pins(call: Call) -> dict[str, Candidate]:
    """Return the pins that a command names, each as ``LAYER=CANDIDATE``."""
    pins: dict[str, Candidate] = {}
    for text in call.args.pin:
        name, _, candidate = text.rpartition("=")
        if not name:
            call.refuse(f"A pin must look like `layer1.0.conv1=w8a8`, got `{text}`.")
        with usage(call):
            own = read_candidates(candidate)
        if len(own) != 1 or pins.get(name, own[0]) != own[0]:
            call.refuse(f"A layer must be pinned to one candidate, `{name}` is to several.")
        pins[name] = own[0]
    return pins


def read_ties(call: Call) -> tuple[tuple[str, ...], ...]:
    """Return the ties that a command names, each as layers between commas."""
    ties = tuple(tuple(part.strip() for part in text.split(",")) for text in call.args.tie)
    for text, own in zip(call.args.tie, ties, strict=True):
        if len(own) < 2 or not all(own):
            call.refuse(f"A tie must look like `layer1.0.conv1,layer1.0.conv2`, got `{text}`.")
    return ties


def read_times(call: Call) -> LatencyTable | None:
    """Return the times of the layers that a command names, if it names any.

    Raises:
        AllocationError: If the file cannot be read or is no latency table.
    """
    return None if call.args.latency is None else load_latency(Path(call.args.latency))


def read_recalibrations(call: Call) -> tuple[str, ...]:
    """Return the recalibrations that a command names; an unknown name or option is wrong usage."""
    names = tuple(filter(None, (part.strip() for part in call.args.recalibrate.split(","))))
    with usage(call):
        return check_recalibrations(names)


@contextmanager
def usage(call: Call) -> Iterator[None]:
    """Turn errors in what was typed, not in what it names, into wrong usage."""
    try:
        yield
    except (UnknownNameError, OptionError, QuantizationError, AllocationError) as error:
        call.refuse(str(error))
