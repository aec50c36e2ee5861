"""Reduced answers: what a file of answers may hold in place of a task's outputs.

A phone or a server seldom gives a detector's raw tensors. A kind of task names here the columns
that its metrics can do with: detections, masks, the highest classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Batch, Column
from calaudit.metrics.base import Metric
from calaudit.metrics.catalogue import definition_of
from calaudit.metrics.truth import Relevance
from calaudit.runtime.errors import FileFormatError, Notice
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import counted

TOP: Final = "top"
"""The column of the highest classes, or items."""
_OF_HIGHEST: Final = frozenset({"balanced_accuracy", "macro_f1", "top", "top1_agreement"})
"""Of classifications: metrics that read which k outputs are highest (1 without a cut), no more."""
_OF_TIES: Final = "ties_at_cut"
"""Of rankings the only metric with a cut that a list doesn't tell."""
_DOCS: Final = "docs/formats/answers.md says what such columns hold."


class Reduced(ABC):
    """A form in which a file may hold a task's answers in place of the model's outputs."""

    __slots__ = ()

    ragged: bool = False
    """Whether a sample has any number of values, which ``offsets`` or ``image`` tell apart."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """The model's outputs in whose place it stands."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """What the file has to hold, all of it."""

    @abstractmethod
    def unknown(self, metrics: Iterable[Metric], held: Collection[str]) -> list[Metric]:
        """Metrics that these columns don't tell.

        Parameters
        ----------
        metrics : iterable of Metric
        held : collection of str
            All columns of the file.
        """

    @abstractmethod
    def check(self, given: Mapping[str, Column], rows: Rows) -> tuple[Notice, ...]:
        """What there is to say of the file's columns.

        Parameters
        ----------
        given : mapping
            Column → of each row.
        rows : int64 (n,)
            Pool rows, ascending.

        Raises
        ------
        FileFormatError
            Values that make no sense, with how many there are.
        """

    @abstractmethod
    def batch(self, given: Mapping[str, Column], rows: Rows) -> Batch:
        """What an engine would have given, or a reduction kept of it, for rows that were checked.

        See `check` for the parameters.
        """


def wrong(message: str, next_step: str = _DOCS) -> FileFormatError:
    """What is wrong with a file's columns; whoever opened the file says where."""
    return FileFormatError(message, next_step=next_step)


def plain(given: Mapping[str, Column], name: str) -> NDArray[Any]:
    """A column with one row per sample."""
    values = given[name]
    assert isinstance(values, np.ndarray)
    return values


@dataclass(frozen=True, slots=True)
class Highest(Reduced):
    """The highest classes or items of each sample, best first: ``top``, (n, k)."""

    output: str
    width: int
    """Classes, or items."""
    what: str
    """What one is called: ``"class"`` or ``"item"``."""
    cut: int
    """The lowest place that a metric reads."""
    hidden: Callable[[Rows], NDArray[np.bool_]] | None = None
    """Of a ranking: rows → (n, items) what is never shown."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The one that scores them."""
        return (self.output,)

    @property
    def columns(self) -> tuple[str, ...]:
        """One."""
        return (TOP,)

    def unknown(self, metrics: Iterable[Metric], held: Collection[str]) -> list[Metric]:
        """Those that read more than an order of the highest."""
        return [each for each in metrics if depth_of(each) is None]

    def check(self, given: Mapping[str, Column], rows: Rows) -> tuple[Notice, ...]:
        """Whole numbers of classes, each once, enough for every cut; a row of −1 is no answer."""
        top = plain(given, TOP)
        if top.ndim != 2 or top.dtype.kind not in "iu" or not top.shape[1]:
            raise wrong(f"{TOP} isn't a list of whole numbers for each sample, (n, k)")
        top = top.astype(np.int64)
        silent = (top == -1).all(axis=1)
        strange = ((top < 0) | (top >= self.width)).any(axis=1) & ~silent
        if strange.any():
            number = top[strange].ravel()
            number = number[(number < 0) | (number >= self.width)][0]
            raise wrong(
                f"{TOP} names {number} in {counted(int(strange.sum()), 'sample')} of "
                f"{len(top):,}, which is none of the {self.width:,} {self._plural}, 0 to "
                f"{self.width - 1:,}",
                f"Give the places that {self._plural} have in the output {self.output}; a row of "
                "−1 says that there is no answer.",
            )
        ordered = np.sort(top, axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1) & ~silent
        if twice.any():
            raise wrong(
                f"{TOP} names {'a class' if self.what == 'class' else 'an item'} twice in "
                f"{counted(int(twice.sum()), 'sample')}",
                f"Name the {self._plural} in falling order of their scores, each once.",
            )
        self._check_length(top, silent, rows)
        return ()

    def _check_length(self, top: NDArray[np.int64], silent: NDArray[np.bool_], rows: Rows) -> None:
        kept = np.full(len(top), top.shape[1])
        if self.hidden is not None:
            kept -= np.take_along_axis(self.hidden(rows), np.maximum(top, 0), axis=1).sum(axis=1)
        short = (kept < min(self.cut, self.width)) & ~silent
        if short.any():
            left = " that may be shown" if self.hidden is not None else ""
            raise wrong(
                f"{TOP} names {counted(int(kept[short].min()), self.what, self._plural)}{left}, in "
                f"{counted(int(short.sum()), 'sample')} of {len(top):,}; the task's metrics read "
                f"{self.cut}",
                f"Give at least {self.cut} per sample, or lower the metrics' cuts.",
            )

    @property
    def _plural(self) -> str:
        return "classes" if self.what == "class" else "items"

    def batch(self, given: Mapping[str, Column], rows: Rows) -> Batch:
        """An output with the same order of the highest: k, k − 1, …, and 0 of all others."""
        top = plain(given, TOP).astype(np.int64)
        scores = np.zeros((len(top), self.width), np.float32)
        places = np.arange(top.shape[1], 0, -1, dtype=np.float32)
        np.put_along_axis(scores, np.maximum(top, 0), places[None], axis=1)
        scores[(top == -1).all(axis=1)] = np.nan
        return Batch({self.output: scores})


def depth_of(metric: Metric) -> int | None:
    """How many of the highest outputs a metric reads, which is all it reads; None: it reads more.

    Only of calaudit's own metrics is that known.
    """
    definition = definition_of(metric)
    if not definition.is_ours:
        return None
    if metric.family in _OF_HIGHEST:
        return metric.k or 1
    of_lists = definition.cut and definition.needs is Relevance
    return metric.k if of_lists and metric.family != _OF_TIES else None


def highest_of(
    metrics: Iterable[Metric],
    output: str,
    shape: tuple[int | None, ...] | None,
    *,
    what: str,
    hidden: Callable[[Rows], NDArray[np.bool_]] | None = None,
) -> Iterator[Highest]:
    """The highest classes or items, where the model says how many there are.

    Parameters
    ----------
    metrics : iterable of Metric
        The task's.
    output : str
    shape : tuple or None
        Of the output for one sample, as far as the model says.
    what : str
        ``"class"`` or ``"item"``.
    hidden : callable, optional
        Rows → (n, items) what is never shown.
    """
    if shape is not None and len(shape) == 1 and shape[0] is not None:
        cut = max((depth_of(each) or 1 for each in metrics), default=1)
        yield Highest(output, shape[0], what, cut, hidden)
