"""Peak memory in MiB of a float training or of EPTQ, beyond what was there before: `make bench`."""

import resource
import sys
from pathlib import Path

import torch

from analysis.models.network import build_network
from analysis.options import build
from analysis.ptq import PTQ_METHODS
from analysis.records import QuantSettings
from tests.reference.cifar_resnet20 import CifarResNet20
from tests.reference.quantizing import task_of
from tests.reference.work import finish

BATCH, STEPS = 32, 6


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    torch.manual_seed(0)
    model = CifarResNet20().eval()
    x = torch.randn(8 * BATCH, 3, 32, 32)
    if sys.argv[1] == "float":
        before = resident()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
        for step in range(STEPS):
            optimizer.zero_grad()
            rows = slice(step * BATCH, (step + 1) * BATCH)
            torch.autograd.backward(model(x[rows]).logsumexp(1).sum())
            optimizer.step()
    else:
        network = build_network(model.requires_grad_(False), x[:2])
        task = task_of(network, x, "w4a8", QuantSettings(activation_range="min_max"))
        method = PTQ_METHODS["eptq"]
        before = resident()
        options = {"steps": STEPS, "batch_size": BATCH, "memory_mib": 0}
        finish(method.function(task, build(method.options, options)))
    print(peak() - before)


main()
