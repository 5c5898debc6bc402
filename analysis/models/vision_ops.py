"""Import torchvision and timm, also where torchvision's compiled operators cannot be loaded.

A torchvision that was built for CUDA cannot load its operators beside a CPU build of torch. Its
Python code then still registers shape functions for two of them (``nms`` and ``qnms``) and the
import fails, although classification networks use neither. Declaring the two schemas is enough:
everything but calling these operators works. timm imports torchvision, so it goes through here too.
"""

import importlib
import importlib.util
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
from threading import Lock
from types import ModuleType

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_lock = Lock()
_declared: list[torch.library.Library] = []  # a schema lives as long as its Library object


def import_torchvision() -> ModuleType:
    """Import torchvision.

    Raises:
        ImportError: If torchvision is not installed.
    """
    return _import("torchvision")


def import_timm() -> ModuleType:
    """Import timm.

    Raises:
        ImportError: If timm is not installed.
    """
    return _import("timm")


def operators_load() -> bool:
    """Tell whether torchvision's own compiled operators load, without importing torchvision.

    The library is loaded from the path that torchvision itself uses; loading it twice is harmless.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return False
    folder = spec.submodule_search_locations[0]
    found = FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES)).find_spec("_C")
    if found is None or found.origin is None:
        return False
    try:
        torch.ops.load_library(found.origin)  # type: ignore[no-untyped-call]
    except (ImportError, OSError):
        return False
    return True


def _import(name: str) -> ModuleType:
    with _lock:
        if not _declared and not operators_load():
            _declare()
        return importlib.import_module(name)


def _declare() -> None:
    """Declare the schemas that torchvision's import needs, unless somebody already did."""
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)
