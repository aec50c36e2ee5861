"""What to compare, proposed: slices large enough to prove something about, and calibration sets.

Sets are drawn at random, spread evenly, and, as controls, narrow on purpose.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.audit.proposal.spread import SHARE, reaches
from calaudit.runtime.errors import SettingsError, SliceError
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.settings import parse_settings
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.slices.sliceset import CodedDimension, SliceSet
from calaudit.tasks.base import Proposed

PROVABLE = 150
"""Judged samples of a slice with which a gate of five points can be kept by a good engine."""
MOST_GROUPS = 12
"""More values than this are binned, or grouped into head and tail."""
MOST_DIMENSIONS = 4
MOST_BINS = 3
MOST_CROSSED = 40
"""Crossed slices that a person still reads."""
IDENTIFIERS = ("id", "ids", "idx", "index", "row", "number", "sample", "file", "path", "name")
ENTITIES = (
    "user", "item", "query", "image", "photograph", "photo", "scene", "patient", "recording",
    "session", "document", "video", "frame", "clip",
)  # fmt: skip
FEWEST_CLUSTERS = 20
"""Different values of an identifier from which its samples are judged as clusters."""

SET_SIZE = 128
"""Samples of a calibration set, where there are twice as many to draw from."""
SMALLEST_NARROW = 8
"""Fewer samples of one group than this make no calibration set worth comparing."""
PER_STRATUM = 3
"""Samples that each stratum of two crossed dimensions should give on average."""

_ALIKE = 0.9
"""Reach of the narrowest group, as a share of the furthest, from which on size decides."""


@dataclass(frozen=True, slots=True)
class Table:
    """Keys and values as the audit file has them, and why they are proposed."""

    values: Mapping[str, Any]
    """Texts, numbers, lists and mappings of them."""
    remark: str = ""
    """Shown as a comment above; empty: none."""


@dataclass(frozen=True, slots=True)
class Sliced:
    """The dimensions to judge along, crosses last, and the columns that were left out."""

    tables: tuple[Table, ...]
    n_plain: int
    """How many of them are not crosses."""
    least: int
    """Judged units of the thinnest slice."""
    slices: SliceSet
    """Over the whole pool."""
    left_out: tuple[tuple[str, str], ...]
    """Column, and why."""


@dataclass(frozen=True, slots=True)
class _Considered:
    values: Mapping[str, Any]
    rank: int
    least: int
    n_slices: int
    remark: str

    @property
    def column(self) -> str:
        return str(self.values["by"])


def choose_slices(
    pool: Pool, frame: pl.DataFrame, rows: Rows, *, needed: int, guess: Proposed
) -> Sliced:
    """Dimensions whose every slice holds `needed` judged units, the most telling first.

    Parameters
    ----------
    pool : Pool
    frame : polars.DataFrame
        Columns that may be sliced by, one row per judged unit.
    rows : array of int
        Pool rows of the units.
    needed : int
        Units below which a slice proves nothing that matters.
    guess : Proposed
        What is judged; its column of classes comes last.
    """
    good: list[_Considered] = []
    thin: list[_Considered] = []
    left_out: list[tuple[str, str]] = []
    look = _Look(pool, rows, needed, guess)
    for name in frame.columns:
        reason = look.unfit(frame[name], frame)
        found = None if reason else look.consider(frame[name])
        if found is None:
            left_out.append((name, reason or "it can't be cut into groups"))
        elif found.least < needed:
            thin.append(found)
            left_out.append(
                (name, f"its smallest group holds {found.least:,} evaluated {guess.units}")
            )
        else:
            good.append(found)
    good.sort(key=lambda each: each.rank)
    chosen = good[:MOST_DIMENSIONS]
    left_out += [(each.column, "four are enough to begin with") for each in good[len(chosen) :]]
    if not chosen and thin:
        chosen = [max(thin, key=lambda each: each.least)]
        left_out = [each for each in left_out if each[0] != chosen[0].column]
    tables = [Table(each.values, each.remark) for each in chosen]
    tables += look.crossed(chosen)
    slices = look.slices(*(table.values for table in tables))
    counts = slices.take(rows).counts().values()
    return Sliced(tuple(tables), len(chosen), min(counts), slices, tuple(left_out))


@dataclass(frozen=True, slots=True)
class _Look:
    """What columns are looked at for."""

    pool: Pool
    rows: Rows
    needed: int
    guess: Proposed

    def unfit(self, column: pl.Series, frame: pl.DataFrame) -> str:
        """Why a column can't make slices; empty if it can."""
        return next(self._against(column, frame), "")

    def _against(self, column: pl.Series, frame: pl.DataFrame) -> Iterator[str]:
        name, label = column.name, self.guess.label
        present = column.drop_nulls()
        distinct = present.n_unique()
        if distinct < 2:
            yield "it is constant"
        if name == label:
            return
        if _identifies(name, distinct) and distinct == len(present):
            yield "it looks like an identifier"
        elif _identifies(name, distinct):
            key = f"cluster_by = {json.dumps(name)}"
            yield f"it looks like an identifier; {key} in [audit] treats its samples as one cluster"
        if label is not None and _same(frame, name, label):
            yield f"it is equivalent to {label}"
        if distinct <= MOST_GROUPS:
            return
        if column.dtype.is_float() and not present.is_finite().all():
            yield "some of its values are infinite; give edges to bin it by"
        if not column.dtype.is_numeric() and distinct > len(present) // 4:
            yield "nearly every sample has a distinct value"

    def consider(self, column: pl.Series) -> _Considered | None:
        """A column's slices; None where it can't be sliced that way after all."""
        name, is_label = column.name, column.name == self.guess.label
        values: dict[str, Any] = {"by": name}
        if column.drop_nulls().n_unique() > MOST_GROUPS:
            if column.dtype.is_numeric() and not is_label:
                bins = (len(column) - column.null_count()) // max(1, self.needed)
                values["quantiles"] = max(2, min(MOST_BINS, bins))
            else:
                values["tail"] = [0.5, 0.8]
        try:
            made = self.slices(values)
        except (SliceError, SettingsError):
            return None
        counts = made.take(self.rows).dimensions[0].counts()
        if len(counts) < 2:
            return None
        rank = 3 if is_label else 2 if "quantiles" in values else int(column.dtype.is_numeric())
        return _Considered(values, rank, int(counts.min()), len(counts), self._remark(counts))

    def crossed(self, chosen: Sequence[_Considered]) -> Iterator[Table]:
        """The first two dimensions crossed, where each cross is still large enough."""
        if len(chosen) < 2 or chosen[0].n_slices * chosen[1].n_slices > MOST_CROSSED:
            return
        cross = {"cross": [each.column for each in chosen[:2]]}
        slices = self.slices(*(each.values for each in chosen[:2]), cross).take(self.rows)
        counts = slices.dimensions[-1].counts()
        if len(counts) and counts.min() >= self.needed:
            yield Table(cross, self._remark(counts))

    def slices(self, *declared: Mapping[str, Any]) -> SliceSet:
        """Dimensions over the whole pool."""
        dimensions = [parse_settings(each, Dimension, where="slices", at="") for each in declared]
        return evaluate_slices(dimensions, self.pool, where="slices")

    def _remark(self, counts: NDArray[np.int64]) -> str:
        few, many = int(counts.min()), int(counts.max())
        sizes = f"{few:,}" if few == many else f"{few:,} to {many:,}"
        return f"{len(counts)} slices of {sizes} evaluated {self.guess.units}."


