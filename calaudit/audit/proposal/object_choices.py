"""Slices of objects, proposed: by class, by size, by what annotations say, and class by image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.proposal.choices import MOST_CROSSED, MOST_GROUPS, Sliced, Table
from calaudit.runtime.errors import SettingsError, SliceError
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.settings import parse_settings
from calaudit.runtime.words import counted
from calaudit.slices.dimension import Dimension
from calaudit.slices.objects import PREFIX, is_unit, slice_pool

CLASS = f"{PREFIX}class"
SIZE = f"{PREFIX}size"
FEWEST_CROSSED = 100
"""Objects of each cross: one class may be lost in one group of images alone, and gates go by the
clusters of the thinnest slice."""


@dataclass(frozen=True, slots=True)
class SlicedObjects:
    """Dimensions of objects beside those of samples."""

    tables: tuple[Table, ...]
    left_out: tuple[tuple[str, str], ...]
    """Column, and why."""
    least: int
    """Clusters with judged objects in the slice that has the fewest, of objects or of samples:
    objects of one image, or of images that belong together, are found and missed together."""


def choose_object_slices(
    pool: Pool,
    target: str,
    rows: Rows,
    sliced: Sliced,
    *,
    clusters: NDArray[np.int64],
    needed: int,
) -> SlicedObjects:
    """Dimensions of the objects whose slices hold `needed` judged ones.

    Parameters
    ----------
    pool : Pool
    target : str
        The pool's objects.
    rows : array of int
        Judged pool rows, ascending.
    sliced : Sliced
        Dimensions of samples.
    clusters : array of int
        Cluster of each judged row.
    needed : int
        Objects below which a slice proves nothing that matters.
    """
    look = _Look(pool, target, rows, [table.values for table in sliced.tables])
    names = [CLASS, SIZE, *(f"{PREFIX}{name}" for name in pool.objects[target].columns)]
    found: list[Table] = []
    left_out: list[tuple[str, str]] = []
    for name in names:
        values: dict[str, Any] = {"by": name}
        counts = look.counts(values)
        if name == CLASS and counts is not None and len(counts) > MOST_GROUPS:
            values["tail"] = [0.5, 0.8]
            counts = look.counts(values)
        if counts is None or not 1 < len(counts) <= MOST_GROUPS:
            few = counts is not None and len(counts) < 2
            left_out.append((name, "it is constant" if few else "it can't be cut into groups"))
        elif counts.min() < needed:
            told = counted(int(counts.min()), "evaluated object")
            left_out.append((name, f"its smallest group holds {told}"))
        else:
            found.append(Table(values, _remark(counts)))
    found += _crossed(look, found, sliced)
    least = look.fewest_clusters([table.values for table in found], clusters)
    return SlicedObjects(tuple(found), tuple(left_out), least)


def _crossed(look: "_Look", found: Sequence[Table], sliced: Sliced) -> Sequence[Table]:
    """The class crossed with the first dimension of samples of which each cross is large enough."""
    if not (found and found[0].values["by"] == CLASS):
        return ()
    for other in sliced.tables[: sliced.n_plain]:
        cross = {"cross": [CLASS, other.values["by"]]}
        counts = look.counts(found[0].values, cross)
        if counts is not None and len(counts) <= MOST_CROSSED and counts.min() >= FEWEST_CROSSED:
            return (Table(cross, _remark(counts)),)
    return ()


@dataclass(frozen=True, slots=True)
class _Look:
    pool: Pool
    target: str
    rows: Rows
    samples: Sequence[Mapping[str, Any]]
    """Dimensions of samples, which crosses may name."""

    def counts(self, *declared: Mapping[str, Any]) -> NDArray[np.int64] | None:
        """Judged objects of each slice of the last dimension; None where it can't be sliced."""
        try:
            slices = slice_pool(self._dimensions(declared), self.pool, where="slices")
            return slices.over(self.target, self.rows).dimensions[-1].counts()
        except (SliceError, SettingsError):
            return None

    def fewest_clusters(
        self, declared: Sequence[Mapping[str, Any]], clusters: NDArray[np.int64]
    ) -> int:
        """Clusters of judged objects in the slice that has the fewest."""
        objects = self.pool.read_objects(self.target, self.rows)
        own = clusters[objects.image[is_unit(objects)]]
        slices = slice_pool(self._dimensions(declared), self.pool, where="slices")
        fewest = len(np.unique(own))
        for dimension in slices.over(self.target, self.rows).dimensions:
            codes = dimension.codes
            pairs = np.unique(np.stack([codes[codes >= 0], own[codes >= 0]]), axis=1)
            counts = np.bincount(pairs[0])
            fewest = min(fewest, int(counts[counts > 0].min(initial=fewest)))
        return fewest

    def _dimensions(self, declared: Sequence[Mapping[str, Any]]) -> list[Dimension]:
        every = [*self.samples, *declared]
        return [parse_settings(each, Dimension, where="slices", at="") for each in every]


def _remark(counts: NDArray[np.int64]) -> str:
    few, many = int(counts.min()), int(counts.max())
    sizes = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    return f"{len(counts)} slices of {sizes} evaluated objects."
