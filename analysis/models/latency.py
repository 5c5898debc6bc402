"""How long a layer takes by a latency table: three rules of lookup, then nothing.

1. A row that names the layer: the time of the layer, all its calls.
2. Else rows of an equal shape (:func:`shape_text`): the mean time of one call, times the layer's
   calls.
3. Else between rows of the same kind and candidate: the time of one call lies on the straight line
   over the multiply-accumulates between the nearest row below and the nearest above. Nothing is
   extrapolated. Rows of transposed convolutions take no part by shape alone, which does not tell
   their multiply-accumulates.

Times are whole nanoseconds.
"""

from fractions import Fraction
from math import prod

from analysis.errors import AllocationError
from analysis.records import Candidate, LatencyRow, LatencyTable, Layer, LayerTable

NS_PER_MS = 10**6


def shape_text(layer: Layer) -> str:
    """Spell a layer's shape: ``conv2d:64x3x7x7:64x112x112``, kind, weight and output of a sample.

    Layers of one spelling count as equally fast; their strides and groups mostly follow from it.
    """
    return ":".join((layer.kind, _sizes(layer.weight_shape), _sizes(layer.output_shape)))


class Lookup:
    """The times of a network's layers by a latency table.

    Raises:
        AllocationError: If a row names a layer and gives it another shape.
    """

    def __init__(self, table: LayerTable, latency: LatencyTable) -> None:
        layers = {layer.name: layer for layer in table.layers}
        self._named: dict[tuple[str, Candidate], int] = {}
        self._shaped: dict[tuple[str, Candidate], list[Fraction]] = {}
        self._points: dict[tuple[str, Candidate], list[tuple[Fraction, Fraction]]] = {}
        for row in latency.rows:
            layer = layers.get(row.layer)
            calls = 1 if layer is None else len(layer.calls)
            if layer is not None:
                if row.shape not in ("", shape_text(layer)):
                    raise AllocationError(
                        f"A row of a latency table that names a layer must have its shape, "
                        f"`{row.layer}` has {shape_text(layer)}, got {row.shape}. Was the table "
                        f"made for another model?"
                    )
                self._named[row.layer, row.candidate] = row.ns
            one_call = Fraction(row.ns, calls)
            if row.shape:
                self._shaped.setdefault((row.shape, row.candidate), []).append(one_call)
            kind, macs = _work(row, layer)
            if macs is not None:
                self._points.setdefault((kind, row.candidate), []).append((macs, one_call))

    def ns(self, layer: Layer, candidate: Candidate) -> int | None:
        """Return the time of a layer with a candidate, None if the table does not tell it."""
        if (named := self._named.get((layer.name, candidate))) is not None:
            return named
        if (shaped := self._shaped.get((shape_text(layer), candidate))) is not None:
            return round(sum(shaped) / len(shaped) * len(layer.calls))
        points = self._points.get((layer.kind, candidate), [])
        wanted = Fraction(layer.macs, len(layer.calls))
        below = [p for p in points if p[0] <= wanted]
        above = [p for p in points if p[0] >= wanted]
        if not below or not above:
            return None
        low, high = max(p[0] for p in below), min(p[0] for p in above)
        start, end = _mean(below, low), _mean(above, high)
        share = (wanted - low) / (high - low) if high > low else Fraction(0)
        return round((start + (end - start) * share) * len(layer.calls))


def known_times(
    table: LayerTable, latency: LatencyTable, candidates: tuple[tuple[Candidate, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    """Return the time of every candidate of every layer in nanoseconds.

    Raises:
        AllocationError: If the table does not tell one of them, naming the layers.
    """
    lookup = Lookup(table, latency)
    missing: dict[str, list[str]] = {}
    found = []
    for layer, own in zip(table.layers, candidates, strict=True):
        times = [lookup.ns(layer, c) for c in own]
        found.append(tuple(ns for ns in times if ns is not None))
        for candidate, ns in zip(own, times, strict=True):
            if ns is None:
                missing.setdefault(candidate.text, []).append(layer.name)
    if missing:
        listed = "; ".join(f"{text}: {_few(names)}" for text, names in missing.items())
        raise AllocationError(
            f"A latency table must tell the time of every layer and candidate that can be chosen, "
            f"by name, by shape or between two rows of the same kind; {latency.source} misses "
            f"{listed}. Add rows, or choose other candidates."
        )
    return tuple(found)


def unread_rows(table: LayerTable, latency: LatencyTable) -> str:
    """Say which rows name layers that the network does not have; empty if none do.

    A row that also gives a shape is read by its shape.
    """
    names = dict.fromkeys(
        row.layer for row in latency.rows if not row.shape and row.layer not in table.names
    )
    if not names:
        return ""
    return (
        f"{latency.source} names layers that the network does not have, which are not read: "
        f"{_few(list(names))}."
    )


def _work(row: LatencyRow, layer: Layer | None) -> tuple[str, Fraction | None]:
    """Return the kind and the multiply-accumulates of one call, None where a row has none."""
    if layer is not None:
        return layer.kind, Fraction(layer.macs, len(layer.calls))
    kind, *sizes = row.shape.split(":")
    if len(sizes) != 2 or kind.startswith("conv_transpose"):
        return kind, None
    weight, output = ([int(n) for n in part.split("x")] for part in sizes)
    return kind, Fraction(prod(weight[1:]) * prod(output))


def _mean(points: list[tuple[Fraction, Fraction]], macs: Fraction) -> Fraction:
    times = [ns for at, ns in points if at == macs]
    return sum(times, Fraction(0)) / len(times)


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _few(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
