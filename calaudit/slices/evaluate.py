"""Evaluate declared dimensions, and crosses of them, over a pool or a frame."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.runtime.errors import Notice, Problem, SliceError, near
from calaudit.runtime.pool import Rows, widened
from calaudit.runtime.words import counted
from calaudit.slices.binning import Bins, bin_by_edges, bin_by_quantiles
from calaudit.slices.categories import (
    category_label,
    class_counts,
    code_categories,
    group_by_frequency,
    missing_label,
)
from calaudit.slices.dimension import CROSS, OBJECT, Dimension, step_for, tail_labels
from calaudit.slices.predicate import Predicate, parse_predicate
from calaudit.slices.sliceset import CodedDimension, SliceSet

MAX_CROSSED = 10_000
"""More non-empty combinations than this make no slices a person could read."""
_MAX_TABLE = 1 << 24


def cross(
    name: str, parts: Sequence[CodedDimension], *, min_support: int, where: str
) -> tuple[CodedDimension, tuple[Notice, ...]]:
    """Intersect dimensions over the same rows.

    Combinations that hold no sample make no slice; their number is noted. A row that is in no
    slice of one part is in none of the cross.

    Raises
    ------
    SliceError
        More than 10,000 combinations hold samples.
    """
    sizes = [len(part.labels) for part in parts]
    combined = np.zeros(len(parts[0].codes), np.int64)
    outside = np.zeros(len(combined), bool)
    for part, size in zip(parts, sizes, strict=True):
        combined *= size
        combined += part.codes
        outside |= part.codes < 0
    combined[outside] = -1
    n_possible = prod(sizes)
    if n_possible <= _MAX_TABLE:
        present = np.flatnonzero(np.bincount(combined + 1, minlength=n_possible + 1)[1:])
    else:
        present = np.unique(combined[combined >= 0])
    if len(present) > MAX_CROSSED:
        raise SliceError(
            f"{len(present):,} combinations hold samples, at most {MAX_CROSSED:,} make slices",
            where=where,
            next_step="Cross fewer dimensions, or with fewer slices each.",
        )
    codes = np.searchsorted(present, combined).astype(np.int32)
    codes[outside] = -1
    labels = tuple(
        CROSS.join(part.labels[i] for part, i in zip(parts, place, strict=True))
        for place in zip(*np.unravel_index(present, sizes), strict=True)
    )
    notices: tuple[Notice, ...] = ()
    if len(present) < n_possible:
        message = f"{n_possible - len(present):,} of {n_possible:,} combinations hold no sample"
        notices = (Notice("empty_combinations", message, where),)
    return CodedDimension(name, labels, codes, min_support), notices


class Columns(Protocol):
    """Columns over the same rows: a pool's samples, or its objects."""

    def __len__(self) -> int: ...

    def column_names(self) -> list[str]:
        """Names usable in slices."""
        ...

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Some of them; missing values are null."""
        ...


def evaluate_slices(
    dimensions: Sequence[Dimension],
    source: Columns | pl.DataFrame,
    *,
    where: str = "slices",
    known: Mapping[str, CodedDimension] | None = None,
) -> SliceSet:
    """Find every slice and who is in it.

    Quantiles and tails are of all rows of `source`: to judge a part of a pool by the slices of
    the whole, evaluate the whole and :meth:`SliceSet.take` the part.

    Parameters
    ----------
    dimensions : sequence of Dimension
        Their titles differ; a cross names others of them.
    source : Pool, other columns, or polars.DataFrame
        A frame's NaN counts as missing, as null does.
    where : str
        What messages call the place the dimensions come from.
    known : mapping, optional
        Title → a dimension that is evaluated already, over the same rows; crosses may name it.

    Raises
    ------
    SliceError
        With every unknown column or dimension, predicate that doesn't parse, and doubled name;
        or with the first column that can't be sliced as declared.
    """
    coded: dict[str, CodedDimension] = dict(known or {})
    open_ones = [each for each in dimensions if each.title not in coded]
    columns = _Columns(source)
    predicates = _check(dimensions, open_ones, columns, where)
    columns.expect(
        [name for each in open_ones for name in each.columns]
        + [name for predicate in predicates.values() for name in predicate.columns]
    )
    notices: list[Notice] = []
    crosses = [each for each in open_ones if each.cross is not None]
    for dimension in [each for each in open_ones if each.cross is None] + crosses:
        place = f"{where}: {dimension.title}"
        if dimension.cross is not None:
            parts = [coded[name] for name in dimension.cross]
            made, found = cross(
                dimension.title, parts, min_support=dimension.min_support, where=place
            )
        else:
            bins = _bins(dimension, columns, predicates.get(dimension.title), place)
            made = CodedDimension(
                dimension.title, bins.labels, bins.codes.astype(np.int32), dimension.min_support
            )
            found = bins.notices
        coded[dimension.title] = made
        notices.extend(found)
    return SliceSet(len(source), tuple(coded[each.title] for each in dimensions), tuple(notices))


def select_rows(
    predicate: str, source: Columns | pl.DataFrame, *, where: str = "predicate"
) -> Rows:
    """Rows that a SQL predicate selects, ascending; only the columns it names are read.

    Infinity is written ``'inf'::float``. A sample for which the predicate is NULL isn't selected.

    Raises
    ------
    SliceError
        It doesn't parse, isn't a condition on one row, or names unknown columns.
    """
    columns = _Columns(source)
    parsed = parse_predicate(predicate, columns.known, where=where)
    columns.expect(parsed.columns)
    mask = parsed.select(columns.frame(parsed.columns))
    return np.flatnonzero(mask).astype(np.int64, copy=False)


class _Columns:
    """Reads each column once and lets go of it after its last use."""

    def __init__(self, source: Columns | pl.DataFrame) -> None:
        self._source = source
        self._held: dict[str, pl.Series] = {}
        self._uses: Counter[str] = Counter()
        self.known = source.columns if isinstance(source, pl.DataFrame) else source.column_names()

    def expect(self, names: Iterable[str]) -> None:
        self._uses.update(names)

    def frame(self, names: Sequence[str]) -> pl.DataFrame:
        return pl.DataFrame([self.series(name) for name in names])

    def series(self, name: str) -> pl.Series:
        if name not in self._held:
            self._held[name] = self._read(name)
        self._uses[name] -= 1
        return self._held[name] if self._uses[name] > 0 else self._held.pop(name)

    def _read(self, name: str) -> pl.Series:
        if not isinstance(self._source, pl.DataFrame):
            return self._source.columns([name]).to_series()
        return widened(self._source.get_column(name))


def _check(
    dimensions: Sequence[Dimension],
    open_ones: Sequence[Dimension],
    columns: _Columns,
    where: str,
) -> dict[str, Predicate]:
    """Everything that can be wrong before data is read, all at once."""
    problems: list[Problem] = []
    predicates: dict[str, Predicate] = {}
    crossable = [each.title for each in dimensions if each.cross is None]
    for title, n in Counter(each.title for each in dimensions).items():
        if n > 1:
            step = "Give one of them another name (on the command line :name=...)."
            problems.append(Problem(f'{n} dimensions are called "{title}"', where, step))
    for dimension in open_ones:
        place = f"{where}: {dimension.title}"
        problems.extend(
            Problem(f'no column "{column}"', place, step_for(column, columns.known))
            for column in dimension.columns
            if column not in columns.known
        )
        problems.extend(
            Problem(f'no dimension is called "{name}"', place, _uncrossed(name, crossable, columns))
            for name in dimension.cross or ()
            if name not in crossable
        )
        if dimension.where is not None:
            try:
                predicates[dimension.title] = parse_predicate(
                    dimension.where, columns.known, where=place
                )
            except SliceError as error:
                problems.extend(error.problems)
    if problems:
        raise SliceError.of(problems)
    return predicates


def _uncrossed(name: str, crossable: Sequence[str], columns: _Columns) -> str:
    """A next step for a cross of what is no dimension: of a column one is made."""
    if name in columns.known or name.startswith(f"{OBJECT}."):
        quoted = json.dumps(name, ensure_ascii=False)
        return f"A cross is of dimensions declared beside it: add [[slices]] by = {quoted}."
    if not crossable:
        return near(name, columns.known)
    return near(name, crossable)


def _bins(dimension: Dimension, columns: _Columns, predicate: Predicate | None, where: str) -> Bins:
    if predicate is not None:
        mask = predicate.select(columns.frame(predicate.columns))
        return Bins((dimension.title,), np.where(mask, np.int32(0), np.int32(-1)))
    column = columns.series(str(dimension.by))
    title = dimension.title
    if dimension.edges is not None:
        bins = bin_by_edges(column, title, dimension.edges, where=where)
    elif dimension.quantiles is not None:
        bins = bin_by_quantiles(column, title, dimension.quantiles, where=where)
    elif dimension.tail is not None:
        bins = _tail(dimension, column, columns, where)
    else:
        categories = code_categories(column, where=where)
        labels = tuple(category_label(title, text) for text in categories.texts())
        bins = Bins(labels, categories.codes)
    return _with_missing(dimension, bins, where)


def _tail(dimension: Dimension, column: pl.Series, columns: _Columns, where: str) -> Bins:
    classes = code_categories(column, where=where, at_most=None)
    counts: NDArray[np.float64] = classes.counts().astype(np.float64)
    if dimension.count is not None:
        counts = class_counts(classes, columns.series(dimension.count), where=where)
    groups = group_by_frequency(counts, dimension.tail or ())
    labels = tuple(f"{dimension.title} in {name}" for name in tail_labels(dimension))
    # The appended -1 is what a missing value's code, -1, picks.
    return Bins(labels, np.append(groups, np.int32(-1))[classes.codes])


def _with_missing(dimension: Dimension, bins: Bins, where: str) -> Bins:
    missing = bins.codes < 0
    n_missing = int(missing.sum())
    if n_missing == 0 or dimension.missing == "drop":
        notices = bins.notices
        if n_missing:
            samples = counted(n_missing, "sample without a value is", "samples without a value are")
            message = f"{samples} in no slice"
            notices = (*notices, Notice("missing_dropped", message, where))
        return Bins(bins.labels, bins.codes, notices)
    if dimension.missing == "error":
        raise SliceError(
            f"{counted(n_missing, 'sample has', 'samples have')} no value "
            f'in column "{dimension.by}"',
            where=where,
            next_step='Fill them, or set missing = "slice" or "drop".',
        )
    codes = np.where(missing, np.int32(len(bins.labels)), bins.codes)
    return Bins((*bins.labels, missing_label(dimension.title)), codes, bins.notices)
