"""The values of a pool's inputs, channel by channel: where to look first when FP32 fails."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.pool import Pool, Rows, TensorSpec, batches
from calaudit.runtime.progress import counter
from calaudit.runtime.words import counted

MOST_CHANNELS = 64
"""Axes with more entries are features or time, and are summed up as one."""
MOST_BYTES = 2**28
"""Inputs beyond this many bytes are read in part: rows at even distances."""
BATCH_BYTES = 2**24
_COLOURS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class ChannelRange:
    """Values of one channel of one input over the samples that were read."""

    channel: int | None
    """Position on the channel axis; None: the input has none, or too many."""
    low: float | None
    """Least finite value; None where there is none."""
    mean: float | None
    high: float | None
    std: float | None
    """Standard deviation, over n."""
    zeros: float
    """Share of the values that are 0, in 0 … 1."""
    not_finite: int
    """Values that are NaN or infinite, which the other numbers leave out."""


@dataclass(frozen=True, slots=True)
class InputRanges:
    """One input."""

    name: str
    axis: int | None
    """Channel axis, counted with the batch axis; None without."""
    n: int
    """Samples that were read."""
    n_samples: int
    """Samples there are."""
    channels: tuple[ChannelRange, ...]

    def shown(self) -> str:
        """In a line: ``x: 0 … 255 (mean 117, SD 61)``."""
        parts = [_channel(each) for each in self.channels[:4]]
        more = f", … {len(self.channels)} channels" if len(self.channels) > 4 else ""
        part = "" if self.n == self.n_samples else f", of {counted(self.n, 'sample')}"
        return f"{self.name}: {'; '.join(parts)}{more}{part}"


def _channel(one: ChannelRange) -> str:
    if one.low is None:
        return "nothing finite"
    return f"{one.low:.4g} … {one.high:.4g} (mean {one.mean:.3g}, SD {one.std:.3g})"


def describe_inputs(
    pool: Pool, rows: Rows | None = None, *, most_bytes: int = MOST_BYTES
) -> tuple[InputRanges, ...]:
    """Sum up the inputs of some rows, in one pass and bounded memory.

    Parameters
    ----------
    pool : Pool
    rows : int64 (n,), optional
        Ascending; all by default.
    most_bytes : int
        Where the rows' inputs hold more, rows at even distances are read, at least one.
    """
    rows = np.arange(len(pool), dtype=np.int64) if rows is None else rows
    size = sum(row_bytes(spec) for spec in pool.inputs.values())
    read = max(1, min(len(rows), most_bytes // max(1, size)))
    chosen = rows[np.linspace(0, len(rows) - 1, read).round().astype(np.int64)] if read else rows
    axes = {name: channel_axis(spec.shape) for name, spec in pool.inputs.items()}
    moments = {name: _Moments.of(spec, axes[name]) for name, spec in pool.inputs.items()}
    with counter(len(chosen), what="input ranges") as done:
        for piece in batches(chosen, max(1, BATCH_BYTES // max(1, size))):
            for name, values in pool.read_inputs(piece, check=False).items():
                moments[name].add(_by_channel(values, axes[name]))
            done.advance(len(piece))
    return tuple(
        InputRanges(name, axes[name], len(chosen), len(rows), tuple(each.ranges()))
        for name, each in moments.items()
    )


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Which axis of a batch holds channels: 1, or the last where it plainly holds colours.

    Parameters
    ----------
    shape : tuple of int
        Of one sample.
    """
    if len(shape) == 3 and shape[2] in _COLOURS and min(shape[:2]) > max(_COLOURS):
        return 3
    return 1 if shape and shape[0] <= MOST_CHANNELS else None


def row_bytes(spec: TensorSpec) -> int:
    """Bytes of one sample's array."""
    return math.prod(spec.shape) * spec.dtype.itemsize


def _by_channel(values: NDArray[Any], axis: int | None) -> NDArray[np.float64]:
    """(channels, m) all values of each channel."""
    wide = values.astype(np.float64)
    if axis is None:
        return wide.reshape(1, -1)
    moved = np.moveaxis(wide, axis, 0)
    return moved.reshape(len(moved), -1)


@dataclass(slots=True)
class _Moments:
    """Running sums of each channel, merged batch by batch (Chan, Golub and LeVeque 1983)."""

    single: bool
    n: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    zeros: NDArray[np.float64]
    not_finite: NDArray[np.int64]

    @classmethod
    def of(cls, spec: TensorSpec, axis: int | None) -> "_Moments":
        """Nothing seen yet."""
        channels = 1 if axis is None else spec.shape[axis - 1]
        return cls(
            single=axis is None,
            n=np.zeros(channels),
            mean=np.zeros(channels),
            squares=np.zeros(channels),
            low=np.full(channels, np.inf),
            high=np.full(channels, -np.inf),
            zeros=np.zeros(channels),
            not_finite=np.zeros(channels, np.int64),
        )

    def add(self, values: NDArray[np.float64]) -> None:
        """Merge (channels, m)."""
        finite = np.isfinite(values)
        some = finite.any(axis=1)
        count = finite.sum(axis=1).astype(np.float64)
        safe = np.where(finite, values, 0.0)
        mean = safe.sum(axis=1) / np.maximum(count, 1.0)
        squares = np.where(finite, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
        total = np.maximum(self.n + count, 1.0)
        shift = np.where(some, mean - self.mean, 0.0)
        self.mean += shift * count / total
        self.squares += squares + shift**2 * self.n * count / total
        self.n += count
        least = np.where(finite, values, np.inf).min(axis=1, initial=np.inf)
        most = np.where(finite, values, -np.inf).max(axis=1, initial=-np.inf)
        self.low, self.high = np.minimum(self.low, least), np.maximum(self.high, most)
        self.zeros += (finite & (values == 0)).sum(axis=1)
        self.not_finite += (~finite).sum(axis=1)

    def ranges(self) -> Iterator[ChannelRange]:
        """What was seen of each channel."""
        for at, n in enumerate(self.n):
            seen = n > 0
            yield ChannelRange(
                channel=None if self.single else at,
                low=float(self.low[at]) if seen else None,
                mean=float(self.mean[at]) if seen else None,
                high=float(self.high[at]) if seen else None,
                std=math.sqrt(self.squares[at] / n) if seen else None,
                zeros=float(self.zeros[at] / (n + self.not_finite[at])) if seen else 0.0,
                not_finite=int(self.not_finite[at]),
            )
