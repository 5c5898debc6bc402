"""Methods that describe themselves: forms, flags, tables and captions are generated from here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from analysis.errors import UnknownNameError
from analysis.options import Options, describe
from analysis.records import LayerTable

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Method(Generic[F]):
    """A pure function with what a user must know to choose it.

    ``answers`` is the question it answers, in one sentence. ``needs`` holds words of
    ``{"labels", "backward", "factory", "candidates", "interactions", "measured", "training",
    "element_scores"}``. ``version`` enters every stored key: raise it when the numbers change.
    ``cost`` says in words what it takes, in passes over the samples; ``passes`` counts them per
    batch from the layer table, the number of candidates and the options, where that number grows
    fast.
    """

    name: str
    title: str
    answers: str
    reference: str
    needs: tuple[str, ...]
    options: type[Options]
    version: int
    function: F
    cost: str = ""
    passes: Callable[[LayerTable, int, Any], int] | None = None

    def describe(self) -> dict[str, Any]:
        """Return the description as plain JSON values."""
        return {
            "name": self.name,
            "title": self.title,
            "answers": self.answers,
            "reference": self.reference,
            "needs": list(self.needs),
            "cost": self.cost,
            "options": [
                {
                    "name": o.name,
                    "type": o.type.__name__,
                    "default": o.default,
                    "low": o.low,
                    "high": o.high,
                    "choices": list(o.choices) if o.choices else None,
                    "help": o.help,
                }
                for o in describe(self.options)
            ],
        }


class Registry(Generic[F]):
    """Named methods of one kind, in the order in which they were registered.

    Args:
        kind: What the registry holds, in the singular: "metric", "solver".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._methods: dict[str, Method[F]] = {}

    def register(
        self,
        name: str,
        *,
        title: str,
        answers: str,
        reference: str = "",
        needs: tuple[str, ...] = (),
        options: type[Options] = Options,
        version: int = 1,
        cost: str = "",
        passes: Callable[[LayerTable, int, Any], int] | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function to enter it under ``name``.

        Raises:
            ValueError: If the name is taken.
        """

        def enter(function: F) -> F:
            if name in self._methods:
                raise ValueError(f"{self.kind} `{name}` is registered twice")
            self._methods[name] = Method(
                name, title, answers, reference, needs, options, version, function, cost, passes
            )
            return function

        return enter

    def __getitem__(self, name: str) -> Method[F]:
        """Return the method called ``name``.

        Raises:
            UnknownNameError: With the nearest names, if there is none.
        """
        if name not in self._methods:
            raise UnknownNameError(self.kind, name, self._methods)
        return self._methods[name]

    def __iter__(self) -> Iterator[Method[F]]:
        """Iterate over the methods."""
        return iter(self._methods.values())

    def __contains__(self, name: object) -> bool:
        """Tell whether ``name`` is registered."""
        return name in self._methods

    def names(self) -> tuple[str, ...]:
        """Return every registered name."""
        return tuple(self._methods)
