"""Outputs of a segmentation brought to the size of the true masks.

Centres of pixels keep their places (PyTorch's ``align_corners=False`` and ``nearest-exact``, ONNX's
``half_pixel``, Pillow's nearest): pixel i of n lies at (i + ½)/n. True masks are never resized.
"""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Resize = Literal["bilinear", "nearest"]
_LARGE: Final = 1e30


def resized(values: NDArray[Any], size: tuple[int, ...], how: Resize | None) -> NDArray[Any]:
    """Maps (n, height, width) in another size; as they are where the size is theirs.

    Parameters
    ----------
    values : ndarray, shape (n, h, w)
    size : tuple
        Height and width.
    how : str or None
        None only where the size is theirs.
    """
    if values.shape[1:] == size:
        return values
    if how == "nearest":
        rows, columns = (_nearest(n, m) for n, m in zip(values.shape[1:], size, strict=True))
        return np.asarray(values[:, rows[:, None], columns])
    down, across = (_weights(n, m) for n, m in zip(values.shape[1:], size, strict=True))
    # 0 times infinity would be no number; samples with NaN have no answer anyway.
    finite = np.nan_to_num(values.astype(np.float32), posinf=_LARGE, neginf=-_LARGE)
    return np.asarray(down @ finite @ across.T)


def best_class(scores: NDArray[Any], size: tuple[int, ...], how: Resize) -> NDArray[np.int64]:
    """The class with the highest score of each pixel, (n, height, width).

    Parameters
    ----------
    scores : ndarray, shape (n, classes, h, w)
    size : tuple
        Height and width.
    how : str
        ``"bilinear"`` resizes the scores, ``"nearest"`` the classes.
    """
    if how == "nearest":
        return resized(scores.argmax(axis=1), size, how)
    found = np.empty((len(scores), *size), np.int64)
    for at, one in enumerate(scores):
        found[at] = resized(one, size, how).argmax(axis=0)
    return found


def _places(n: int, m: int) -> NDArray[np.float64]:
    """Where m pixels lie among n, in pixels of these."""
    return (np.arange(m) + 0.5) * n / m - 0.5


def _nearest(n: int, m: int) -> NDArray[np.int64]:
    return np.clip(np.floor(_places(n, m) + 0.5), 0, n - 1).astype(np.int64)


def _weights(n: int, m: int) -> NDArray[np.float32]:
    """(m, n) weights of n pixels in m, by their distance; beyond the outermost those repeat."""
    place = np.clip(_places(n, m), 0, n - 1)
    first = np.minimum(np.floor(place).astype(np.int64), max(n - 2, 0))
    share = place - first
    found = np.zeros((m, n), np.float32)
    found[np.arange(m), first] = 1 - share
    found[np.arange(m), np.minimum(first + 1, n - 1)] += share
    return found
