"""What stands out among the distributions of a network, in words, and what may help."""

from collections.abc import Iterator
from math import log2

from analysis.distributions.channel_findings import channel_findings, wide_channels
from analysis.distributions.finding import DATA, LAYER, OTHER, Finding, Seen
from analysis.distributions.tensor_findings import constant, tensor_findings
from analysis.records import Distributions
from analysis.records.distributions import INPUT, POST_ACTIVATION, PRE_ACTIVATION, WEIGHT

# Healthy networks vary by a factor of two or three from layer to layer: 8 is out of the ordinary.
JUMP_BITS = 3.0
# What the samples are called where a layer reads them.
SAMPLES = "network input"


def findings(found: Distributions, bits: int = 8) -> tuple[Finding, ...]:
    """Return what stands out, the worst first.

    Severities are in bits, so that kinds can be ranked against each other: the bits that a grid
    over the whole range loses. Where a finding loses none it counts what exceeds its threshold, one
    bit for every doubling, and dead channels count the bits by which they thin the layer out.

    Weights, inputs and outputs behind the activation function are looked at, each tensor once,
    under the first layer that has it. Pre-activations are left out where they are nothing else: no
    layer reads them, so they have no grid.

    Args:
        found: The distributions of a network.
        bits: Bits of the grids; no finding can cost more than all of them.
    """
    seen = _tensors(found, bits)
    every: list[Finding] = []
    for tensor in seen.values():
        every.extend(_within(tensor) if tensor.values.range > 0 else [constant(tensor)])
    every.extend(_jumps(found, seen))
    return tuple(sorted(every, key=lambda finding: -finding.severity))


def _tensors(found: Distributions, bits: int) -> dict[int, Seen]:
    seen: dict[int, Seen] = {}
    made = {p.tensor for p in found.places if p.role in (PRE_ACTIVATION, POST_ACTIVATION)}
    for place in found.places:
        if place.tensor >= 0 and place.role != PRE_ACTIVATION and place.tensor not in seen:
            values = found.tensors[place.tensor]
            other = DATA if values.title == SAMPLES else OTHER
            maker = LAYER if place.role == WEIGHT or place.tensor in made else other
            seen[place.tensor] = Seen(place.layer, place.role, values, bits, maker)
    return seen


def _within(seen: Seen) -> Iterator[Finding]:
    wide = wide_channels(seen)
    yield from channel_findings(seen, wide)
    yield from tensor_findings(seen, wide.bits if wide else 0.0)


def _jumps(found: Distributions, seen: dict[int, Seen]) -> Iterator[Finding]:
    """Ranges far above or far below those of both neighbours, along the layers of each role."""
    told: set[int] = set()
    for role in (WEIGHT, INPUT, POST_ACTIVATION):
        ids = (place.tensor for place in found.places if place.role == role and place.tensor >= 0)
        row = [i for i in dict.fromkeys(ids) if seen[i].values.range > 0]
        logs = [log2(seen[i].values.range) for i in row]
        for at, tensor in enumerate(row):
            if len(row) < 3 or tensor in told:
                continue
            # The first and the last have two neighbours on one side.
            near = sorted(range(len(row)), key=lambda other, at=at: abs(other - at))[1:3]  # type: ignore[misc]
            ratios = [logs[at] - logs[other] for other in near]
            least = min(ratios, key=abs)
            if abs(least) >= JUMP_BITS and min(ratios) * max(ratios) > 0:
                told.add(tensor)
                ends = {0: "behind", len(row) - 1: "before"}
                yield _jump(seen[tensor], least, ends.get(at, "before or behind"))


def _jump(seen: Seen, ratio: float, side: str) -> Finding:
    verb = "span" if seen.role == WEIGHT else "spans"
    size, times = f"{seen.values.range:.2g}", f"at least {2 ** abs(ratio):.2g} times as much"
    if ratio > 0:
        text = f"{seen.name} {verb} {size}, {times} as those of the layers beside it"
    else:
        text = f"{seen.name} {verb} {size} only: those of the layers beside it span {times}"
    if ratio < 0:
        remedy = "Check that the layer has learnt something; a range of its own costs it no bits"
    elif seen.role == WEIGHT:
        remedy = f"Try cross-layer equalization with the layer {side}"
    elif seen.role == POST_ACTIVATION and seen.values.value("low") >= 0:
        remedy = f"{seen.evened_out}, or bound the ReLU"
    else:
        remedy = f"{seen.evened_out}, or more bits"
    return seen.finding("range_jump", abs(ratio) - JUMP_BITS, text, remedy)
