"""The initialization lab: many training runs, each kept by itself, and the study they make up."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from analysis.catalog import study_key_inputs
from analysis.commands import DEMO, command_line
from analysis.data.dataset import Labels
from analysis.data.digits import load_split
from analysis.errors import DataError
from analysis.events import Note, Work
from analysis.initialization.digits import digits_lab_data
from analysis.initialization.failures import Yardstick, yardstick
from analysis.initialization.lab_data import SMALLEST, LabData
from analysis.initialization.pool import run_many
from analysis.initialization.settings import (
    BATCH_SIZE,
    DEFAULT_ARCHITECTURES,
    DEFAULT_INITIALIZERS,
    EPOCHS,
    LEARNING_RATE,
    RunSetting,
)
from analysis.records import InitRun, InitStudy, Study, StudySpec
from analysis.steps import Step, StoredParts
from analysis.workspace import Workspace, calibration_inputs, evaluation_inputs
from cache.store import Store

DIGITS, OF_STUDY = "digits", "study"
VERSION = 1
# Calibration samples on which ranges are estimated and activations followed.
_CALIBRATION = 256


@dataclass(frozen=True)
class Lab:
    """What runs are trained on: the embedded digits, or a study's images.

    A study's calibration set is trained on, its first samples are calibrated on, its evaluation set
    is evaluated on.

    Raises:
        DataError: On construction, if a set has no labels or its images are too small.
    """

    workspace: Workspace
    study: Study | None = None

    def __post_init__(self) -> None:
        """Check the labels, and that four convolutions at two resolutions have room."""
        if self.study is None:
            return
        shape = self.study.model.input_shape
        if len(shape) != 3 or min(shape[1:]) < SMALLEST:
            raise DataError(
                f"The lab's networks read images of {SMALLEST} x {SMALLEST} pixels at least, those "
                f"of {self.name} have shape {tuple(shape)}. Use the embedded digits, or a study of "
                "larger images."
            )
        for role, data in (
            ("calibration", self.study.calibration),
            ("evaluation", self.study.evaluation),
        ):
            if not data.labelled:
                raise DataError(
                    f"Networks are trained on labelled images, the study's {role} set has no "
                    "labels. Use the embedded digits, or give it labels."
                )

    @cached_property
    def data(self) -> LabData:
        """The images, loaded when they are first asked for."""
        if self.study is None:
            return digits_lab_data()
        loaded = self.workspace.live(self.study)
        n, m = self.study.calibration.n, self.study.evaluation.n
        train = calibration_inputs(loaded)(range(n)).cpu()
        labels, evaluated = loaded.calibration.labels, loaded.evaluation.labels
        assert labels is not None
        assert evaluated is not None
        return LabData(
            train,
            torch.tensor(labels),
            train[:_CALIBRATION],
            evaluation_inputs(loaded)(range(m)).cpu(),
            torch.tensor(evaluated),
            digest=self.study.calibration.digest,
        )

    @property
    def inputs(self) -> dict[str, str]:
        """What identifies the images, for keys."""
        if self.study is None:
            return {"data": DIGITS}
        inputs = study_key_inputs(self.study)
        return {name: inputs[name] for name in ("calibration", "evaluation", "normalization")}

    @property
    def spec(self) -> StudySpec:
        """What the command line names."""
        return DEMO if self.study is None else self.study.spec

    @property
    def name(self) -> str:
        """Name of the study, as everywhere that of its model where it was given none."""
        return self.spec.name or self.spec.model

    @property
    def title(self) -> str:
        """What a person calls the images."""
        return "the embedded digits" if self.study is None else self.name

    @cached_property
    def guessing(self) -> float:
        """Share of the most frequent class in the evaluation set."""
        if self.study is None:
            labels: Labels | None = load_split("evaluation")[1]
        else:
            labels = self.workspace.live(self.study).evaluation.labels
        assert labels is not None
        return float(np.bincount(labels).max() / len(labels))


def run_step(lab: Lab, setting: RunSetting) -> Step[InitRun]:
    """Describe one training run."""

    def work(parts: StoredParts) -> Work[InitRun]:
        del parts
        found: list[InitRun] = []
        yield from run_many([setting], lab.data, 1, lambda _, run: found.append(run))
        return found[0]

    return Step(
        name="init_run",
        version=VERSION,
        title=setting.title,
        command="",
        record=InitRun,
        inputs=lab.inputs,
        options=asdict(setting),
        work=work,
    )


def initialization(
    lab: Lab,
    initializers: Sequence[str] = DEFAULT_INITIALIZERS,
    architectures: Sequence[str] = DEFAULT_ARCHITECTURES,
    *,
    seeds: int = 3,
    epochs: int = EPOCHS,
    workers: int = 2,
) -> Step[InitStudy]:
    """Train networks from several initializers and record what becomes of ranges and accuracy.

    Every finished run is stored by itself: a study that was cancelled goes on where it stopped, and
    one with more seeds trains only those.

    Args:
        lab: What is trained on.
        initializers: Names, or ``normal:MEAN:STD`` and ``uniform:LOW:HIGH``.
        architectures: Names.
        seeds: Runs of each combination, from seed 0.
        epochs: Passes over the training images.
        workers: Processes; the results do not depend on them.

    Raises:
        UnknownNameError: If there is no such initializer or architecture.
        OptionError: If a number is outside its range.
    """
    settings = tuple(
        dict.fromkeys(
            RunSetting(
                initializer=initializer,
                architecture=architecture,
                seed=seed,
                epochs=epochs,
            )
            for seed in range(seeds)
            for architecture in architectures
            for initializer in initializers
        )
    )

    def work(parts: StoredParts) -> Work[InitStudy]:
        del parts
        store = lab.workspace.store
        runs = {setting: run_step(lab, setting).stored(store) for setting in settings}
        missing = [setting for setting, run in runs.items() if run is None]
        if 0 < len(missing) < len(settings):
            yield Note(f"{len(settings) - len(missing)} of {len(settings)} runs are kept.")

        def keep(setting: RunSetting, run: InitRun) -> None:
            step = run_step(lab, setting)
            store.put(step.key, run, step=step.name, inputs=step.inputs, options=step.options)
            runs[setting] = run

        if missing:
            yield from run_many(missing, lab.data, workers, keep)
        return InitStudy(runs=_ordered(runs.values()), data=lab.title)

    flags: dict[str, Any] = {
        "inits": ",".join(dict.fromkeys(s.initializer for s in settings)),
        "architectures": ",".join(architectures),
        "seeds": seeds,
        "epochs": epochs,
        "train-on": "" if lab.study is None else OF_STUDY,
    }
    return Step(
        name="initialization",
        version=VERSION,
        title=f"Initialization study of {len(settings)} runs",
        command=command_line("initialization", lab.spec, flags),
        record=InitStudy,
        inputs=lab.inputs,
        options={"runs": [asdict(setting) for setting in settings]},
        work=work,
    )


def finished_runs(store: Store, lab: Lab, step: Step[InitStudy]) -> InitStudy | None:
    """Return the runs of a study that are stored already, None where there are none."""
    settings = [RunSetting(**options) for options in step.options["runs"]]
    runs = _ordered(run_step(lab, setting).stored(store) for setting in settings)
    return InitStudy(runs=runs, data=lab.title) if runs else None


def judged(store: Store, lab: Lab, found: InitStudy) -> Yardstick:
    """Return what runs must come up to: more than guessing, and the best stored run of their kind.

    Of the same kind are runs of one architecture on the same images with the same epochs, learning
    rate and batches, whatever they were initialized from; so it does not matter which of them are
    looked at together.
    """
    seen = {(run.architecture, run.epochs) for run in found.runs}
    shown = {(run.initializer, run.architecture, run.seed, run.epochs) for run in found.runs}
    best: dict[str, float] = {}
    for entry in store.entries():
        if entry.step != "init_run":
            continue
        options = entry.options
        kind = (options["architecture"], options["epochs"])
        if kind not in seen or (options["initializer"], kind[0], options["seed"], kind[1]) in shown:
            continue
        setting = RunSetting(**options)
        usual = replace(setting, learning_rate=LEARNING_RATE, batch=BATCH_SIZE)
        if setting != usual or entry.key != run_step(lab, setting).key:
            continue
        run = store.get(entry.key, InitRun)
        if run is not None and not run.diverged:
            best[kind[0]] = max(best.get(kind[0], 0.0), run.float_accuracy)
    return yardstick(found, lab.guessing, best)


def _ordered(runs: Iterable[InitRun | None]) -> tuple[InitRun, ...]:
    """Return the runs that are there, by architecture and initializer in the order they came."""
    found = [run for run in runs if run is not None]
    architectures = list(dict.fromkeys(run.architecture for run in found))
    initializers = list(dict.fromkeys(run.initializer for run in found))
    return tuple(
        sorted(
            found,
            key=lambda run: (
                architectures.index(run.architecture),
                initializers.index(run.initializer),
                run.seed,
            ),
        )
    )
