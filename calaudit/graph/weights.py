"""Weights as int8: symmetric, one scale per output channel, rounded half to even, within ±127."""

import numpy as np
from numpy.typing import NDArray

LIMIT = 127
"""Weights use -127…127, so that the scale is amax / 127 on both sides."""

_SMALLEST = np.finfo(np.float32).tiny
"""Scales below the smallest normal float32 are refused or flushed to zero by kernels."""


def estimate_weight_scales(
    values: NDArray[np.float32], axis: int | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scale per output channel, amax / 127.

    Parameters
    ----------
    values : float32 array
        Finite weights.
    axis : int or None
        Output-channel axis; None for one scale.

    Returns
    -------
    scales : float32 (channels,) or ()
        Positive. A channel of zeros takes the largest scale among the channels (1 / 127 when all
        are zero): TensorRT refuses scales of zero, and zeros stay zeros under any scale.
    dead : int64 (n,)
        Channels that took the fallback.
    """
    others = None if axis is None else tuple(d for d in range(values.ndim) if d != axis)
    amax = np.max(np.abs(values), axis=others, initial=0)
    scales = np.asarray(amax / np.float32(LIMIT), dtype=np.float32)
    dead = scales < _SMALLEST
    if dead.any():
        fallback = scales.max() if not dead.all() else np.float32(1 / LIMIT)
        scales = np.where(dead, fallback, scales).astype(np.float32)
    return scales, np.flatnonzero(dead)


def quantize_weight(
    values: NDArray[np.float32], scales: NDArray[np.float32], axis: int | None
) -> NDArray[np.int8]:
    """``clip(round_half_even(values / scale), ±127)``, shaped like `values`."""
    if axis is not None:
        shape = [1] * values.ndim
        shape[axis] = -1
        scales = scales.reshape(shape)
    levels: NDArray[np.float32] = np.clip(np.rint(values / scales), -LIMIT, LIMIT)
    return levels.astype(np.int8)
