"""What configurations are called: names that tell recipes apart, and that take over no other's."""

from analysis.records import Allocation, Configuration
from analysis.spelling import spell
from analysis.steps import Step
from analysis.workflow.recipe import DEFAULTS, Recipe
from cache.keys import digest
from cache.store import Store


def summary(allocation: Allocation) -> str:
    """Say an allocation in a few words: its one candidate, or the mix with a mark of its own."""
    counts: dict[str, int] = {}
    for candidate in allocation.candidates:
        counts[candidate.text] = counts.get(candidate.text, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) == 1:
        return f"uniform {ordered[0][0]}"
    if len(ordered) == 2 and ordered[1][0] == "w8a8" and ordered[1][1] <= 2:
        return f"uniform {ordered[0][0]}, ends w8a8"
    mix = " ".join(f"{n}×{text}" for text, n in ordered)
    # Allocations of one mix differ in which layer has what.
    mark = digest([[name, c.text] for name, c in allocation.as_dict().items()])[:4]
    return f"mixed {mix} #{mark}"


def default_name(recipe: Recipe) -> str:
    """Return the allocation in a few words, then every setting and option that was changed."""
    by = (*recipe.recalibrations, spell(recipe.method, recipe.chosen))
    return ", ".join([summary(recipe.allocation), *_changed(recipe), " + ".join(by)])


def free_name(store: Store, step: Step[Configuration]) -> str:
    """Return the name under which a step's result is listed, else its own or the next free one.

    Args:
        store: Where names are kept.
        step: What measures the configuration; names such as "mine (2)" follow "mine".
    """
    (kind, wanted), *_ = step.names
    named = store.named(kind)
    listed = [name for name, owner in named.items() if owner == step.key]
    if listed:
        return wanted if wanted in listed else listed[0]
    variants = (f"{wanted} ({i})" for i in range(2, len(named) + 3))
    return next(name for name in (wanted, *variants) if name not in named)


def _changed(recipe: Recipe) -> list[str]:
    """Say what is not as usual; that ends were not held mostly shows in the allocation."""
    settings, candidates = recipe.settings, recipe.allocation.candidates
    hidden = {candidates[at].text for at in (0, -1)} == {"w8a8"}
    changed = [
        ("ends free", settings.pin_first_last or not hidden, DEFAULTS.pin_first_last),
        ("per tensor", settings.per_channel, DEFAULTS.per_channel),
        (f"scope {settings.scope}", settings.scope, DEFAULTS.scope),
        (f"weights {settings.weight_range}", settings.weight_range, DEFAULTS.weight_range),
        (
            f"activations {settings.activation_range}",
            settings.activation_range,
            DEFAULTS.activation_range,
        ),
        (f"percentile {settings.percentile:g}", settings.percentile, DEFAULTS.percentile),
    ]
    return [text for text, value, usual in changed if value != usual]
