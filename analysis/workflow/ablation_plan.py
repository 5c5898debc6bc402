"""What an ablation compares: a method under its options, and one change of them at a time."""

from dataclasses import dataclass, replace
from typing import Any

from analysis.errors import OptionError
from analysis.options import Options, OptionSpec, as_dict, build, describe
from analysis.spelling import value_text
from analysis.workflow.recipe import Recipe
from analysis.workflow.runs import SEED, seeded

_ON = 1.0

Values = dict[str, bool | int | float | str]


def default_variants(options: Options) -> tuple[str, ...]:
    """Return every single change of a method that is a choice of its own, as its options say.

    Every other value of a choice; every number that may be 0 switched off, or on at 1 where it is
    0: learning rates and weights of losses are such numbers. Lengths and sizes are no choices.
    A change that the options refuse by itself comes with the first other one that lets it be: the
    weight of the only loss becomes 0 where another loss is switched on.
    """
    values = as_dict(options)
    changes: list[Values] = [
        {spec.name: value}
        for spec in describe(type(options))
        for value in _others(spec, values[spec.name])
    ]
    nothing: Values = {}
    variants = []
    for change in changes:
        with_others = (change | o for o in (nothing, *changes) if not change.keys() & o.keys())
        allowed = next((each for each in with_others if _goes(options, each)), None)
        if allowed is not None:
            variants.append(_spell({name: allowed[name] for name in values if name in allowed}))
    return tuple(dict.fromkeys(variants))


@dataclass(frozen=True, slots=True)
class AblationPlan:
    """What to measure.

    Args:
        recipe: The allocation and the method under its base options.
        variants: Changes of options as ``weighting=none``, several joined by colons; none for
            :func:`default_variants`, in whose order they are put.
        seeds: How many seeds, counted from the recipe's own one.

    Raises:
        UnknownNameError: If the method has no such option.
        OptionError: If a variant cannot be read, changes nothing or the seed, is out of range or
            comes twice, there is none, or the method has no seed and is to run on several.
    """

    recipe: Recipe
    variants: tuple[str, ...] = ()
    seeds: int = 1

    def __post_init__(self) -> None:
        """Check the variants; they get their one spelling."""
        usual = default_variants(self.recipe.chosen)
        spelled = [self._spelled(text) for text in self.variants or usual]
        # One order, so that equal choices are one key; what is not usual comes last.
        places = {text: place for place, text in enumerate(usual)}
        spelled.sort(key=lambda text: places.get(text, len(places)))
        object.__setattr__(self, "variants", tuple(spelled))
        if not self.variants:
            raise OptionError(
                f"An ablation must have options to change, `{self.recipe.method}` has none. Choose "
                "a method with options."
            )
        if len(set(self.variants)) < len(self.variants):
            raise OptionError(
                f"Variants must differ from each other, got {', '.join(self.variants)}."
            )
        if self.seeds < 1 or (self.seeds > 1 and SEED not in as_dict(self.recipe.chosen)):
            raise OptionError(
                "An ablation must run on one seed, or on several where the method has one; "
                f"`{self.recipe.method}` was to run on {self.seeds}."
            )

    def changes(self, variant: str) -> Values:
        """Return the options that a variant changes, with their values."""
        base = as_dict(self.recipe.chosen)
        values = as_dict(build(type(self.recipe.chosen), base | _read(variant)))
        return {name: value for name, value in values.items() if value != base[name]}

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds themselves; 0 for a method that has none."""
        first = int(as_dict(self.recipe.chosen).get(SEED, 0))
        return tuple(range(first, first + self.seeds))

    def recipes(self, variant: str = "") -> tuple[Recipe, ...]:
        """Return the recipes of a variant on every seed, those of the base without a name."""
        base = self.recipe.chosen
        values = as_dict(base) | (self.changes(variant) if variant else {})
        changed = replace(self.recipe, options=build(type(base), values))
        return seeded(changed, self.seed_numbers)

    @property
    def flags(self) -> dict[str, Any]:
        """Flags of the equal command line."""
        usual = self.variants == default_variants(self.recipe.chosen)
        return self.recipe.flags | {
            "seeds": self.seeds if self.seeds > 1 else None,
            "variant": [] if usual else list(self.variants),
        }

    def _spelled(self, text: str) -> str:
        changes = self.changes(text)
        if not changes or SEED in changes:
            raise OptionError(
                f"A variant must change an option of `{self.recipe.method}` other than its seed, "
                f"got `{text}`, which is the base or changes the seed."
            )
        return _spell(changes)


def _others(spec: OptionSpec, value: bool | int | float | str) -> list[bool | float | str]:
    """Return what else an option may be where that is a choice of its own."""
    if spec.type is bool:
        return [not value]
    if spec.choices is not None:
        return [other for other in spec.choices if other != value]
    if spec.type is float and spec.low == 0:
        return [0.0] if value else [_ON if spec.high is None else min(_ON, spec.high)]
    return []


def _goes(options: Options, changes: Values) -> bool:
    try:
        build(type(options), as_dict(options) | changes)
    except OptionError:
        return False
    return True


def _spell(changes: Values) -> str:
    return ":".join(f"{name}={value_text(value)}" for name, value in changes.items())


def _read(text: str) -> dict[str, object]:
    values: dict[str, object] = {}
    for part in text.split(":"):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not value or name in values:
            raise OptionError(
                f"A variant must be written as `option=value`, several joined by colons, got "
                f"`{text}`."
            )
        values[name] = value
    return values
