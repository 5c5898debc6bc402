"""Tasks for post-training methods on small networks."""

from torch import Tensor

from analysis.models.network import Network
from analysis.ptq import PTQTask
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