def _same(frame: pl.DataFrame, one: str, other: str) -> bool:
    """Whether each value of a column goes with one value of the other, and the other way."""
    pairs = frame.select(pl.struct(one, other)).n_unique()
    return pairs == frame[one].n_unique() == frame[other].n_unique()


def _identifies(name: str, distinct: int) -> bool:
    last = name.lower().replace("-", "_").split("_")[-1]
    return last in IDENTIFIERS or (last in ENTITIES and distinct > MOST_GROUPS)


def find_clusters(frame: pl.DataFrame) -> str | None:
    """The column that says which samples show the same thing: an identifier that isn't unique."""
    for name in frame.columns:
        distinct = frame[name].drop_nulls().n_unique()
        if _identifies(name, distinct) and FEWEST_CLUSTERS <= distinct < frame.height:
            return name
    return None


def propose_sets(sliced: Sliced, candidates: Rows, pool: Pool) -> Iterator[Table]:
    """Recipes that can be drawn from the candidates."""
    size = max(1, min(SET_SIZE, len(candidates) // 2))
    yield Table(
        {"name": "random", "kind": "uniform", "size": size},
        "A random sample: the usual choice.",
    )
    plain = [table.values for table in sliced.tables[: sliced.n_plain]]
    if not plain:
        return
    drawable = sliced.slices.take(candidates).dimensions[: sliced.n_plain]
    yield from _equal(size, plain, [each.counts()[each.counts() > 0].tolist() for each in drawable])
    for values, dimension in list(zip(plain, drawable, strict=True))[:2]:
        yield from _narrow(size, values, dimension, candidates, pool)


def _equal(
    size: int, plain: list[Mapping[str, Any]], counted: Sequence[Sequence[int]]
) -> Iterator[Table]:
    if not 1 < len(counted[0]) <= size:
        return
    both = len(plain) > 1 and PER_STRATUM * len(counted[0]) * len(counted[1]) <= size
    yield Table(
        {
            "name": "equal",
            "kind": "stratified",
            "size": size,
            "allocation": "equal",
            "strata": plain[: 1 + both],
        },
        "The same number from every group, so that rare groups are covered.",
    )


def _narrow(
    size: int, values: Mapping[str, Any], dimension: CodedDimension, candidates: Rows, pool: Pool
) -> Iterator[Table]:
    """The group whose inputs reach least far: ranges of it alone clip all others."""
    counts = dimension.counts()
    large = np.flatnonzero(counts >= SMALLEST_NARROW)
    if not len(large) or (counts > 0).sum() < 2:
        return
    reach = reaches(pool, candidates, dimension.codes, len(counts))
    alike = reach[large].min() > _ALIKE
    least = min(large, key=lambda group: (0 if alike else reach[group], -counts[group]))
    told = (
        ""
        if alike
        else (
            f": the group whose inputs reach least far (the {SHARE:.1%} quantile of |x| is "
            f"{reach[least]:.0%} of the furthest group's), so that its ranges clip the others"
        )
    )
    name = dimension.labels[least]
    yield Table(
        {
            "name": f"only {name}",
            "role": "control",
            "kind": "skewed",
            "size": min(size, int(counts[least])),
            "only": [name],
            "strata": [values],
        },
        f"Deliberately narrow, to show the effect of a biased set{told}. A control: never gated.",
    )
