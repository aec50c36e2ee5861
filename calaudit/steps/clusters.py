"""Clusters: which evaluated samples belong together, and where that changes nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import Problem, SliceError, near
from calaudit.runtime.pool import Pool, Rows
from calaudit.slices.categories import code_categories
from calaudit.slices.dimension import Dimension
from calaudit.slices.sliceset import SliceSet
from calaudit.tasks.base import EvalSet


@dataclass(frozen=True, eq=False, slots=True)
class Clusters:
    """Samples that belong together: of one speaker, of one user, of one image."""

    columns: tuple[str, ...]
    code: NDArray[np.int64]
    """(n,) cluster of each evaluated sample; missing ones stand alone."""
    alone: frozenset[str]
    """Slices by the columns themselves: each is about its one cluster, whose samples are what
    varies."""

    def of(self, eval_set: EvalSet) -> NDArray[np.int64]:
        """Clusters of an evaluation set's units (u,).

        Raises
        ------
        SliceError
            Samples of one query are in different clusters.
        """
        first = eval_set.first_rows
        if first is None:
            return self.code
        own = self.code[first]
        of_row = eval_set.unit_of_row
        if of_row is not None and (own[of_row] != self.code).any():
            raise SliceError(
                f'clusters by "{", ".join(self.columns)}" differ within a query',
                next_step="Name a column that belongs to the query.",
            )
        return own


def clusters_of(
    clusters: Clusters | None, eval_set: EvalSet, *, alone: bool = False
) -> NDArray[np.int64] | None:
    """Which units belong together (u,); None where each stands alone.

    Units that one sample has several of, such as the objects of an image, always belong together.

    Parameters
    ----------
    clusters : Clusters or None
        As the audit declares them.
    eval_set : EvalSet
    alone : bool
        Whether it is asked for slices that are about one cluster each.
    """
    if clusters is None or alone:
        return eval_set.row_of_unit
    return clusters.of(eval_set)


def read_clusters(
    columns: Sequence[str],
    pool: Pool,
    evaluated: Rows,
    *,
    dimensions: Sequence[Dimension],
    slices: Iterable[SliceSet],
    where: str,
) -> Clusters | None:
    """Read the columns that say which samples belong together; None without any.

    Parameters
    ----------
    columns : sequence of str
        Samples that agree in all of them belong together.
    pool : Pool
    evaluated : int64 (n,)
        Rows to judge on.
    dimensions : sequence of Dimension
        As the audit declares them.
    slices : iterable of SliceSet
        What they came to, for each kind of unit.
    where : str
        Place in the audit file, for messages.

    Raises
    ------
    SliceError
        The pool has no such column, or it holds no categories.
    """
    if not columns:
        return None
    code = cluster_codes(columns, pool, evaluated, where=where)
    return Clusters(tuple(columns), code, frozenset(_alone(columns, dimensions, slices)))


def cluster_codes(
    columns: Sequence[str], pool: Pool, rows: Rows, *, where: str
) -> NDArray[np.int64]:
    """Number the clusters of some rows; rows that lack a value stand alone.

    Raises
    ------
    SliceError
        The pool has no such column, or it holds no categories.
    """
    known = pool.column_names()
    strangers = [column for column in columns if column not in known]
    if strangers:
        raise SliceError.of(
            Problem(f'no column "{column}"', where, near(column, known)) for column in strangers
        )
    code = np.zeros(len(rows), dtype=np.int64)
    missing = np.zeros(len(rows), dtype=bool)
    for column in columns:
        coded = code_categories(pool.columns([column], rows).to_series(), where=where, at_most=None)
        missing |= coded.codes < 0
        # numbered anew after each column, so that no product of their sizes can overflow
        _, code = np.unique(code * (len(coded.values) + 1) + coded.codes, return_inverse=True)
    code[missing] = len(rows) + np.arange(np.count_nonzero(missing))
    return code


def _alone(
    columns: Sequence[str], dimensions: Sequence[Dimension], slices: Iterable[SliceSet]
) -> list[str]:
    """Slices whose samples are all of one cluster, because they are defined by it."""
    by = {
        each.title: each.by
        for each in dimensions
        if each.by is not None and not (each.edges or each.quantiles or each.tail)
    }
    titles = [
        each.title
        for each in dimensions
        if set(columns) <= {by.get(title) for title in each.cross or (each.title,)}
    ]
    made = [dimension for each in slices for dimension in each.dimensions]
    return [label for each in made if each.name in titles for label in each.labels]
