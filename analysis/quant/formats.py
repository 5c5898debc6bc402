"""Number formats by name: what a code is, before any scale is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from analysis.errors import UnknownNameError
from analysis.records import FLOAT

FLOAT_BITS = 32


@dataclass(frozen=True, slots=True)
class IntFormat:
    """Integers of ``bits`` bits: the first kind of format, others come beside it."""

    name: str
    bits: int

    def grid(self, signed: bool) -> tuple[int, int]:
        """Return the inclusive integer limits ``(qmin, qmax)``.

        Signed codes are two's complement, [-2^(b-1), 2^(b-1) - 1]; unsigned ones [0, 2^b - 1].
        """
        if signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1


FORMATS: Mapping[str, IntFormat] = MappingProxyType(
    {f"int{bits}": IntFormat(f"int{bits}", bits) for bits in (2, 3, 4, 5, 6, 7, 8, 16)}
)


def get_format(name: str) -> IntFormat:
    """Return the format called ``name``.

    Raises:
        UnknownNameError: With the nearest names, if there is none. ``float`` is no format: it
            means that a tensor is left untouched.
    """
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return FORMATS[name]


def bits_of(name: str) -> int:
    """Return the bits of one code of a format; ``float`` counts 32.

    Raises:
        UnknownNameError: If there is no such format.
    """
    return FLOAT_BITS if name == FLOAT else get_format(name).bits
