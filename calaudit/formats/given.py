"""What engines gave for rows: outputs, and what tasks made of them (answers), in memory.

`calaudit.formats.predictions` keeps both on disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.pool import Rows


@dataclass(frozen=True, eq=False, slots=True)
class Ragged:
    """Values of rows that have different numbers of them."""

    values: NDArray[Any]
    """(m, …) those of the first row, then those of the second …"""
    counts: NDArray[np.int64]
    """(n,) values of each row."""

    def __post_init__(self) -> None:
        if int(self.counts.sum()) != len(self.values):
            raise ValueError(f"{len(self.values)} values for counts of {self.counts.sum()}")

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(n + 1,) where each row's values begin, and where the last one's end."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    def take(self, rows: NDArray[np.int64]) -> "Ragged":
        """The rows at some positions, in their order."""
        starts, counts = self.offsets[rows], self.counts[rows]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return Ragged(self.values[np.repeat(starts, counts) + within], counts)


Column = NDArray[Any] | Ragged
"""What a reduction gives of each row: (n, …), or ragged."""


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """What is kept of one batch."""

    outputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Output → (b, …)."""
    answers: Mapping[str, Mapping[str, Column]] = field(default_factory=dict)
    """Reduction → column → of each row."""
    compression: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Reduction → column → filter of HDF5 (``"lzf"``, ``"gzip"``), where it is compressed."""

    def take(self, rows: NDArray[np.int64]) -> "Batch":
        """The rows at some positions, in their order."""
        return Batch(
            {name: values[rows] for name, values in self.outputs.items()},
            {
                name: {column: _taken(values, rows) for column, values in columns.items()}
                for name, columns in self.answers.items()
            },
            self.compression,
        )

    def __len__(self) -> int:
        sizes = {len(values) for values in self.outputs.values()}
        sizes |= {len(values) for own in self.answers.values() for values in own.values()}
        if len(sizes) != 1:
            raise ValueError(f"a batch of {sorted(sizes)} rows")
        return sizes.pop()


def join(batches: Sequence[Batch]) -> Batch:
    """Successive batches of the same outputs and columns as one; at least one."""
    first = batches[0]
    return Batch(
        {name: np.concatenate([each.outputs[name] for each in batches]) for name in first.outputs},
        {
            name: {
                column: _joined([each.answers[name][column] for each in batches])
                for column in columns
            }
            for name, columns in first.answers.items()
        },
        first.compression,
    )


def _joined(columns: Sequence[Column]) -> Column:
    ragged = [each for each in columns if isinstance(each, Ragged)]
    if ragged:
        counts = np.concatenate([each.counts for each in ragged])
        return Ragged(np.concatenate([each.values for each in ragged]), counts)
    return np.concatenate([each for each in columns if not isinstance(each, Ragged)])


def alike(one: Column, other: Column) -> bool:
    """Whether two columns hold the same values, NaN for NaN."""
    if isinstance(one, Ragged) and isinstance(other, Ragged):
        return np.array_equal(one.counts, other.counts) and alike(one.values, other.values)
    if isinstance(one, Ragged) or isinstance(other, Ragged):
        return False
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _taken(values: Column, rows: NDArray[np.int64]) -> Column:
    return values.take(rows) if isinstance(values, Ragged) else values[rows]


class Given(Protocol):
    """What an engine gave for some rows, on disk or in memory."""

    @property
    def rows(self) -> Rows:
        """(n,) pool rows, ascending."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs that are kept."""
        ...

    @property
    def answers(self) -> Mapping[str, tuple[str, ...]]:
        """Reduction → its columns."""
        ...

    def read(self, output: str, rows: Rows | None = None) -> NDArray[Any]:
        """One output of all rows or of some, ascending, (n, …)."""
        ...

    def read_answers(self, name: str, column: str, rows: Rows | None = None) -> NDArray[Any]:
        """One column of a reduction's answers of all rows or of some, ascending, (n, …)."""
        ...

    def read_ragged(self, name: str, column: str, rows: Rows | None = None) -> Ragged:
        """One ragged column of a reduction's answers of all rows or of some, ascending."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Held:
    """`Given` in memory: outputs of one batch."""

    rows: Rows
    outputs: Mapping[str, NDArray[Any]]

    @property
    def output_names(self) -> tuple[str, ...]:
        """See `Given`."""
        return tuple(self.outputs)

    @property
    def answers(self) -> Mapping[str, tuple[str, ...]]:
        """None are held."""
        return {}

    def read(self, output: str, rows: Rows | None = None) -> NDArray[Any]:
        """See `Given`."""
        values = self.outputs[output]
        return values if rows is None else values[np.searchsorted(self.rows, rows)]

    def read_answers(self, name: str, column: str, rows: Rows | None = None) -> NDArray[Any]:
        """None are held."""
        raise KeyError(name)

    def read_ragged(self, name: str, column: str, rows: Rows | None = None) -> Ragged:
        """None are held."""
        raise KeyError(name)
