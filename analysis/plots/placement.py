"""Where to put the labels of points so that they overlap neither each other nor the points."""

from collections.abc import Sequence
from math import hypot

Box = tuple[float, float, float, float]

CHARACTER, LINE, GAP = 6.8, 17.0, 4.0
POINT = 8.0
RINGS = 7


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    width: float,
    height: float,
    obstacles: Sequence[Box] = (),
) -> list[tuple[float, float]]:
    """Choose the offset of each label's centre from its point, nearest free place first.

    A place is not free where the line back to the point would pass over another point, which the
    label would then seem to name.

    Args:
        points: Pixels from the upper left corner of the plot.
        texts: One label a point.
        width: Of the plot, in pixels.
        height: Of the plot, in pixels.
        obstacles: Left, top, right and bottom of what else is drawn, in pixels.

    Returns:
        Offsets (right, down) in pixels. Where no place is free, the one with least overlap.
    """
    taken = [*obstacles, *(_box(x, y, 2 * POINT, 2 * POINT) for x, y in points)]
    offsets = []
    for (x, y), text in zip(points, texts, strict=True):
        size = CHARACTER * len(text) + GAP, LINE
        others = [(there[0] - x, there[1] - y) for there in points if there != (x, y)]
        ways = [
            (
                _cost(_box(x + right, y + down, *size), taken, width, height)
                + (2 * POINT) ** 2 * sum(_passes((right, down), other) for other in others),
                at,
                (right, down),
            )
            for at, (right, down) in enumerate(_offsets(*size))
        ]
        _, _, best = min(ways)
        taken.append(_box(x + best[0], y + best[1], *size))
        offsets.append(best)
    return offsets


def _offsets(width: float, height: float) -> list[tuple[float, float]]:
    """Return places beside a point in rings, the nearest ring first."""
    places = []
    for ring in range(RINGS):
        beside = POINT + GAP + width / 2 + 14 * ring
        above = POINT + GAP + height / 2 + height * ring
        corner = beside * 0.85
        places += [(0.0, -above), (beside, 0.0), (0.0, above), (-beside, 0.0)]
        places += [(corner, -above), (corner, above), (-corner, -above), (-corner, above)]
    return places


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _passes(end: tuple[float, float], other: tuple[float, float]) -> bool:
    """Tell whether the line from the origin to ``end`` passes over another point's mark."""
    along = (end[0] * other[0] + end[1] * other[1]) / (end[0] ** 2 + end[1] ** 2)
    if not 0.0 < along < 1.0:
        return False
    return hypot(other[0] - along * end[0], other[1] - along * end[1]) < POINT


def _cost(box: Box, taken: Sequence[Box], width: float, height: float) -> float:
    """Return the area that a box shares with others or has outside the plot."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    outside = area - _shared(box, (0.0, 0.0, width, height))
    return outside + sum(_shared(box, other) for other in taken)


def _shared(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, across) * max(0.0, down)
