"""What a method changed in every layer, against rounding to nearest."""

from dataclasses import dataclass

import numpy as np

from analysis.records.base import FloatArray, IntArray, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery(Record):
    r"""Every layer of a quantized network beside what rounding to nearest makes of it, (L,).

    ``moved`` is the share of the layer's ``weights`` whose code is not the one that rounding to
    nearest gives, NaN where the weights stay float. ``before`` (rounded to
    nearest, with the same formats and settings) and ``after`` (by the method) are errors of the
    layer's output, before its activation is quantized, while the whole network is quantized: those
    of all layers before it are in them. They are relative to how much the float output varies,
    :math:`\sum \lVert \hat z - z \rVert^2 / \sum \lVert z - \bar z \rVert^2` over ``n`` calibration
    samples, NaN where it does not. ``split`` names the layers whose weights are in two parts; of
    them the fine part's codes are counted, against those nearest on its own grid.
    """

    method: str
    layers: tuple[str, ...]
    weights: IntArray
    moved: FloatArray
    before: FloatArray
    after: FloatArray
    n: int
    calibration: str
    seconds: float
    split: tuple[str, ...] = ()
    schema: int = 1

    @property
    def share(self) -> float:
        """Share of all quantized weights that moved, NaN where none is quantized."""
        known = np.isfinite(self.moved)
        total = int(self.weights[known].sum())
        return float((self.moved * self.weights)[known].sum()) / total if total else float("nan")

    @property
    def gain(self) -> FloatArray:
        """How much smaller the error became, in dB (L,); NaN where there was or is none."""
        known = (self.before > 0) & (self.after > 0)
        ratio = np.divide(self.before, self.after, out=np.ones_like(self.before), where=known)
        return np.where(known, 10 * np.log10(ratio), np.nan)
