"""What a ladder found in words."""

from analysis.records import Ladder


def verdict(found: Ladder) -> list[str]:
    """Say on every allocation which methods are better than the reference, and on what."""
    said = [_verdict(found, label) for label in found.allocations]
    what = "accuracy" if found.labelled else "agreement with float predictions"
    seeds = len(found.seeds)
    drawn = f"means over {seeds} seeds where a method draws" if seeds > 1 else "one seed"
    said.append(
        f"Paired differences of {what} on {found.n:,} evaluation samples, {drawn}; intervals hold "
        f"what {'samples and seeds vary' if seeds > 1 else 'samples vary, not other seeds'}."
    )
    said += [f"Not measured: {name}: {reason}" for name, reason in found.absent.items()]
    if not found.complete:
        said.append("The ladder is unfinished; the rest is missing.")
    return said


def _verdict(found: Ladder, label: str) -> str:
    better: list[str] = []
    worse: list[str] = []
    alike: list[str] = []
    for rung in found.rungs:
        effect = rung.versus_reference
        if rung.allocation != label or effect is None:
            continue
        where = better if effect.low > 0 else worse if effect.high < 0 else alike
        where.append(f"`{rung.method}`")
    parts = [
        f"{', '.join(methods)} {'is' if len(methods) == 1 else 'are'} {how}"
        for methods, how in (
            (better, "better"),
            (worse, "worse"),
            (alike, "inside the noise"),
        )
        if methods
    ]
    return f"{label}, beside `{found.reference}`: {'; '.join(parts) or 'nothing to compare'}."
