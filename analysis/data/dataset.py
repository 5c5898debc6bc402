"""A set of images in memory, with the content digests by which sets are told apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.errors import DataError

Pixels = NDArray[np.uint8] | NDArray[np.float32]
Labels = NDArray[np.int64]
Indices = NDArray[np.intp]

# Floats this close to k / 255 are an 8-bit image that was divided.
_EIGHT_BIT = 1e-3


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Per channel ``(x - mean) / std`` on pixels in 0..1; lengths are the number of channels."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Dataset:
    """Images with or without labels; a live object, not a record.

    Args:
        images: Shape (N, C, H, W); uint8, or float32 taken as it is.
        labels: Class indices, int64 of shape (N,), or ``None``.
        class_names: Names by class index, or empty.
        source: The spec it came from.
        notes: What was left out or changed on loading.

    Raises:
        DataError: If shapes or dtypes differ from these, or there is no sample.
    """

    images: Pixels
    labels: Labels | None = None
    class_names: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check shapes and dtypes, and hold read-only views: digests are computed once."""
        if self.images.ndim != 4 or self.images.dtype not in (np.uint8, np.float32):
            raise DataError(
                "Images must be uint8 or float32 of shape (N, C, H, W), got "
                f"{self.images.dtype} of shape {self.images.shape}."
            )
        if not self.images.size:
            raise DataError(f"A set must hold at least one sample, got shape {self.images.shape}.")
        if self.labels is not None and (
            self.labels.dtype != np.int64 or self.labels.shape != (len(self.images),)
        ):
            raise DataError(
                f"Labels must be int64 of shape ({len(self.images)},), got "
                f"{self.labels.dtype} of shape {self.labels.shape}."
            )
        for name in ("images", "labels"):
            if getattr(self, name) is not None:
                view = getattr(self, name).view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.images)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of one image."""
        return tuple(int(n) for n in self.images.shape[1:])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of pixels and labels, in hexadecimal."""
        total = sha256(f"{self.images.dtype}|{self.images.shape}|".encode())
        total.update(np.ascontiguousarray(self.images).data)
        if self.labels is not None:
            total.update(b"|labels|" + self.labels.astype("<i8").tobytes())
        return total.hexdigest()

    @cached_property
    def sample_digests(self) -> tuple[str, ...]:
        """SHA-256 of each sample's pixels, in hexadecimal.

        An 8-bit image and the same image divided by 255 have one digest.
        """
        return tuple(_sample_digest(image) for image in self.images)

    def class_name(self, number: int) -> str:
        """Return a class by its name, by its number where it has none."""
        return self.class_names[number] if number < len(self.class_names) else str(number)

    def label(self, index: int) -> str:
        """Return the class of a sample in words, empty without labels."""
        return "" if self.labels is None else self.class_name(int(self.labels[index]))

    def subset(self, indices: Indices) -> "Dataset":
        """Return the samples at ``indices``, in that order."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, images=self.images[indices], labels=labels)

    def take(self, n: int, seed: int) -> "Dataset":
        """Return ``n`` samples in their present order, classes in proportion; all if ``n`` is 0."""
        if n <= 0 or n >= len(self):
            return self
        return self.subset(choose(len(self), n, seed, self.labels))

    def to_tensor(
        self, indices: Sequence[int] | Indices | slice, mean: Sequence[float], std: Sequence[float]
    ) -> Tensor:
        """Return normalized pixels.

        Args:
            indices: Which samples.
            mean: Per channel, for pixels in 0..1.
            std: Per channel, positive.

        Returns:
            float32 of shape (B, C, H, W): uint8 divided by 255, floats as they are; then
            ``(x - mean) / std``.

        Raises:
            DataError: If there is not one mean and one std for each channel.
        """
        channels = self.images.shape[1]
        if len(mean) != channels or len(std) != channels:
            raise DataError(
                f"Normalization must have one mean and one std for each of {channels} channel(s), "
                f"got {len(mean)} and {len(std)}."
            )
        chosen = self.images[indices]
        x = torch.from_numpy(np.array(chosen, dtype=np.float32))
        if chosen.dtype == np.uint8:
            x /= 255
        return x.sub_(torch.tensor(mean).view(-1, 1, 1)).div_(torch.tensor(std).view(-1, 1, 1))

    def batches(
        self, batch_size: int, preprocessing: Preprocessing
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield normalized images (B, C, H, W) with their labels (B,), in order."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            labels = None if self.labels is None else torch.from_numpy(self.labels[part].copy())
            yield self.to_tensor(part, preprocessing.mean, preprocessing.std), labels

    def thumbnail(self, index: int) -> NDArray[np.uint8]:
        """Return one image for showing: uint8 of shape (H, W, 3).

        Floats outside 0..1 are stretched between their minimum and maximum. Images without three
        colours show their first channel.
        """
        image = self.images[index]
        image = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
        if image.dtype != np.uint8:
            low, high = min(float(image.min()), 0.0), max(float(image.max()), 1.0)
            image = ((image - low) / (high - low) * 255).round().astype(np.uint8)
        return np.ascontiguousarray(image.transpose(1, 2, 0)).astype(np.uint8, copy=False)


def choose(size: int, n: int, seed: int, labels: Labels | None) -> Indices:
    """Draw ``n`` of ``size`` positions without replacement, in ascending order.

    With labels the classes keep their proportions: every class is shuffled, and its k-th of m
    members (k from 0) comes at (k + 1/2) / m; the first n are taken. A smaller draw is part of a
    larger one of the same seed.
    """
    shuffled = np.random.default_rng(seed).permutation(size)
    if labels is not None:
        position = np.empty(size, np.float64)
        for label in np.unique(labels):
            members = shuffled[labels[shuffled] == label]
            position[members] = (np.arange(len(members)) + 0.5) / len(members)
        shuffled = shuffled[np.argsort(position[shuffled], kind="stable")]
    return np.sort(shuffled[:n])


def overlap(a: Dataset, b: Dataset) -> int:
    """Count the samples of ``b`` whose pixels also occur in ``a``."""
    known = set(a.sample_digests)
    return sum(digest in known for digest in b.sample_digests)


def _sample_digest(image: Pixels) -> str:
    if image.dtype != np.uint8:
        scaled = image.astype(np.float64) * 255
        rounded = np.rint(scaled)
        if (
            rounded.min() >= 0
            and rounded.max() <= 255
            and np.abs(scaled - rounded).max() < _EIGHT_BIT
        ):
            image = rounded.astype(np.uint8)
    head = f"{image.dtype}|{image.shape}|".encode()
    return sha256(head + np.ascontiguousarray(image).tobytes()).hexdigest()
