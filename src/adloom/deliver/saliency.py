"""Estimates where a picture's subject is, from its colours and contrasts alone.

Only a proposal: the page of a delivery shows what was cut around it, and a person can move the point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from adloom.core.crop import Focus

SIDE_PX = 96
"""The longer side of the analysed image: subjects are larger than a hundredth of their picture."""

SHARE = 0.06
"""The share of pixels, the most striking ones, whose middle is the answer."""


def salient_point(image: Image.Image) -> Focus:
    """The middle of what stands out most, as fractions from left and top.

    A pixel stands out by its distance in colour from the picture's edge, and by the contrast around it; what is near
    the edge counts less.
    """
    small = image.convert("RGB")
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    colours = np.asarray(small.convert("LAB"), np.float32)
    striking = _scaled(_unlike_the_edge(colours)) + _scaled(_contrast(small))
    striking *= _nearness(*striking.shape)
    blurred = Image.fromarray((_scaled(striking) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(SIDE_PX / 24))
    found = np.asarray(blurred, np.float32)
    found = np.where(found >= np.quantile(found, 1 - SHARE), found, 0) ** 2
    if not found.any():
        return Focus(0.5, 0.5)
    height, width = found.shape
    rows, columns = found.sum(axis=1), found.sum(axis=0)
    x = float((columns * (np.arange(width) + 0.5)).sum() / columns.sum() / width)
    y = float((rows * (np.arange(height) + 0.5)).sum() / rows.sum() / height)
    return Focus(round(x, 3), round(y, 3))


def _unlike_the_edge(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """The distance of each pixel's colour from the nearest of the four edges' own."""
    edges = (colours[:3], colours[-3:], colours[:, :3], colours[:, -3:])
    distances = [np.linalg.norm(colours - edge.reshape(-1, 3).mean(axis=0), axis=2) for edge in edges]
    return np.asarray(np.min(distances, axis=0), np.float32)


def _contrast(small: Image.Image) -> NDArray[np.float32]:
    grey = small.convert("L")
    soft = grey.filter(ImageFilter.GaussianBlur(3))
    return np.abs(np.asarray(grey, np.float32) - np.asarray(soft, np.float32))


def _nearness(height: int, width: int) -> NDArray[np.float32]:
    """1 in the middle, falling to about a third in the corners."""
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray(np.exp(-(x**2 + y**2) / 2), np.float32)


def _scaled(values: NDArray[np.float32]) -> NDArray[np.float32]:
    highest = float(values.max())
    return np.asarray(values / highest if highest else values, np.float32)
