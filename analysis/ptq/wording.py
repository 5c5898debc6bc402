"""Words that the notes of several methods share."""

from collections.abc import Iterator

from analysis.events import Note

# Fewer samples than this are learnt by heart.
FEW = 256


def sample_count(n: int, what: str = "") -> str:
    """Return a number of samples, ``1 held-out sample`` or ``1,024 held-out samples``."""
    return f"{n:,} {what}{' ' if what else ''}sample{'' if n == 1 else 's'}"


def few(n: int, how: str) -> Iterator[Note]:
    """Warn where a method learns from few samples.

    Args:
        n: How many samples.
        how: What happens to them, as a participle: "trained on".
    """
    if n < FEW:
        yield Note(
            f"Only {sample_count(n)} {'is' if n == 1 else 'are'} {how}, fewer than {FEW}: what "
            f"{'it teaches' if n == 1 else 'they teach'} may not carry over. Use more calibration "
            "samples."
        )


def percent(share: float) -> str:
    """Return a share as a percentage, small ones with two digits: ``12.36%``, ``0.0047%``."""
    if share == 0 or share >= 1e-3:
        return f"{share:.2%}"
    return f"{100 * share:.2g}%"


def mebibytes(mib: float) -> str:
    """Return a size, small ones with two digits: ``1,024 MiB``, ``0.031 MiB``."""
    return f"{mib:,.0f} MiB" if mib >= 10 or mib == 0 else f"{mib:.2g} MiB"
