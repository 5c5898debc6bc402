"""Initializers by name: how the weights of a layer are drawn, and what range that gives it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite, prod, sqrt
from types import MappingProxyType

import torch
from torch import Tensor

from analysis.errors import OptionError, UnknownNameError
from analysis.initialization import draws
from analysis.initialization.draws import Draws, ExpectedRange, SphereEntry, expected_range

GLOROT = "Glorot & Bengio 2010, AISTATS 9:249"
HE = "He et al. 2015, arXiv:1502.01852"
LECUN = "LeCun et al. 1998, Efficient BackProp; Klambauer et al. 2017, arXiv:1706.02515"
CONSTANT = "Yun & Wong 2020, arXiv:2011.14578"
# Spread of the constant initializers: half-width of the uniform ones, deviation of the normal ones.
# The small ones lie below He's scale for every layer of the lab's networks, the large ones above.
UNIFORM_SCALES = {"small": 0.05, "medium": 0.25, "large": 0.5}
NORMAL_SCALES = {"small": 0.02, "medium": 0.2, "large": 1.0}
TRUNCATED_STD, TRUNCATED_AT = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class Fans:
    """Inputs of one output and outputs of one input of a layer, kernel positions counted.

    ``fan_out`` is None where the number of groups is not known.
    """

    fan_in: int
    fan_out: int | None


def fans(shape: tuple[int, ...], groups: int = 1, *, transposed: bool = False) -> Fans:
    """Return the fans of a weight.

    ``fan_in`` = inputs per group x kernel positions, ``fan_out`` = outputs per group x kernel
    positions: 9 and 9 for a 3 x 3 depthwise kernel, the features for a linear layer. The stride is
    left out, as is usual.

    Args:
        shape: Of the weight: (out, in / groups, ...), transposed (in, out / groups, ...).
        groups: Groups of the convolution.
        transposed: Whether the convolution is transposed.
    """
    own, other = shape[0] // groups, shape[1]
    area = prod(shape[2:])
    inputs, outputs = (own, other) if transposed else (other, own)
    return Fans(inputs * area, outputs * area)


Fill = Callable[[tuple[int, ...], torch.Generator, int, int], Tensor]


@dataclass(frozen=True, slots=True)
class Initializer:
    """A way to draw a weight.

    ``draw(shape, generator, fan_in, fan_out)`` gives a float32 tensor; ``draws(fan_in, fan_out,
    area)`` the distribution of its entries, where ``area`` counts the kernel's positions.
    ``uses_fan_out`` says that it needs to know the groups of a convolution.
    """

    name: str
    title: str
    reference: str
    draw: Fill
    draws: Callable[[int, int, int], Draws]
    uses_fan_out: bool = False

    def expected(self, shape: tuple[int, ...], found: Fans) -> ExpectedRange | None:
        """Return what this gives a weight of a shape, None where it needs an unknown ``fan_out``.

        Entries are taken as independent; those of an orthogonal matrix nearly are.
        """
        if found.fan_out is None and self.uses_fan_out:
            return None
        law = self.draws(found.fan_in, found.fan_out or 1, prod(shape[2:]))
        return expected_range(law, prod(shape))


def parse_initializer(text: str) -> Initializer:
    """Return an initializer by name, or the user's own: ``normal:MEAN:STD``, ``uniform:LOW:HIGH``.

    Raises:
        UnknownNameError: If there is no such name.
        OptionError: If the numbers of an own one are missing, not finite or leave no spread.
    """
    kind, *given = text.strip().split(":")
    if not given or kind not in ("normal", "uniform"):
        if text.strip() not in INITIALIZERS:
            raise UnknownNameError("initializer", text, (*INITIALIZERS, *OWN_FORMS))
        return INITIALIZERS[text.strip()]
    form = OWN_FORMS[0] if kind == "normal" else OWN_FORMS[1]
    try:
        first, second = (float(part) for part in given)
    except ValueError as error:
        raise OptionError(
            f"An initializer of your own must be two numbers as in `{form}`, got `{text}`."
        ) from error
    if not (isfinite(first) and isfinite(second)):
        raise OptionError(f"The numbers of `{form}` must be finite, got `{text}`.")
    if kind == "normal" and not second > 0:
        raise OptionError(f"STD of `{form}` must be above 0, got {second:g} in `{text}`.")
    if kind == "uniform" and not second > first:
        raise OptionError(f"LOW of `{form}` must lie below HIGH, got `{text}`.")
    name = f"{kind}:{_number(first)}:{_number(second)}"
    make = _normal if kind == "normal" else _uniform
    # Of all digits: figures and tables tell initializers apart by their titles.
    title = f"{'N' if kind == 'normal' else 'U'}({_number(first)}, {_number(second)})"
    return make(name, title, "chosen by hand", first, second)


OWN_FORMS = ("normal:MEAN:STD", "uniform:LOW:HIGH")


def _number(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _fill_uniform(
    low: float, high: float, shape: tuple[int, ...], generator: torch.Generator
) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _fill_normal(
    mean: float, std: float, shape: tuple[int, ...], generator: torch.Generator
) -> Tensor:
    return torch.randn(shape, generator=generator) * std + mean


def _uniform(name: str, title: str, reference: str, low: float, high: float) -> Initializer:
    return Initializer(
        name,
        title,
        reference,
        lambda shape, generator, *_: _fill_uniform(low, high, shape, generator),
        lambda *_: draws.uniform(low, high),
    )


def _normal(name: str, title: str, reference: str, mean: float, std: float) -> Initializer:
    return Initializer(
        name,
        title,
        reference,
        lambda shape, generator, *_: _fill_normal(mean, std, shape, generator),
        lambda *_: draws.normal(mean, std),
    )


def _scaled(
    name: str, title: str, reference: str, std: Callable[[int, int], float], *, fan_out: bool
) -> tuple[Initializer, Initializer]:
    """Return the uniform and the normal initializer whose deviation follows from the fans."""

    def half(fan_in: int, fan_out: int) -> float:
        return sqrt(3) * std(fan_in, fan_out)

    uniform = Initializer(
        f"{name}_uniform",
        f"{title} uniform",
        reference,
        lambda shape, generator, i, o: _fill_uniform(-half(i, o), half(i, o), shape, generator),
        lambda i, o, _: draws.uniform(-half(i, o), half(i, o)),
        fan_out,
    )
    normal = Initializer(
        f"{name}_normal",
        f"{title} normal",
        reference,
        lambda shape, generator, i, o: _fill_normal(0.0, std(i, o), shape, generator),
        lambda i, o, _: draws.normal(0.0, std(i, o)),
        fan_out,
    )
    return uniform, normal


def _fill_orthogonal(
    shape: tuple[int, ...], generator: torch.Generator, fan_in: int, fan_out: int
) -> Tensor:
    """Draw a matrix with orthonormal rows or columns for every group, uniformly (Haar measure)."""
    rows = fan_out // prod(shape[2:])
    tall, wide = max(rows, fan_in), min(rows, fan_in)
    gauss = torch.randn(shape[0] // rows, tall, wide, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gauss)
    # QR alone is unique only up to signs, and the usual routines prefer one.
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
    matrices: Tensor = q if rows >= fan_in else q.mT
    return matrices.reshape(shape).float()


def _fill_truncated(
    shape: tuple[int, ...], generator: torch.Generator, fan_in: int, fan_out: int
) -> Tensor:
    del fan_in, fan_out
    inside = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    edge = torch.erf(torch.tensor(TRUNCATED_AT / sqrt(2), dtype=torch.float64))
    return (torch.erfinv(inside * edge) * sqrt(2) * TRUNCATED_STD).float()


def _table() -> Mapping[str, Initializer]:
    found = [
        *(
            _uniform(f"uniform_{size}", f"Uniform ±{half:g}", CONSTANT, -half, half)
            for size, half in UNIFORM_SCALES.items()
        ),
        *(
            _normal(f"normal_{size}", f"Normal σ = {std:g}", CONSTANT, 0.0, std)
            for size, std in NORMAL_SCALES.items()
        ),
        *_scaled("glorot", "Glorot", GLOROT, lambda i, o: sqrt(2 / (i + o)), fan_out=True),
        *_scaled("he", "He", HE, lambda i, _: sqrt(2 / i), fan_out=False),
        *_scaled("lecun", "LeCun", LECUN, lambda i, _: sqrt(1 / i), fan_out=False),
        Initializer(
            "orthogonal",
            "Orthogonal",
            "Saxe et al. 2013, arXiv:1312.6120",
            _fill_orthogonal,
            lambda fan_in, fan_out, area: SphereEntry(max(fan_in, fan_out // area)),
            True,
        ),
        Initializer(
            "truncated_normal",
            f"Normal σ = {TRUNCATED_STD:g} cut at {TRUNCATED_AT:g} σ",
            "as in Abadi et al. 2016, arXiv:1605.08695",
            _fill_truncated,
            lambda *_: draws.truncated_normal(TRUNCATED_STD, TRUNCATED_AT),
        ),
    ]
    return MappingProxyType({initializer.name: initializer for initializer in found})


INITIALIZERS: Mapping[str, Initializer] = _table()
