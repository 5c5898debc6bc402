"""Weights files: reading without running their code, fitting to a module, content digest."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError  # the error's class; nothing is unpickled with this module
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from analysis.errors import WeightsError
from analysis.models.pickles import foreign_object, part_of_tensors

# Where training scripts put the weights inside a checkpoint; raw weights before averaged ones.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
)
# What wrapping modules put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.")
MAX_BYTES = 16 * 2**30
_SHOWN = 3
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Read named tensors from a ``.safetensors`` file or a torch checkpoint.

    Checkpoints are read with ``weights_only=True``: a file that carries code is refused. Weights
    one or two dictionaries deep (:data:`WRAPPERS`, the first that is there) are found, and prefixes
    that every name shares (:data:`PREFIXES`) are taken off.

    Args:
        path: The file.

    Returns:
        CPU tensors by name, in the file's order.

    Raises:
        WeightsError: If the file is missing, damaged, carries code, holds anything but finite
            dense tensors, or is empty.
    """
    path = Path(path)
    if path.is_dir():
        raise WeightsError(f"`{path}` must be a weights file, got a folder. Name the file in it.")
    if not path.is_file():
        raise WeightsError(f"The weights file `{path}` does not exist. Check the path.")
    if path.stat().st_size == 0:
        raise WeightsError(f"The weights file `{path.name}` is empty. Save or download it again.")
    content = _read_safetensors(path) if _is_safetensors(path) else _read_checkpoint(path)
    state = _tensors(_unwrap(content), path.name)
    check_finite(state, f"The weights file `{path.name}`")
    stem = _stem(state)
    return {name.removeprefix(stem): value for name, value in state.items()}


def load_into(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors into a module; every name and shape must fit.

    Batch counters (``num_batches_tracked``), which old checkpoints lack and evaluation never reads,
    keep the module's own value. A prefix of :data:`PREFIXES` on either side does not count.

    Args:
        module: The module; its dtypes are kept.
        state: Tensors by name.

    Raises:
        WeightsError: If names are missing or left over, or shapes or kinds of number differ.
    """
    expected = {k: v for k, v in module.state_dict().items() if isinstance(v, Tensor)}
    old, new = _stem(state), _stem(expected)
    given = {new + name.removeprefix(old): value for name, value in state.items()}
    given |= {
        name: value
        for name, value in expected.items()
        if name.endswith("num_batches_tracked") and name not in given
    }
    problems = [
        _few("missing", [name for name in expected if name not in given]),
        _few("unexpected", [name for name in given if name not in expected]),
        _few(
            "of another shape",
            [
                f"{name} ({_shape(given[name])} instead of {_shape(value)})"
                for name, value in expected.items()
                if name in given and given[name].shape != value.shape
            ],
        ),
        _few(
            "of another kind",
            [
                f"{name} ({given[name].dtype} instead of {value.dtype})"
                for name, value in expected.items()
                if name in given and given[name].is_floating_point() != value.is_floating_point()
            ],
        ),
    ]
    if any(problems):
        raise WeightsError(
            f"The weights must fit {type(module).__name__} tensor by tensor, got "
            + "; ".join(filter(None, problems))
            + ". Choose the weights of this architecture, or the architecture of these weights."
        )
    module.load_state_dict(given, strict=False)


def digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters and persistent buffers, in hexadecimal.

    Names in sorted order, each with dtype, shape and bytes; the file they came from does not count.
    """
    total = sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            total.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse NaN and infinite values.

    Args:
        tensors: Tensors by name.
        what: The sentence's subject: "The weights file `a.pt`".

    Raises:
        WeightsError: Naming the first tensors that hold such values.
    """
    bad = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise WeightsError(
            f"{what} must hold finite numbers, got NaN or infinity in {_few('tensors', bad)}. "
            "Take a checkpoint from before the training diverged."
        )


def _is_safetensors(path: Path) -> bool:
    """Tell the format by the content; the ending decides where the content is no format's."""
    with path.open("rb") as file:
        start = file.read(9)
    if is_zipfile(path):
        return False
    length = int.from_bytes(start[:8], "little")
    return (start[8:] == b"{" and length < path.stat().st_size) or path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"`{path.name}` must be a complete safetensors file, got: {error}. "
            "Save or download it again."
        ) from error


