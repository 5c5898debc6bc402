"""Torch calls of a forward pass, numbered in the order in which they happen.

Only calls that return tensors count. The same model on inputs of the same shape makes the same
calls, so a number names a place in the network without tracing or changing the model.
"""

from collections.abc import Callable, Iterable
from functools import cache
from inspect import signature
from types import FunctionType
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Slot = tuple[int, int]
INPUT: Slot = (-1, 0)


class NumberedCalls(TorchFunctionMode):
    """Number the tensor-returning calls made inside the context, on this thread.

    In-place activations are executed out of place, and the packed multi-head attention is opened
    up so that its projections are calls of their own. An assignment to a part of a tensor is the
    in-place call :func:`setitem_`. Subclasses override :meth:`call`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.index = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Route one torch call."""
        kwargs = kwargs or {}
        if func == Tensor.__setitem__:
            return self.call(setitem_, args, kwargs)
        if func is F.multi_head_attention_forward:
            with self:
                return _open_attention(*args, **kwargs)
        position = _inplace_position(func)
        if position is not None:
            if kwargs.get("inplace"):
                kwargs = kwargs | {"inplace": False}
            elif len(args) > position and args[position] is True:
                args = (*args[:position], False, *args[position + 1 :])
        return self.call(func, args, kwargs)

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Execute one call; count it if it returns tensors."""
        result = func(*args, **kwargs)
        if tensors_in(result):
            self.index += 1
        return result


def setitem_(target: Tensor, place: Any, value: Any) -> Tensor:
    """Assign to a part of a tensor and return the tensor, as in-place functions do."""
    target[place] = value
    return target


def tensors_in(result: Any) -> tuple[Tensor, ...]:
    """Return the tensors of a call's result: itself, or the tensor items of a tuple or list."""
    if isinstance(result, Tensor):
        return (result,)
    if isinstance(result, tuple | list) and result and isinstance(result[0], Tensor):
        return tuple(r for r in result if isinstance(r, Tensor))
    return ()


def flat_tensors(args: Iterable[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors among the arguments of a call, nested sequences included."""
    found: list[Tensor] = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found.extend(flat_tensors(value, {}))
    return found


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str) -> Any:
    """Return an argument given by position or by name, None if it is absent."""
    return args[position] if len(args) > position else kwargs.get(name)


def with_argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, value: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with one of them replaced."""
    if len(args) > position:
        return (*args[:position], value, *args[position + 1 :]), kwargs
    return args, kwargs | {name: value}


def call_name(func: Callable[..., Any]) -> str:
    """Return a readable name of a torch function ("conv2d", "add", "__getitem__")."""
    name = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return str(name)


@cache
def _inplace_position(func: Callable[..., Any]) -> int | None:
    if not isinstance(func, FunctionType):
        return None
    names = list(signature(func).parameters)
    return names.index("inplace") if "inplace" in names else None


# The function's own first act under a mode is to hand itself over whole; a twin that believes no
# mode is active runs its body, whose inner calls are then seen one by one.
_open_attention = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda _: False},
    "multi_head_attention_forward",
    F.multi_head_attention_forward.__defaults__,
)
_open_attention.__kwdefaults__ = F.multi_head_attention_forward.__kwdefaults__


def same_call(left: Callable[..., Any], right: Callable[..., Any]) -> bool:
    """Tell whether two intercepted functions are the same one."""
    return left is right or left == right
