"""What holds the peak of activation memory, and how little of it bits can change."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.models.cost import BITS_PER_MIB, OTHER_BITS, group_bits
from analysis.records import LayerTable

# From this share on, choosing bits moves the peak less than it leaves.
MOSTLY = 0.5


@dataclass(frozen=True, slots=True)
class Peak:
    """The moment of the pass at which most activation memory is needed, per sample.

    ``at`` names the call. ``held`` are the tensors in memory then that some layer reads quantized:
    the names of those layers, and bits. ``unquantized`` are the bits of all others, 32 a value.
    ``floor`` is what no choice of bits gets below: the most unquantized bits of any moment.
    """

    at: str
    held: tuple[tuple[tuple[str, ...], int], ...]
    unquantized: int
    floor: int

    @property
    def bits(self) -> int:
        """All bits in memory at the peak."""
        return self.unquantized + sum(bits for _, bits in self.held)

    @property
    def share(self) -> float:
        """Share of the bits that belongs to tensors at 32 bits, in 0..1."""
        return self.unquantized / self.bits if self.bits else 0.0


def find_peak(table: LayerTable, activation_bits: Sequence[int]) -> Peak | None:
    """Find where the activation memory of a network is largest, the first of several moments.

    What lies in memory when is described in :mod:`analysis.models.schedule`.

    Args:
        table: The layers; None is returned for one without moments, as made by hand.
        activation_bits: Bits of the activation that each layer reads, shape (L,).

    Raises:
        QuantizationError: If there is not one number per layer.
    """
    bits, readers = group_bits(table, activation_bits), table.groups
    found = [
        Peak(
            at=moment.at,
            held=tuple(
                (readers[group], bits[group] * count)
                for group, count in zip(moment.groups, moment.elements, strict=True)
            ),
            unquantized=OTHER_BITS * moment.unquantized,
            floor=OTHER_BITS * max(each.unquantized for each in table.moments),
        )
        for moment in table.moments
    ]
    return max(found, key=lambda peak: peak.bits, default=None)


def peak_words(peak: Peak) -> str:
    """Say what holds the peak where most of it has 32 bits whatever is chosen, else nothing."""
    if peak.share < MOSTLY:
        return ""
    return (
        f"{100 * peak.share:.0f} % of the peak ({peak.bits / BITS_PER_MIB:.3g} MiB, at {peak.at}) "
        "is held by tensors that no layer reads, such as sums and what goes into them: their "
        f"values count {OTHER_BITS} bits. No choice of bits brings the peak below "
        f"{peak.floor / BITS_PER_MIB:.3g} MiB."
    )
