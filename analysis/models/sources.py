"""Where models come from: ``demo:``, ``torchvision:``, ``timm:`` and ``factory:`` specs."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor, nn

from analysis.errors import AnalysisError, StudyError, UnknownNameError, WeightsError
from analysis.models import demo
from analysis.models.vision_ops import import_timm, import_torchvision
from analysis.models.weights import check_finite, digest, load_into, read_state_dict

RANDOM, HUB = "none", "hub"
RANDOM_SEED = 0
KINDS = ("demo", "torchvision", "timm", "factory")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A live model in evaluation mode.

    ``source`` is the spec; for a factory it ends in a digest of the code of its modules, since the
    same weights under other code are another model. ``digest`` is that of
    :func:`analysis.models.weights.digest`. ``hub_weights`` names the hub's weights where these were
    used, else it is empty.
    """

    module: nn.Module
    source: str
    digest: str
    num_params: int
    hub_weights: str = ""
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Built:
    """A module under way, with what the user should know about it."""

    module: nn.Module
    source: str
    hub_weights: str = ""
    notes: tuple[str, ...] = ()


def load_model(
    spec: str, weights: str = "", *, allow_factory: bool, num_classes: int | None = None
) -> LoadedModel:
    """Build the model that a spec names and give it its weights.

    Args:
        spec: ``demo:NAME``, ``torchvision:NAME``, ``timm:NAME`` or ``factory:MODULE:FUNCTION``; the
            function takes no argument and returns a module.
        weights: A weights file, ``hub`` for the default weights of torchvision or timm, ``none``
            for random ones (seed :data:`RANDOM_SEED`). Empty: the shipped weights of a demo model,
            the factory's own, else random ones.
        allow_factory: Whether the spec comes from a place that may name code to run: a study file
            or the command line.
        num_classes: Classes of a torchvision or timm model; ``None`` takes them from the weights
            file where its classifier has another size, else the constructor's default.

    Raises:
        StudyError: If the spec has another form, or the factory fails or is not allowed.
        UnknownNameError: If there is no such model; with the nearest names.
        WeightsError: If the weights cannot be read, fetched or fitted, or are not finite.
    """
    kind, _, name = spec.partition(":")
    if kind not in KINDS or not name:
        raise StudyError(
            "A model must be `demo:NAME`, `torchvision:NAME`, `timm:NAME` or "
            f"`factory:MODULE:FUNCTION`, got `{spec}`. Put the kind before the name."
        )
    if kind in ("demo", "factory"):
        _check_fixed(spec, weights, num_classes)
    if kind == "demo":
        built = _demo(name, weights)
    elif kind == "factory":
        built = _factory(name, weights, allow_factory)
    else:
        built = _catalogued(kind, name, weights, num_classes)
    module = built.module.eval()
    check_finite(dict(_tensors(module)), f"The weights of `{spec}`")
    num_params = sum(p.numel() for p in module.parameters())
    return LoadedModel(
        module, built.source, digest(module), num_params, built.hub_weights, built.notes
    )


def _demo(name: str, weights: str) -> _Built:
    module = _seeded(lambda: demo.build(name))
    if weights == RANDOM:
        return _Built(module, f"demo:{name}", notes=(_random_note(),))
    load_into(module, read_state_dict(weights or demo.weights_path(name)))
    return _Built(module, f"demo:{name}")


def _catalogued(kind: str, name: str, weights: str, num_classes: int | None) -> _Built:
    """Build a model of torchvision or timm, with as many classes as its weights have."""
    build = _torchvision(name) if kind == "torchvision" else _timm(name)
    source = f"{kind}:{name}"
    if weights == HUB:
        if num_classes is not None:
            raise StudyError(
                f"The hub's weights of `{source}` have classes of their own, got a request for "
                f"{num_classes}. Leave the number out, or give a weights file."
            )
        return _from_hub(build, source)
    module = _constructed(build, source, num_classes)
    if weights in ("", RANDOM):
        return _Built(module, source, notes=(_random_note(),))
    state = read_state_dict(weights)
    notes: tuple[str, ...] = ()
    if num_classes is None:
        num_classes = _classes_of(module, state)
        if num_classes is not None:
            module = _constructed(build, source, num_classes)
            notes = (f"Built with {num_classes} classes, as the weights have them.",)
    load_into(module, state)
    return _Built(module, source, notes=notes)


# Constructor of a catalogue's model: pretrained or not, number of classes or the default.
_Constructor = Callable[[bool, int | None], nn.Module]


