"""Messages between the lab and its worker processes: JSON and arrays, never pickles."""

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

import numpy as np
import torch
from torch import Tensor

from analysis.initialization.lab_data import LabData

_LENGTHS = struct.Struct(">QQQ")
# Parts of LabData that are tensors.
_PARTS = ("train_x", "train_y", "calibration_x", "evaluation_x", "evaluation_y")


@dataclass(frozen=True, slots=True)
class Frame:
    """A kind of message, a JSON text and an npz archive, the latter two possibly empty."""

    kind: str
    text: bytes = b""
    archive: bytes = field(default=b"", repr=False)


def send(stream: IO[bytes], frame: Frame) -> None:
    """Write one message."""
    parts = (frame.kind.encode(), frame.text, frame.archive)
    stream.write(_LENGTHS.pack(*(len(part) for part in parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes]) -> Frame | None:
    """Read one message, None where the other side has ended."""
    head = stream.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        return None
    parts = []
    for length in _LENGTHS.unpack(head):
        part = stream.read(length)
        if len(part) < length:
            return None
        parts.append(part)
    return Frame(parts[0].decode(), parts[1], parts[2])


def pack(data: LabData) -> Frame:
    """Return the message that carries the data."""
    archive = io.BytesIO()
    arrays: Mapping[str, object] = {name: getattr(data, name).numpy() for name in _PARTS}
    np.savez(archive, **arrays)  # type: ignore[arg-type]
    return Frame("data", data.digest.encode(), archive.getvalue())


def unpack(frame: Frame) -> LabData:
    """Return the data that a message carries."""
    with np.load(io.BytesIO(frame.archive), allow_pickle=False) as arrays:
        tensors: dict[str, Tensor] = {name: torch.from_numpy(arrays[name]) for name in _PARTS}
    return LabData(**tensors, digest=frame.text.decode())
