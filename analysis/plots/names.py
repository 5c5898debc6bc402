"""Names of configurations in figures: without what all of them share, and told apart."""

from collections.abc import Sequence

LONGEST = 34
# What a configuration is where its name says nothing else; the table beside the figure says it.
_USUAL = ("nearest", "ends w8a8")


def short_names(names: Sequence[str], longest: int = LONGEST) -> tuple[str, ...]:
    """Shorten names that are lists of words such as ``uniform w4a8, ends w8a8, nearest``.

    Parts that all names share are dropped, then those that are as usual; what is still too long
    loses its middle. Names stay different from each other, as long as that takes.

    Args:
        names: Different names.
        longest: Characters that a name should not exceed; exceeded where names would be equal.
    """
    parts = [name.split(", ") for name in names]
    shared = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    for word in (*sorted(shared), *_USUAL):
        parts = _without(word, parts)
    texts = [", ".join(each) for each in parts]
    for limit in range(max(longest, 3), max(map(len, texts), default=0) + 1):
        short = [_ellipsis(text, limit) for text in texts]
        if len(set(short)) == len(texts):
            return tuple(short)
    return tuple(texts)


def _without(word: str, names: list[list[str]]) -> list[list[str]]:
    """Return the names without a word, unchanged where one would be empty or equal another."""
    shorter = [[part for part in name if part != word] for name in names]
    different = len({tuple(name) for name in shorter}) == len(names)
    return shorter if different and all(shorter) else names


def _ellipsis(text: str, longest: int) -> str:
    """Cut the middle out of a text, keeping as much of either end."""
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[len(text) - tail :]}"
