"""What every record has in common."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Base of every record: arrays are copied and made read-only on construction."""

    def __post_init__(self) -> None:
        """Replace every array by a read-only copy."""
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                copy = np.array(value, order="C", copy=True)
                copy.flags.writeable = False
                object.__setattr__(self, f.name, copy)
