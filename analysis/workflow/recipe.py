"""How a network is quantized: what a step that needs a quantized network is told."""

from dataclasses import asdict, dataclass
from typing import Any

from analysis.commands import changed_options, changed_settings
from analysis.events import Work
from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.options import Options, as_dict
from analysis.ptq import PTQ_METHODS, PTQTask
from analysis.quant.configure import Estimates, Quantization, check_allocation, plan_of
from analysis.records import Allocation, QuantSettings, Study
from analysis.workflow.opening import statistics
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
        UnknownNameError: If there is no such method, recalibration or option.
        OptionError: If an option of a recalibration cannot be read or lies outside its range.
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
    ranges = yield from statistics(workspace, study, recipe.recalibrations).need(workspace.store)
    task = PTQTask(
        network=network,
        allocation=recipe.allocation,
        settings=recipe.settings,
        statistics=ranges,
        inputs=calibration_inputs(loaded),
        n=study.calibration.n,
        estimates=loaded.estimates.setdefault(recipe.recalibrations, Estimates()),
    )
    found = yield from PTQ_METHODS[recipe.method].function(task, recipe.chosen)
    return Quantized(network, found, plan_of(network, found, recipe.settings))
