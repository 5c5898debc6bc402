"""From a study's network to one whose distributions were changed before it is quantized."""

from collections.abc import Sequence

from analysis.events import Note, Work, noted
from analysis.models.network import Network
from analysis.recalibration import RECALIBRATIONS, RecalibrationTask
from analysis.records import Study
from analysis.spelling import canonical, read
from analysis.workspace import Workspace, calibration_inputs


def check_recalibrations(names: Sequence[str]) -> tuple[str, ...]:
    """Return names with options, such as ``absorption:padding=interior``, in their one spelling.

    Raises:
        UnknownNameError: If there is no such recalibration or option.
        OptionError: If an option's value cannot be read or lies outside its range.
    """
    return tuple(canonical(RECALIBRATIONS, name) for name in names)


def versions(names: Sequence[str]) -> dict[str, object]:
    """Return what identifies recalibrations in a key, nothing for none."""
    every = check_recalibrations(names)
    found = [[name, read(RECALIBRATIONS, name)[0].version] for name in every]
    return {"recalibrations": found} if found else {}


def recalibrated(workspace: Workspace, study: Study, names: Sequence[str]) -> Work[Network]:
    """Return the study's network after the named recalibrations, in this order.

    The network is kept with the loaded study: pages ask for it again and again.

    Args:
        workspace: Where to work.
        study: The study.
        names: Recalibrations with their options, as :mod:`analysis.spelling` writes them.

    Raises:
        UnknownNameError: If there is no such recalibration or option.
        OptionError: If an option's value cannot be read or lies outside its range.
    """
    loaded = workspace.live(study)
    network, names = loaded.network, check_recalibrations(names)
    for place, name in enumerate(names, start=1):
        done = names[:place]
        if done not in loaded.recalibrated:
            task = RecalibrationTask(network, calibration_inputs(loaded), study.calibration.n)
            method, options = read(RECALIBRATIONS, name)
            made = yield from noted(method.function(task, options))
            loaded.recalibrated[done] = made
        else:
            for text in loaded.recalibrated[done][1]:
                yield Note(text)
        network, _ = loaded.recalibrated[done]
    return network
