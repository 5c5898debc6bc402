"""Tasks for post-training methods on small networks."""

from torch import Tensor

from analysis.events import Note
from analysis.models.network import Network
from analysis.options import build
from analysis.ptq import PTQ_METHODS, PTQTask
from analysis.quant.configure import Quantization
from analysis.quant.statistics import collect_statistics
from analysis.records import Allocation, Candidate, QuantSettings
from tests.reference.work import finish


def task_of(network: Network, x: Tensor, text: str, settings: QuantSettings, **other) -> PTQTask:
    """A task in which every layer gets a candidate, those in ``other`` another."""
    names = network.table.names
    allocation = Allocation(
        layers=names, candidates=tuple(Candidate.parse(other.get(n, text)) for n in names)
    )
    statistics = finish(collect_statistics(network, lambda: [x], 1))
    return PTQTask(network, allocation, settings, statistics, lambda r: x[r.start : r.stop], len(x))


def quantize(task: PTQTask, name: str, **options: object) -> tuple[Quantization, list[str]]:
    """Run a registered method; return what it made and what it noted."""
    method = PTQ_METHODS[name]
    work = method.function(task, build(method.options, options))
    notes = []
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value, notes
        if isinstance(event, Note):
            notes.append(event.text)
