"""TensorRT's entropy calibration as it is told, bin by bin: slow, and nothing of calaudit's."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.calibration.entropy_trt import choose_amax
from calaudit.calibration.equal_bins import GrowingBins

Counts = NDArray[np.int64]


def told_bins(batches: Iterable[NDArray[Any]]) -> tuple[Counts, float]:
    """Counts (2048,) and width, by going through the batches in order."""
    counts = [0] * 2048
    width = 0.0
    for batch in batches:
        values = [abs(float(value)) for value in np.asarray(batch).ravel()]
        largest = max(values, default=0.0)
        if largest == 0:
            counts[0] += len(values)
            continue
        if width == 0:
            width = largest / 2048
        while largest > 2048 * width:
            counts = [counts[i] + counts[i + 1] for i in range(0, 2048, 2)] + [0] * 1024
            width = 2 * width
        for value in values:
            counts[min(int(value / width), 2047)] += 1
    return np.array(counts), width


def told_divergence(counts: Sequence[int], i: int) -> float:
    """KL(P‖Q) of keeping `i` bins; NaN for one that isn't a candidate."""
    bins = [counts[1], *counts[1:]]
    p = [float(each) for each in bins[:i]]
    p[-1] += sum(bins[i:])
    q = [0.0] * i
    for level in range(128):
        first, end = -(-level * i // 128), -(-(level + 1) * i // 128)
        filled = [number for number in range(first, end) if bins[number]]
        whole = sum(bins[first:end])
        for number in filled:
            q[number] = whole / len(filled)
    if not any(bins[:i]) or (i < 2048 and sum(map(bool, bins[:i])) == 1):
        return np.nan
    loss, p_sum, q_sum = 0.0, sum(p), sum(q)
    for one, other in zip(p, q, strict=True):
        if one > 0:
            share = one / p_sum
            loss += math.inf if other == 0 else share * math.log(share / (other / q_sum))
    return loss


def told_clip(counts: Counts) -> int:
    """The bins that are kept: the least divergence, the most bins of equals."""
    listed = counts.tolist()
    found = {i: told_divergence(listed, i) for i in range(128, 2049)}
    finite = {i: loss for i, loss in found.items() if np.isfinite(loss)}
    if not finite:
        return 2048
    least = min(finite.values())
    return max(i for i, loss in finite.items() if loss <= least + 1e-10)


def trt_amax(*batches: NDArray[Any]) -> float:
    """amax by calaudit."""
    bins = GrowingBins()
    for batch in batches:
        bins.add(batch)
    return choose_amax(bins.counts, bins.width)
