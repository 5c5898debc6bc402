"""How a network is quantized: what a step that needs a quantized network is told."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from analysis.commands import changed_options, changed_settings, command_line
from analysis.events import Note, Work, noted
from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.options import Options, as_dict
from analysis.parts import TimedParts
from analysis.ptq import PTQ_METHODS, PTQTask
from analysis.ptq.nearest import nearest
from analysis.ptq.task import TRAINED
from analysis.ptq.trained import from_arrays, to_arrays
from analysis.quant.configure import Estimates, Quantization, check_allocation, plan_of
from analysis.quant.estimators import check_ranges
from analysis.records import Allocation, QuantSettings, Study, Trained
from analysis.steps import Step, StoredParts
from analysis.workflow.elements import element_versions, scores_for
from analysis.workflow.opening import model_inputs, statistics
from analysis.workflow.recalibrating import check_recalibrations, recalibrated, versions
from analysis.workspace import Workspace, calibration_inputs

DEFAULTS = QuantSettings()


@dataclass(frozen=True, slots=True)
class Recipe:
    """An allocation and how it is realised.

    Args:
        allocation: Format of every layer.
        method: A registered post-training method.
        options: The method's options; None for its defaults.
        settings: How formats become quantizers.
        recalibrations: Applied in this order before anything else, each spelled with its options
            as ``absorption:padding=interior`` (see :mod:`analysis.spelling`).
        file: Allocation file that the equal command line names.

    Raises:
        UnknownNameError: If there is no such method, recalibration, option or range estimator.
        OptionError: If an option of a recalibration cannot be read or lies outside its range.
        QuantizationError: If the range estimator of activations is one for weights alone.
    """

    allocation: Allocation
    method: str = "nearest"
    options: Options | None = None
    settings: QuantSettings = DEFAULTS
    recalibrations: tuple[str, ...] = ()
    file: str = "allocation.json"

    def __post_init__(self) -> None:
        """Check the names; recalibrations get their one spelling."""
        PTQ_METHODS[self.method]
        check_ranges(self.settings)
        object.__setattr__(self, "recalibrations", check_recalibrations(self.recalibrations))

    @property
    def chosen(self) -> Options:
        """The method's options, defaults filled in."""
        return PTQ_METHODS[self.method].options() if self.options is None else self.options

    @property
    def version(self) -> int:
        """Version of the method, for keys."""
        return PTQ_METHODS[self.method].version

    @property
    def key(self) -> dict[str, Any]:
        """Everything that was chosen, for keys."""
        return {
            "allocation": {n: c.text for n, c in self.allocation.as_dict().items()},
            "method": self.method,
            "options": as_dict(self.chosen),
            "settings": asdict(self.settings),
            **element_versions(self.settings),
            **versions(self.recalibrations),
        }

    @property
    def flags(self) -> dict[str, Any]:
        """Flags of the equal command line."""
        return {
            "allocation": self.file,
            "method": self.method,
            "recalibrate": ",".join(self.recalibrations),
            **changed_options(method=self.chosen),
            **changed_settings(self.settings),
        }


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantized network, live: the network that was quantized, its quantizers, and their plan."""

    network: Network
    quantization: Quantization
    plan: Plan


def quantized(workspace: Workspace, study: Study, recipe: Recipe) -> Work[Quantized]:
    """Quantize the network by a recipe; the result is live and not stored.

    Raises:
        QuantizationError: If the allocation does not fit the model.
    """
    loaded = workspace.live(study)
    check_allocation(loaded.network, recipe.allocation)
    network = yield from recalibrated(workspace, study, recipe.recalibrations)
    task = yield from _task(workspace, study, recipe, network)
    method = PTQ_METHODS[recipe.method]
    if TRAINED in method.needs:
        made = yield from training(workspace, study, recipe).need(workspace.store)
        for note in made.notes:
            yield Note(note)
        start = yield from nearest(task, Options())
        found = from_arrays(network, start, made.arrays)
    else:
        found = yield from method.function(task, recipe.chosen)
    return Quantized(network, found, plan_of(network, found, recipe.settings))


def training(workspace: Workspace, study: Study, recipe: Recipe) -> Step[Trained]:
    """Train a network by a recipe whose method trains.

    Its state is kept on the way: interrupted, it goes on where it was and ends with the same
    result.
    """

    def work(parts: StoredParts) -> Work[Trained]:
        timed = TimedParts(parts)
        network = yield from recalibrated(workspace, study, recipe.recalibrations)
        task = yield from _task(workspace, study, recipe, network)
        task = replace(task, parts=timed)
        method = PTQ_METHODS[recipe.method]
        found, notes = yield from noted(method.function(task, recipe.chosen))
        return Trained(
            arrays=to_arrays(network, found),
            logged=found.logged,
            log=found.log,
            notes=notes,
            seconds=timed.seconds,
        )

    return Step(
        name="train",
        version=recipe.version,
        title=PTQ_METHODS[recipe.method].title,
        command=command_line("quantize", study.spec, recipe.flags),
        record=Trained,
        inputs=model_inputs(study) | {"calibration": study.calibration.digest},
        options=recipe.key,
        work=work,
    )


def _task(workspace: Workspace, study: Study, recipe: Recipe, network: Network) -> Work[PTQTask]:
    loaded = workspace.live(study)
    ranges = yield from statistics(workspace, study, recipe.recalibrations).need(workspace.store)
    scores = yield from scores_for(
        workspace, study, recipe.settings, recipe.allocation.candidates, recipe.recalibrations
    )
    return PTQTask(
        network=network,
        allocation=recipe.allocation,
        settings=recipe.settings,
        statistics=ranges,
        inputs=calibration_inputs(loaded),
        n=study.calibration.n,
        estimates=loaded.estimates.setdefault(recipe.recalibrations, Estimates()),
        element_scores=scores,
    )
