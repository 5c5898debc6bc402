"""What the lab's networks are trained and judged on, as tensors."""

from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from analysis.errors import DataError

# Side of an image in pixels.
SMALLEST = 8


@dataclass(frozen=True, slots=True)
class LabData:
    """Preprocessed images (N, C, H, W) in float32 and labels (N,) in int64.

    ``calibration_x`` is the fixed batch on which activations are followed and ranges estimated.
    ``digest`` identifies the whole.

    Raises:
        DataError: On construction, if tensors do not fit each other.
    """

    train_x: Tensor
    train_y: Tensor
    calibration_x: Tensor
    evaluation_x: Tensor
    evaluation_y: Tensor
    digest: str

    def __post_init__(self) -> None:
        """Check shapes and labels."""
        shapes = {tuple(x.shape[1:]) for x in self.images}
        if len(shapes) > 1 or any(x.dim() != 4 or min(x.shape[2:]) < SMALLEST for x in self.images):
            raise DataError(
                f"Images of all parts must be (N, C, H, W) of one shape, at least {SMALLEST} x "
                f"{SMALLEST}, got {', '.join(str(tuple(x.shape)) for x in self.images)}."
            )
        if any(len(x) < 2 for x in self.images):
            raise DataError(
                "Every part must hold at least two images, got "
                f"{', '.join(str(len(x)) for x in self.images)}."
            )
        if not all(bool(x.isfinite().all()) for x in self.images):
            raise DataError("Images must be finite, some hold NaN or infinite values.")
        for x, y in ((self.train_x, self.train_y), (self.evaluation_x, self.evaluation_y)):
            if y.shape != x.shape[:1] or y.dtype != torch.int64 or int(y.min()) < 0:
                raise DataError(
                    f"Labels must be whole numbers from 0, one an image, got {y.dtype} of shape "
                    f"{tuple(y.shape)} for {len(x)} images."
                )

    @property
    def images(self) -> tuple[Tensor, Tensor, Tensor]:
        """The images of all three parts."""
        return self.train_x, self.calibration_x, self.evaluation_x

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.train_x.shape[1]

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return 1 + max(int(self.train_y.max()), int(self.evaluation_y.max()))


def digest_of(*tensors: Tensor) -> str:
    """Return the SHA-256 of tensors' shapes, types and bytes."""
    found = sha256()
    for tensor in tensors:
        found.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()
