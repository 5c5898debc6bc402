"""Live studies of this process: loaded once, shared by every session."""

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock

from torch import Tensor

from analysis.catalog import study_id
from analysis.data.dataset import Dataset
from analysis.errors import StudyError
from analysis.evaluation.checkpoints import Checkpoints
from analysis.models.network import Network, build_network
from analysis.quant.configure import Estimates
from analysis.records import Study, StudySpec
from analysis.study import open_study
from cache.store import Store

_KEPT = 2
# Activations of the last evaluation, per study in memory.
_CHECKPOINTS_MIB = 512.0


@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study with its network and data.

    ``recalibrated`` keeps the networks after recalibrations, by their names in order, with what
    was noted on the way, ``estimates`` their quantizers; ``checkpoints`` spare an evaluation what
    the one before has computed.
    """

    study: Study
    network: Network
    calibration: Dataset
    evaluation: Dataset
    recalibrated: dict[tuple[str, ...], tuple[Network, tuple[str, ...]]] = field(
        default_factory=dict, compare=False
    )
    estimates: dict[tuple[str, ...], Estimates] = field(default_factory=dict, compare=False)
    checkpoints: Checkpoints = field(
        default_factory=lambda: Checkpoints(_CHECKPOINTS_MIB), compare=False
    )

    def inputs(self, data: Dataset, samples: range) -> Tensor:
        """Return the preprocessed samples with the given numbers, (B, ...)."""
        x = data.to_tensor(samples, self.study.mean, self.study.std)
        return x.to(self.device)

    @property
    def device(self) -> str:
        """Where the model's parameters are."""
        return str(next(self.network.module.parameters()).device)


@dataclass(slots=True)
class Workspace:
    """The store, and the studies that are in memory (the last two).

    Args:
        store: Where results are kept.
        allow_factory: Whether every spec may name a ``factory:`` model: true for the command line,
            where the person who types it is the operator.
        device: ``cpu`` or ``cuda``.
    """

    store: Store
    allow_factory: bool = False
    device: str = "cpu"
    _loaded: OrderedDict[str, LoadedStudy] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def open(
        self, spec: StudySpec, *, base: Path | None = None, trusted: bool = False
    ) -> LoadedStudy:
        """Load a study from its files, whether or not it is in memory already.

        Args:
            spec: The study.
            base: Folder of the study file, where relative paths are looked up first.
            trusted: Whether the spec is the operator's own (a study file, a recorded study) and may
                therefore name a factory, whose code is run.

        Raises:
            AnalysisError: See :func:`analysis.study.open_study` and
                :func:`analysis.models.network.build_network`.
        """
        live = open_study(spec, allow_factory=self.allow_factory or trusted, base=base)
        module = live.module.to(self.device).requires_grad_(False)
        example = live.calibration.to_tensor(
            range(min(2, len(live.calibration))), live.study.mean, live.study.std
        )
        network = build_network(module, example.to(self.device), digest=study_id(live.study))
        loaded = LoadedStudy(live.study, network, live.calibration, live.evaluation)
        with self._lock:
            self._loaded[study_id(live.study)] = loaded
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
        return loaded

    def in_memory(self, study: Study) -> LoadedStudy | None:
        """Return a study if it need not be loaded."""
        with self._lock:
            found = self._loaded.get(study_id(study))
            if found is not None:
                self._loaded.move_to_end(study_id(study))
            return found

    def live(self, study: Study) -> LoadedStudy:
        """Return a study that was opened before, loading it again if it is not in memory.

        A recorded study may name a factory: only the operator can have opened it.

        Raises:
            StudyError: If its files have changed since.
        """
        found = self.in_memory(study)
        if found is not None:
            return found
        loaded = self.open(study.spec, trusted=True)
        if study_id(loaded.study) != study_id(study):
            raise StudyError(
                f"The files of study `{study.spec.name}` must be those it was opened with, but "
                "weights or data have changed since. Open the study again."
            )
        return loaded


def calibration_inputs(loaded: LoadedStudy) -> "partial[Tensor]":
    """Return the function from sample numbers to calibration samples."""
    return partial(loaded.inputs, loaded.calibration)


def evaluation_inputs(loaded: LoadedStudy) -> "partial[Tensor]":
    """Return the function from sample numbers to evaluation samples."""
    return partial(loaded.inputs, loaded.evaluation)
