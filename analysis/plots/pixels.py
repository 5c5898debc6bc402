"""Attributions to pixels over the image they belong to."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.plots import theme
from analysis.records import FloatArray

SIDE = 300
# Blue for, red against; nothing where there is nothing to say, so that the image shows through.
_FOR, _AGAINST = (31, 119, 230), (214, 60, 48)
_STRONGEST = 0.92


def pixel_map(
    values: FloatArray, image: NDArray[np.uint8], title: str, largest: float
) -> go.Figure:
    """Draw an attribution (H, W) over its image in grey, true values on hover.

    Args:
        values: Signed attribution of every pixel.
        image: The image, uint8 (H, W) or (H, W, 3), of any size: it is sampled to the map's.
        title: What the map is of.
        largest: Value of the full colour, shared by maps that are compared.
    """
    picture = blended(values, image, largest)
    figure = go.Figure(
        go.Image(
            z=picture,
            customdata=values.astype(np.float32)[:, :, None],
            hovertemplate="row %{y}, column %{x}<br>%{customdata[0]:.3g}<extra></extra>",
        )
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    share = np.abs(values) / largest if largest > 0 else np.zeros_like(values)
    row, column = np.unravel_index(int(np.abs(values).argmax()), values.shape)
    alt = (
        f"{title}: attribution of {values.shape[0]} by {values.shape[1]} pixels, strongest at row "
        f"{row}, column {column}, {float(share.max()):.0%} of the shared scale."
    )
    return theme.dress(figure, title, [f"full colour at ± {largest:.3g}"], height=SIDE, alt=alt)


def blended(values: FloatArray, image: NDArray[np.uint8], largest: float) -> NDArray[np.uint8]:
    """Return colours (H, W, 3) laid over the grey image, stronger for larger values."""
    grey = _resampled(image.mean(2) if image.ndim == 3 else image.astype(np.float64), values.shape)
    base = np.repeat(96 + 0.5 * grey[:, :, None], 3, axis=2)
    strength = np.sqrt(np.clip(np.abs(values) / largest, 0, 1)) if largest > 0 else 0 * values
    colour = np.where((values >= 0)[:, :, None], np.array(_FOR), np.array(_AGAINST))
    weight = _STRONGEST * strength[:, :, None]
    return np.asarray((1 - weight) * base + weight * colour, dtype=np.uint8)


def _resampled(image: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Return the image at another size by its nearest pixels."""
    rows, columns = (
        np.minimum((np.arange(to) + 0.5) * of / to, of - 1).astype(np.int64)
        for to, of in zip(shape, image.shape, strict=True)
    )
    return image[np.ix_(rows, columns)]
