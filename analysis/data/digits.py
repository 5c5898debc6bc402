"""The embedded data set: 1,797 scans of handwritten digits, in three fixed disjoint splits.

The scans come with scikit-learn: the test part of "Optical Recognition of Handwritten Digits"
(Alpaydin & Kaynak, UCI Machine Learning Repository, 1998), 8 x 8 pixels with values 0..16.
Everything here is integer arithmetic and SHA-256, so the pixels and the splits are the same bytes
on every platform.
"""

from functools import cache
from hashlib import sha256
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from analysis.errors import UnknownNameError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

CLASS_NAMES = tuple("0123456789")
SPLITS = ("train", "calibration", "evaluation")

_SALT = b"digits-splits-1"
# Per class: ranks 0..99 train, 100..119 calibrate, the rest (54 to 63) evaluates.
_BOUNDS = (0, 100, 120, 1797)


def load_split(split: str) -> tuple[Images, Labels]:
    """Return the images and labels of one split, in arrays of the caller's own.

    Classes take turns, so every prefix is balanced as far as the split allows: ``train`` has 100
    images a class, ``calibration`` 20, ``evaluation`` the 597 others. Identical images would share
    a rank and hence a split. The source does not name the writers, so splits share them.

    Args:
        split: One of :data:`SPLITS`.

    Returns:
        Images, uint8 in 0..255 of shape (N, 1, 16, 16), and labels, int64 in 0..9 of shape (N,).

    Raises:
        UnknownNameError: If there is no such split.
    """
    if split not in SPLITS:
        raise UnknownNameError("split of the digits", split, SPLITS)
    scans, labels = _scans()
    chosen = _indices()[SPLITS.index(split)]
    return upsample(scans[chosen])[:, None], labels[chosen]


def upsample(scans: Images) -> Images:
    """Double the side of square images bilinearly and stretch 0..16 to 0..255.

    Pixel centres are aligned as in ``torch.nn.functional.interpolate(align_corners=False)``: each
    new pixel is 3/4 of the nearest old one and 1/4 of the next along either axis, borders
    replicated. Halves round up.

    Args:
        scans: Values in 0..16, shape (N, S, S).

    Returns:
        Values in 0..255, shape (N, 2S, 2S).
    """
    sixteenths = _double(_double(scans.astype(np.int64), axis=1), axis=2)
    return ((sixteenths * 255 + 128) // 256).astype(np.uint8)


def _double(x: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """Twice as many values along ``axis``, four times as large."""
    last = x.shape[axis] - 1
    at = np.arange(last + 1)
    before = x.take(np.maximum(at - 1, 0), axis)
    after = x.take(np.minimum(at + 1, last), axis)
    pair = np.stack((3 * x + before, 3 * x + after), axis + 1)
    return pair.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])


@cache
def _scans() -> tuple[Images, Labels]:
    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


@cache
def _indices() -> tuple[NDArray[np.intp], ...]:
    """Positions of each split's images in the source, classes taking turns."""
    scans, labels = _scans()
    digests = np.array([sha256(_SALT + scan.tobytes()).hexdigest() for scan in scans])
    rank = np.empty(len(scans), np.int64)
    for label in range(len(CLASS_NAMES)):
        members = np.flatnonzero(labels == label)
        rank[members] = np.unique(digests[members], return_inverse=True)[1]
    order = np.lexsort((labels, rank))
    return tuple(
        order[(low <= rank[order]) & (rank[order] < high)] for low, high in pairwise(_BOUNDS)
    )
