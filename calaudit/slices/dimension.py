"""What a user declares: along which dimensions samples are sliced."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

from calaudit.runtime.errors import SettingsError, near
from calaudit.runtime.settings import setting
from calaudit.slices.categories import MAX_CATEGORIES

MIN_SUPPORT = 30
"""Samples below which a slice is too thin to be judged, unless a dimension says otherwise."""

EVERYTHING = "all"
"""Name of the slice that holds every sample."""

CROSS = " & "
"""What joins the labels of crossed slices."""

OBJECT = "object"
"""The unit of what scores objects, and what stands before the names of their columns."""

_LARGEST_EXACT = 1 << 53
"""Whole numbers up to here are exact as float64."""
_TAIL_LABELS = {1: ("head", "tail"), 2: ("head", "mid", "tail")}


@setting
class Dimension:
    """One way to slice a pool: a column's bins, categories or tail, a predicate, or a cross.

    Exactly one of `by`, `where` and `cross` is given. `by` alone makes one slice per category;
    with `edges` or `quantiles` numeric bins, with `tail` the head, middle and tail of its classes.
    """

    name: str | None = None
    """What labels call it; default: the column, or the crossed dimensions joined by `` & ``."""
    by: str | None = None
    """Metadata column or one-number target."""
    edges: tuple[int | float, ...] | None = None
    """Ascending boundaries of half-open bins ``[a, b)``, open at both ends. A last edge of
    infinity gives infinity a slice of its own. Whole numbers are exact at any size."""
    quantiles: int | tuple[float, ...] | None = None
    """Number of bins of equal share, or ascending probabilities in (0, 1)."""
    tail: tuple[float, ...] | None = None
    """Ascending cumulative shares of samples in (0, 1): ``[0.5, 0.8]`` makes a head (the largest
    classes, which hold the first half), a middle (up to 80 %) and a tail (the rest)."""
    count: str | None = None
    """With `tail`: the column that holds each class's count, instead of counting samples."""
    tail_labels: tuple[str, ...] | None = None
    """With `tail`: names of the groups, one more than shares."""
    where: str | None = None
    """SQL predicate over columns; makes the one slice that `name` names."""
    cross: tuple[str, ...] | None = None
    """Names of two or more dimensions declared beside this one (not crosses)."""
    min_support: int = MIN_SUPPORT
    """Samples below which a slice is too thin to be judged."""
    missing: Literal["slice", "drop", "error"] = "slice"
    """Samples without a value: a slice of their own, in no slice, or an error."""

    def __post_init__(self) -> None:
        for field in ("edges", "tail", "tail_labels", "cross"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, tuple(value))
        if self.edges is not None:
            object.__setattr__(self, "edges", tuple(map(_as_float, self.edges)))
        if self.quantiles is not None and not isinstance(self.quantiles, int):
            object.__setattr__(self, "quantiles", tuple(self.quantiles))
        _check_kind(self)
        _check_values(self)

    @property
    def title(self) -> str:
        """What labels call this dimension."""
        if self.name is not None:
            return self.name
        return self.by if self.by is not None else CROSS.join(self.cross or ())

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns it reads, those of a predicate aside."""
        return tuple(column for column in (self.by, self.count) if column is not None)


def step_for(column: str, known: Sequence[str]) -> str:
    """A next step for a column that isn't among those known."""
    if column.startswith(f"{OBJECT}.") and not any(each.startswith(f"{OBJECT}.") for each in known):
        return (
            "Columns of objects slice what a detection task judges, not the samples: name a column "
            "of the images here."
        )
    return near(column, known)


def _as_float(edge: float) -> float:
    """The edge as a float where that is the same number, so that 5 and 5.0 are one declaration."""
    return float(edge) if abs(edge) <= _LARGEST_EXACT else edge


