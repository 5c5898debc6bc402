import subprocess
import sys

import torch

from analysis.initialization.adam import Adam

# Trains one step and says whether that loaded what takes seconds to load.
LOADED = """
import sys, torch
from analysis.initialization import worker
from analysis.initialization.adam import Adam
x = torch.ones(2, requires_grad=True)
optimizer = Adam([x])
(x * x).sum().backward()
optimizer.step(0.1)
print([name for name in ("torch._dynamo", "scipy.stats") if name in sys.modules])
"""


def test_steps_are_those_of_torch_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 3), (7,), (4, 2, 3, 3))
    start = [torch.randn(shape, generator=generator) for shape in shapes]
    target = [torch.randn(shape, generator=generator) for shape in shapes]
    ours, theirs = ([p.clone().requires_grad_() for p in start] for _ in range(2))
    mine, other = Adam(ours), torch.optim.Adam(theirs, fused=True)
    for step in range(20):
        rate = 0.1 / (1 + step)
        other.param_groups[0]["lr"] = rate
        for parameters in (ours, theirs):
            loss = sum(((p - t) ** 4).sum() for p, t in zip(parameters, target, strict=True))
            loss.backward()
        mine.step(rate)
        other.step()
        mine.forget()
        other.zero_grad()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(ours, start, strict=True))


def test_a_worker_that_trains_loads_neither_a_compiler_nor_statistics():
    said = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"
