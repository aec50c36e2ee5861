"""The answer: which slices there are, which samples are in each, found by name or pattern."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.runtime.errors import Notice, Problem, SliceError, near
from calaudit.runtime.pool import Rows
from calaudit.slices.categories import Categories, code_categories
from calaudit.slices.dimension import CROSS, EVERYTHING, MIN_SUPPORT

_TYPED = (("<=", "≤"), (">=", "≥"), ("−", "-"))


@dataclass(frozen=True, slots=True, eq=False)
class CodedDimension:
    """One dimension, evaluated: every sample is in at most one of its slices."""

    name: str
    labels: tuple[str, ...]
    """Slice names, unique within a `SliceSet`."""
    codes: NDArray[np.int32]
    """(n_rows,) index into `labels`; -1 = in none of them."""
    min_support: int = MIN_SUPPORT

    def counts(self) -> NDArray[np.int64]:
        """Samples per label (len(labels),)."""
        return np.bincount(self.codes + 1, minlength=len(self.labels) + 1)[1:].astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class SliceSet:
    """Named, possibly overlapping sets of the same rows.

    The slice ``"all"`` holds every row and comes first; then the slices of each dimension in
    order. Two dimensions may overlap; slices of one dimension never do.

    Raises
    ------
    SliceError
        Two slices share a name, or codes are not (n_rows,).
    """

    n_rows: int
    dimensions: tuple[CodedDimension, ...] = ()
    notices: tuple[Notice, ...] = ()
    """What was merged, left out or found empty while slices were evaluated."""
    _places: dict[str, tuple[int, int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        places: dict[str, tuple[int, int]] = {EVERYTHING: (-1, 0)}
        problems = []
        for number, dimension in enumerate(self.dimensions):
            if dimension.codes.shape != (self.n_rows,):
                raise SliceError(
                    f"dimension {dimension.name} has codes of shape {dimension.codes.shape} "
                    f"for {self.n_rows} rows"
                )
            for code, label in enumerate(dimension.labels):
                if label in places:
                    problems.append(
                        Problem(
                            f'two slices are called "{label}"',
                            f"slices: {dimension.name}",
                            "Give one of the dimensions another name.",
                        )
                    )
                places[label] = (number, code)
        if problems:
            raise SliceError.of(problems)
        object.__setattr__(self, "_places", places)

    @property
    def names(self) -> list[str]:
        """Names of all slices, ``"all"`` first."""
        return list(self._places)

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Which rows are in a slice (n_rows,). Raises `SliceError` for an unknown name."""
        number, code = self._place(name)
        if number < 0:
            return np.ones(self.n_rows, bool)
        mask: NDArray[np.bool_] = self.dimensions[number].codes == code
        return mask

    def rows(self, name: str) -> Rows:
        """Rows of a slice, ascending. Raises `SliceError` for an unknown name."""
        return np.flatnonzero(self.mask(name)).astype(np.int64, copy=False)

    def masks(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Name and mask of each slice, one at a time."""
        for name in self._places:
            yield name, self.mask(name)

    def membership(self) -> NDArray[np.bool_]:
        """All masks at once (n_slices, n_rows), in the order of `names`."""
        table = np.empty((len(self._places), self.n_rows), bool)
        for row, (_, mask) in zip(table, self.masks(), strict=True):
            row[:] = mask
        return table

    def counts(self) -> dict[str, int]:
        """Samples per slice, by name in the order of `names`."""
        found = {EVERYTHING: self.n_rows}
        for dimension in self.dimensions:
            found.update(zip(dimension.labels, dimension.counts().tolist(), strict=True))
        return found

    def sums(self, values: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
        """Sums of the rows' values (n_rows,) over some slices, (len(names),).

        One pass over the rows for each dimension, however many slices it has.

        Raises
        ------
        SliceError
            An unknown name.
        """
        places = [self._place(name) for name in names]
        totals: dict[int, NDArray[np.float64]] = {-1: np.array([values.sum()])}
        for number in {number for number, _ in places if number >= 0}:
            dimension = self.dimensions[number]
            n = len(dimension.labels) + 1
            found = np.bincount(dimension.codes + 1, values, minlength=n)[1:]
            totals[number] = found.astype(np.float64, copy=False)
        return np.array([totals[number][code] for number, code in places], np.float64)

    def min_support(self, name: str) -> int:
        """Samples a slice needs to be judged. Raises `SliceError` for an unknown name."""
        number, _ = self._place(name)
        return MIN_SUPPORT if number < 0 else self.dimensions[number].min_support

    def dimension(self, name: str) -> CodedDimension:
        """A dimension by name. Raises `SliceError` for an unknown name, with the near ones."""
        for dimension in self.dimensions:
            if dimension.name == name:
                return dimension
        raise SliceError(
            f'no dimension is called "{name}"',
            next_step=near(name, [dimension.name for dimension in self.dimensions]),
        )

    def find(self, pattern: str, *, where: object = None) -> list[str]:
        """Names of the slices that a pattern means and that hold samples; see `match_slices`.

        Raises
        ------
        SliceError
            The pattern matches no slice, or none with samples.
        """
        counts = self.counts()
        matched = match_slices(pattern, counts, where=where)
        held = [name for name in matched if counts[name]]
        if not held:
            raise SliceError(
                f'"{pattern}" holds no sample',
                where=where,
                next_step="Drop it, or widen the samples that are looked at.",
            )
        return held

    def take(self, rows: Rows) -> "SliceSet":
        """The same slices over a choice of rows; a slice may become empty and keeps its name."""
        taken = tuple(replace(each, codes=each.codes[rows]) for each in self.dimensions)
        return SliceSet(len(rows), taken, self.notices)

    def _place(self, name: str) -> tuple[int, int]:
        if name not in self._places:
            raise SliceError(f'no slice is called "{name}"', next_step=near(name, self._places))
        return self._places[name]


def match_slices(pattern: str, names: Iterable[str], *, where: object = None) -> list[str]:
    """Names that a pattern means, in the order of `names`.

    A name written exactly means that slice alone. Else ``*``, ``?`` and ``[...]`` are wildcards
    that stay within one part of a cross: ``speaker = *`` means every speaker but no cross,
    ``speaker = * & snr_db = *`` crosses; ``*`` alone means everything. ``<=``, ``>=`` and ``inf``
    may be typed for ``≤``, ``≥`` and ``∞``, and spaces around signs don't matter.

    Raises
    ------
    SliceError
        It matches nothing; with the near names.
    """
    known = list(names)
    if pattern in known:
        return [pattern]
    typed = _canonical(pattern)
    same = [name for name in known if _canonical(name) == typed]
    if same:
        return same
    found = known if typed == "*" else [name for name in known if _matches(name, typed)]
    if not found:
        raise SliceError(
            f'"{pattern}" matches no slice', where=where, next_step=near(pattern, known)
        )
    return found


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = _canonical(name).split(CROSS), pattern.split(CROSS)
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _canonical(name: str) -> str:
    for typed, sign in _TYPED:
        name = name.replace(typed, sign)
    name = re.sub(r"\s*(≤|≥|<|>|=|&)\s*", r" \1 ", name.strip())
    return re.sub(r"(?<=[≤≥<>=] )(-?)inf\b|^(-?)inf(?= ≤)", r"\1\2∞", name)


@dataclass(frozen=True, slots=True)
class SliceSummary:
    """One slice in numbers."""

    name: str
    n: int
    """Samples."""
    share: float
    """Of all rows, in [0, 1]."""
    min_support: int
    support_ok: bool
    """n ≥ min_support."""
    label_mix: dict[str, float]
    """Share of each label within the slice; empty without labels or samples."""


def describe_slices(slices: SliceSet, labels: pl.Series | None = None) -> list[SliceSummary]:
    """Summarise every slice, in the order of ``slices.names``.

    Parameters
    ----------
    slices : SliceSet
    labels : polars.Series, optional
        (n_rows,) label of each row, null for missing.

    Raises
    ------
    SliceError
        More than 1,000 different labels.
    """
    coded = None if labels is None else code_categories(labels, where=f"labels: {labels.name}")
    names = [] if coded is None else [*coded.texts(), "missing"]
    mixes = _mixes(slices, coded)
    summaries = []
    for (name, n), mix in zip(slices.counts().items(), mixes, strict=True):
        support = slices.min_support(name)
        share = n / slices.n_rows if slices.n_rows else 0.0
        shares = {text: int(k) / n for text, k in zip(names, mix, strict=True) if k}
        summaries.append(SliceSummary(name, n, share, support, n >= support, shares))
    return summaries


def _mixes(slices: SliceSet, labels: Categories | None) -> NDArray[np.int64]:
    """Label counts (n_slices, n_labels + 1), the last column for missing labels."""
    width = 0 if labels is None else len(labels.values) + 1
    if labels is None:
        return np.zeros((len(slices.names), 0), np.int64)
    own = np.where(labels.codes < 0, np.int32(width - 1), labels.codes)
    rows = [np.bincount(own, minlength=width)[None]]
    for dimension in slices.dimensions:
        # Codes start at -1, so the first row of the table is "in no slice".
        joint = (dimension.codes + 1).astype(np.int64) * width + own
        n = (len(dimension.labels) + 1) * width
        rows.append(np.bincount(joint, minlength=n).reshape(-1, width)[1:])
    return np.concatenate(rows)
