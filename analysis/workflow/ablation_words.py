"""What an ablation found in words, for pages, figures and the command line alike."""

from collections.abc import Mapping

from analysis.records import Ablation, Effect, Ladder, Repeated, Variant
from analysis.spelling import value_text

BASE = "as it is"


def variant_text(changes: Mapping[str, bool | int | float | str]) -> str:
    """Return what a variant changes: ``rounding rate 0 (off)``."""
    if not changes:
        return BASE
    return ", ".join(f"{n.replace('_', ' ')} {_value(v)}" for n, v in changes.items())


def effect_text(effect: Effect | None) -> str:
    """Return a paired difference in points with its interval, and whether it stands out."""
    if effect is None:
        return ""
    points = f"{100 * effect.difference:+.2f}"
    interval = f"{100 * effect.low:+.1f} to {100 * effect.high:+.1f}"
    return f"{points} ({interval}), {'outside' if effect.significant else 'inside'} the noise"


def accuracy_text(found: Ablation | Ladder, measured: Repeated) -> str:
    """Return the mean accuracy with its 95 % interval, without labels the agreement with float."""
    if not found.labelled:
        return f"{100 * measured.agreement.mean():.2f} % as float"
    low, high = 100 * measured.low, 100 * measured.high
    return f"{100 * measured.top1.mean():.2f} % ({low:.1f}-{high:.1f})"


def seconds_text(measured: Repeated) -> str:
    """Return the mean time of quantizing in seconds."""
    return f"{measured.seconds.mean():.1f}"


def seeds_text(found: Ablation) -> str:
    """Return ``seed 0`` or ``seeds 0, 1``."""
    return f"seed{'s' if len(found.seeds) > 1 else ''} {', '.join(map(str, found.seeds))}"


def what(found: Ablation) -> str:
    """Return what the effects are differences of."""
    return "accuracy" if found.labelled else "agreement with float predictions"


def setting(found: Ablation) -> str:
    """Say on what it was measured, and what the intervals hold."""
    held = (
        f"means over the {seeds_text(found)}; intervals hold what samples and seeds vary"
        if len(found.seeds) > 1
        else f"{seeds_text(found)} alone; intervals hold what samples vary, not what another seed "
        "would"
    )
    return f"Paired differences on {found.n:,} evaluation samples, {held}."


def verdict(found: Ablation) -> list[str]:
    """Return which changes help, which harm and which cannot be told from none."""
    base, *variants = found.variants
    said = [f"`{found.method}` {BASE}: {accuracy_text(found, base)}, n = {found.n:,}."]
    better = [v for v in variants if v.effect and v.effect.low > 0]
    worse = [v for v in variants if v.effect and v.effect.high < 0]
    inside = len(variants) - len(better) - len(worse)
    for which, word in ((better, "Better"), (worse, "Worse")):
        if which:
            said.append(f"{word} outside the noise: {'; '.join(map(_named, which))}.")
    if inside:
        said.append(
            f"{inside} of {len(variants)} changes {'is' if inside == 1 else 'are'} inside the "
            "noise: the data do not tell them from none."
        )
    if len(variants) > 5:
        said.append(
            f"Of {len(variants)} intervals of 95 % about {len(variants) / 20:.1f} miss zero by "
            "chance where no change does anything."
        )
    said += [f"Not measured: {name}: {reason}" for name, reason in found.absent.items()]
    if not found.complete:
        said.append("The ablation is unfinished; the rest is missing.")
    return said


def _named(variant: Variant) -> str:
    assert variant.effect is not None
    return f"{variant_text(variant.changes)} ({100 * variant.effect.difference:+.2f} points)"


def _value(value: bool | int | float | str) -> str:
    off = isinstance(value, float) and value == 0
    return "0 (off)" if off else value_text(value)