def _read_checkpoint(path: Path) -> object:
    _check_archive(path)
    try:
        # A file object: torch would choose another reader by the name's ending.
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        code = _GLOBAL.search(str(error))
        wanted = code[1] if code else None
        if wanted is None or part_of_tensors(wanted):
            wanted = None if is_zipfile(path) else foreign_object(path)
        if wanted is None:
            raise WeightsError(_damaged(path, "it is no torch checkpoint")) from error
        raise WeightsError(
            f"`{path.name}` must hold tensors only, got a pickle that asks for the Python object "
            f"`{wanted}`, which could run code. "
            "Save `model.state_dict()` alone, best as .safetensors, and choose that file."
        ) from error
    except Exception as error:  # a damaged pickle stream can raise nearly anything
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise WeightsError(_damaged(path, f"{type(error).__name__}, {reason}")) from error


def _check_archive(path: Path) -> None:
    """Refuse programs, and archives that expand: torch stores its members uncompressed."""
    if not is_zipfile(path):
        return
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
    except BadZipFile as error:
        raise WeightsError(_damaged(path, str(error))) from error
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise WeightsError(
            f"`{path.name}` must hold tensors only, got a TorchScript program. "
            "Save its `state_dict()` and choose that file."
        )
    size, expanded = path.stat().st_size, sum(member.file_size for member in members)
    if expanded > 2 * size:
        raise WeightsError(
            f"`{path.name}` must be stored as torch stores it, got an archive of {size:,} bytes "
            f"that expands to {expanded:,}. Save it again with torch."
        )


def _unwrap(content: object) -> object:
    """Step into the dictionaries that training scripts put around the weights."""
    for _ in range(2):
        if not isinstance(content, Mapping):
            break
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    return content


def _tensors(content: object, file: str) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"`{file}` must hold tensors by name, got {type(content).__name__}. "
            "Save `model.state_dict()`."
        )
    if not content:
        raise WeightsError(f"`{file}` must hold tensors by name, got none. Save it again.")
    strange = [
        f"{name} ({type(value).__name__})"
        for name, value in content.items()
        if not isinstance(name, str) or not isinstance(value, Tensor)
    ]
    if strange:
        raise WeightsError(
            f"`{file}` must hold tensors by name, got also {_few('others', strange)}. "
            f"Save `model.state_dict()`, bare or under one of {', '.join(WRAPPERS[:4])}."
        )
    odd = [
        name
        for name, value in content.items()
        if value.layout != torch.strided or value.is_quantized or value.is_meta
    ]
    if odd:
        raise WeightsError(
            f"`{file}` must hold dense tensors of plain numbers, got sparse, quantized or empty "
            f"{_few('tensors', odd)}. Save the float weights."
        )
    # A stride of 0 makes a huge tensor out of a small file.
    size = sum(value.numel() * value.element_size() for value in content.values())
    if size > MAX_BYTES:
        raise WeightsError(
            f"`{file}` must hold at most {MAX_BYTES / 2**30:g} GiB of tensors, "
            f"got {size / 2**30:.1f} GiB. Choose a smaller model."
        )
    return dict(content)


def _stem(names: Iterable[str]) -> str:
    """The run of wrapper prefixes that all names share."""
    names, stem = list(names), ""
    while names:
        found = [p for p in PREFIXES if all(name.startswith(stem + p) for name in names)]
        if not found:
            break
        stem += found[0]
    return stem


def _few(what: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{rest}"


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"


def _damaged(path: Path, reason: str) -> str:
    return (
        f"`{path.name}` must be a complete torch checkpoint or .safetensors file, "
        f"got one that cannot be read ({reason}). Save or download it again."
    )
