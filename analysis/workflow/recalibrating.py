"""From a study's network to one whose distributions were changed before it is quantized."""

from collections.abc import Sequence

from analysis.events import Note, Work, noted
from analysis.models.network import Network
from analysis.recalibration import RECALIBRATIONS, RecalibrationTask
from analysis.records import Study
from analysis.workspace import Workspace, calibration_inputs


def check_recalibrations(names: Sequence[str]) -> None:
    """Check names.

    Raises:
        UnknownNameError: If there is no such recalibration.
    """
    for name in names:
        RECALIBRATIONS[name]


def versions(names: Sequence[str]) -> dict[str, object]:
    """Return what identifies recalibrations in a key, nothing for none."""
    return {"recalibrations": [[n, RECALIBRATIONS[n].version] for n in names]} if names else {}


def recalibrated(workspace: Workspace, study: Study, names: Sequence[str]) -> Work[Network]:
    """Return the study's network after the named recalibrations, in this order.

    The network is kept with the loaded study: pages ask for it again and again.

    Raises:
        UnknownNameError: If there is no such recalibration.
    """
    loaded = workspace.live(study)
    network = loaded.network
    for place, name in enumerate(names, start=1):
        done = tuple(names[:place])
        if done not in loaded.recalibrated:
            task = RecalibrationTask(network, calibration_inputs(loaded), study.calibration.n)
            method = RECALIBRATIONS[name]
            made = yield from noted(method.function(task, method.options()))
            loaded.recalibrated[done] = made
        else:
            for text in loaded.recalibrated[done][1]:
                yield Note(text)
        network, _ = loaded.recalibrated[done]
    return network