def _torchvision(name: str) -> _Constructor:
    models = import_torchvision().models
    names = models.list_models(module=models)
    if name not in names:
        raise UnknownNameError("torchvision model", name, names)

    def build(pretrained: bool, num_classes: int | None) -> nn.Module:
        head = {} if num_classes is None else {"num_classes": num_classes}
        module: nn.Module = models.get_model(
            name, weights="DEFAULT" if pretrained else None, **head
        )
        return module

    return build


def _timm(name: str) -> _Constructor:
    timm = import_timm()
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise UnknownNameError("timm model", name, timm.list_models())
    tags = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tags:
        raise UnknownNameError("timm model", name, tags)

    def build(pretrained: bool, num_classes: int | None) -> nn.Module:
        head = {} if num_classes is None else {"num_classes": num_classes}
        module: nn.Module = timm.create_model(name, pretrained=pretrained, **head)
        return module

    return build


def _constructed(build: _Constructor, source: str, num_classes: int | None) -> nn.Module:
    try:
        return _seeded(lambda: build(False, num_classes))
    except (TypeError, ValueError, RuntimeError) as error:
        raise StudyError(
            f"`{source}` must be constructible by its name alone, got: {error}."
        ) from error


def _from_hub(build: _Constructor, source: str) -> _Built:
    try:
        module = _seeded(lambda: build(True, None))
    except Exception as error:  # each hub client has errors of its own
        raise WeightsError(
            f"The hub's weights of `{source}` must be in the local cache or be downloaded, got "
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]} "
            "Check the connection, or give a weights file."
        ) from error
    return _Built(module, source, hub_weights="default weights of the hub")


def _factory(name: str, weights: str, allowed: bool) -> _Built:
    if not allowed:
        raise StudyError(
            "A factory runs code, so it must come from a study file or the command line, got "
            f"`factory:{name}` from elsewhere. Start with `--model factory:{name}`."
        )
    module_name, _, function = name.partition(":")
    if not module_name or not function.isidentifier():
        raise StudyError(
            f"A factory must be `factory:MODULE:FUNCTION`, got `factory:{name}`. "
            "Name an importable module and a function of it without arguments."
        )
    with _current_folder_importable():
        try:
            make = getattr(importlib.import_module(module_name), function)
            module = _seeded(make)
        except AnalysisError:
            raise
        except Exception as error:  # the user's code may raise anything
            raise StudyError(
                f"`factory:{name}` must be importable from {os.getcwd()} or the Python path and "
                f"run without arguments, got {type(error).__name__}: {error}."
            ) from error
    if not isinstance(module, nn.Module):
        raise StudyError(
            f"`factory:{name}` must return a torch module, got {type(module).__name__}."
        )
    if weights:
        load_into(module, read_state_dict(weights))
    return _Built(module, f"factory:{name}@{_code_digest(module)[:12]}")


def _check_fixed(spec: str, weights: str, num_classes: int | None) -> None:
    if weights == HUB or (weights == RANDOM and spec.startswith("factory:")):
        raise WeightsError(
            f"Weights `{weights}` must go with a torchvision or timm model, got `{spec}`. "
            "Leave them empty or name a file."
        )
    if num_classes is not None:
        raise StudyError(
            f"Only torchvision and timm models take a number of classes, got {num_classes} for "
            f"`{spec}`. Leave it out."
        )


def _classes_of(module: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """The class count of ``state`` where it fits ``module`` but for the size of its classifier.

    Classifier weights and biases (auxiliary ones too) are then the only tensors of another shape,
    differ in their first dimension only, and all in the same way.
    """
    wrong = [
        (value.shape, state[name].shape)
        for name, value in _tensors(module)
        if name in state and state[name].shape != value.shape
    ]
    if not all(old[1:] == new[1:] for old, new in wrong):
        return None
    sizes = {(old[:1], new[:1]) for old, new in wrong}
    return sizes.pop()[1][0] if len(sizes) == 1 else None


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((k, v) for k, v in module.state_dict().items() if isinstance(v, Tensor))


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Run a constructor with a fixed seed, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        return make()


def _random_note() -> str:
    return f"The weights are random (seed {RANDOM_SEED}): accuracies say nothing."


def _code_digest(module: nn.Module) -> str:
    """SHA-256 of the printed structure and of the source of every class that is not torch's own."""
    total = sha256(repr(module).encode())
    for kind in sorted({type(m) for m in module.modules()}, key=lambda k: k.__qualname__):
        if kind.__module__.partition(".")[0] != "torch":
            try:
                total.update(inspect.getsource(kind).encode())
            except (OSError, TypeError):
                total.update(f"{kind.__module__}.{kind.__qualname__}".encode())
    return total.hexdigest()


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = os.getcwd()
    if folder in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