def _check_kind(dimension: Dimension) -> None:
    given = [key for key in ("by", "where", "cross") if getattr(dimension, key) is not None]
    if len(given) != 1:
        raise SettingsError(
            f"a dimension needs exactly one of by, where and cross, got {_listed(given)}",
            next_step='Write by = "column", where = "SQL predicate" or cross = ["one", "other"].',
        )
    kind = given[0]
    ways = [key for key in ("edges", "quantiles", "tail") if getattr(dimension, key) is not None]
    if len(ways) > 1:
        raise SettingsError(
            f"{_listed(ways)} can't go together",
            next_step="Declare a second dimension of the same column under another name.",
        )
    if kind != "by" and ways:
        raise SettingsError(
            f"{ways[0]} needs by, not {kind}", next_step="Name the column: by = ..."
        )
    if kind == "where" and not dimension.name:
        raise SettingsError(
            "a predicate's slice needs a name", next_step='Add name = "what the slice is called".'
        )
    if kind != "by" and dimension.missing != "slice":
        raise SettingsError(
            f"missing needs by, not {kind}", next_step="Drop it; NULL never meets a predicate."
        )
    if dimension.tail is None and (dimension.count or dimension.tail_labels):
        raise SettingsError(
            "count and tail_labels go with tail", next_step="Add tail = [0.5, 0.8], or drop them."
        )


def _check_values(dimension: Dimension) -> None:
    _check_name(dimension)
    if dimension.min_support < 1:
        raise SettingsError(f"min_support must be at least 1, got {dimension.min_support}")
    if dimension.edges is not None:
        _check_edges(dimension.edges)
    quantiles = dimension.quantiles
    if isinstance(quantiles, int):
        if isinstance(quantiles, bool) or not 2 <= quantiles <= MAX_CATEGORIES:
            raise SettingsError(
                f"quantiles must be at least 2 bins and at most {MAX_CATEGORIES}, got {quantiles}"
            )
    elif quantiles is not None:
        _check_shares("quantiles", quantiles)
    if dimension.tail is not None:
        _check_tail(dimension.tail, dimension.tail_labels)
    if dimension.cross is not None and (
        len(dimension.cross) < 2 or len(set(dimension.cross)) < len(dimension.cross)
    ):
        raise SettingsError(
            f"cross needs two or more different dimensions, got {_listed(dimension.cross)}",
            next_step="Name each dimension once.",
        )


def _check_name(dimension: Dimension) -> None:
    name = dimension.title
    if not name.strip() or not name.isprintable():
        raise SettingsError(f"a name must be one line of text, got {name!r}")
    if dimension.where is not None and name == EVERYTHING:
        raise SettingsError(
            f'"{EVERYTHING}" is the slice of every sample', next_step="Choose another name."
        )


def _check_edges(edges: tuple[Any, ...]) -> None:
    if not edges:
        raise SettingsError("edges is empty", next_step="Give at least one boundary.")
    if any(math.isnan(edge) for edge in edges) or any(a >= b for a, b in pairwise(edges)):
        raise SettingsError(f"edges must ascend, got {_listed(edges)}", next_step="Sort them.")
    if edges[0] == -math.inf:
        raise SettingsError(
            "-inf is no edge: the first bin is open below", next_step="Drop it from edges."
        )


def _check_shares(key: str, shares: tuple[Any, ...]) -> None:
    if not shares or not all(0 < share < 1 for share in shares):
        raise SettingsError(
            f"{key} must lie strictly between 0 and 1, got {_listed(shares)}",
            next_step=f"Give shares such as {key} = [0.5, 0.8].",
        )
    if any(a >= b for a, b in pairwise(shares)):
        raise SettingsError(f"{key} must ascend, got {_listed(shares)}", next_step="Sort them.")


def _check_tail(tail: tuple[float, ...], labels: tuple[str, ...] | None) -> None:
    _check_shares("tail", tail)
    if labels is None:
        if len(tail) not in _TAIL_LABELS:
            raise SettingsError(
                f"{len(tail)} shares need names for their {len(tail) + 1} groups",
                next_step="Add tail_labels.",
            )
        return
    if len(labels) != len(tail) + 1 or len(set(labels)) < len(labels):
        raise SettingsError(
            f"tail_labels must be {len(tail) + 1} different names, got {_listed(labels)}",
            next_step="Give one more name than shares.",
        )


def tail_labels(dimension: Dimension) -> tuple[str, ...]:
    """Names of the groups of a tail dimension, from the head down."""
    if dimension.tail_labels is not None:
        return dimension.tail_labels
    return _TAIL_LABELS[len(dimension.tail or ())]


def _listed(values: Any) -> str:
    return ", ".join(map(str, values)) or "none"
