"""Ways to quantize a layer, and how formats become quantizers."""

import re
from dataclasses import dataclass

from analysis.errors import QuantizationError
from analysis.records.base import Record

FLOAT = "float"

_CANDIDATE = re.compile(
    r"^w(?P<weight>float|[a-z]*[A-Za-z]*\d+\w*?)a(?P<activation>float|[a-z]*[A-Za-z]*\d+\w*)$"
)


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """One way to quantize a layer: the format of its weight and of the activation it reads.

    Formats are names of :mod:`analysis.quant.formats` ("int4"), or ``float`` for untouched.
    """

    weight: str
    activation: str

    @classmethod
    def parse(cls, text: str) -> "Candidate":
        """Read the short text form: ``w4a8``, ``wfloata8``, ``float``.

        Raises:
            QuantizationError: If the text has another form.
        """
        if text == FLOAT:
            return cls(FLOAT, FLOAT)
        match = _CANDIDATE.match(text)
        if match is None:
            raise QuantizationError(
                f"A candidate must look like `w4a8` (weight format, activation format) or `float`, "
                f"got `{text}`."
            )
        return cls(*(f"int{part}" if part.isdigit() else part for part in match.groups()))

    @property
    def text(self) -> str:
        """The short text form."""
        if self.weight == self.activation == FLOAT:
            return FLOAT
        weight, activation = (
            name.removeprefix("int") if name.startswith("int") else name
            for name in (self.weight, self.activation)
        )
        return f"w{weight}a{activation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantSettings(Record):
    """How formats become quantizers, the same for every layer.

    ``scope`` is ``tensor`` (every reader of a quantized tensor sees the quantized values) or
    ``layer_input`` (only the layer that reads it does). Range estimators are names of
    :mod:`analysis.quant.ranges`, ``percentile`` is the percentage used where it is chosen.
    ``pin_first_last`` holds the first and the last layer at 8 bits.
    """

    scope: str = "tensor"
    weight_range: str = "mse"
    activation_range: str = "mse"
    percentile: float = 99.9
    per_channel: bool = True
    pin_first_last: bool = True
