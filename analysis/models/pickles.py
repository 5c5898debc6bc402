"""What a pickle asks for, read from its opcodes without running any of them."""

import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# What a state dict asks for; a file that breaks off within one of these names is damaged.
_USUAL = (
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.storage._load_from_bytes",
    *(f"torch.{kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int")),
)


def foreign_object(path: Path) -> str | None:
    """Return the dotted name of the first Python object beside tensors that a bare pickle asks for.

    Nothing is executed or imported. None if there is no such object.
    """
    with path.open("rb") as file:
        return next((name for name in _objects(file) if not part_of_tensors(name)), None)


def part_of_tensors(name: str) -> bool:
    """Tell whether a name, perhaps cut short, is one that tensors by name ask for."""
    return any(usual.startswith(name.rstrip(".")) for usual in _USUAL)


def _objects(file: IO[bytes]) -> Iterator[str]:
    """Yield the names in order; a file that stops being a pickle ends them."""
    memo: dict[int, object] = {}
    last: list[object] = [None, None]  # the two strings a STACK_GLOBAL takes
    try:
        for opcode, argument, _ in pickletools.genops(file):
            match opcode.name:
                case "GLOBAL" | "INST":
                    yield str(argument).replace(" ", ".")
                case "STACK_GLOBAL":
                    yield ".".join(map(str, last))
                case "MEMOIZE":
                    memo[len(memo)] = last[1]
                case "PUT" | "BINPUT" | "LONG_BINPUT":
                    memo[int(str(argument))] = last[1]
                case "GET" | "BINGET" | "LONG_BINGET":
                    last = [last[1], memo.get(int(str(argument)))]
                case name if "UNICODE" in name:
                    last = [last[1], argument]
                case _:
                    pass
    except ValueError:
        return
