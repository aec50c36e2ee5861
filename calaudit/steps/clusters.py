"""Clusters: which evaluated samples belong together, and where that doesn't matter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import SliceError, near
from calaudit.pool import Pool, Rows
from calaudit.slices import Dimension, SliceSet
from calaudit.slices.categories import code_categories
from calaudit.steps.exam import Exam


@dataclass(frozen=True, eq=False, slots=True)
class Clusters:
    """Samples that belong together: of one speaker, of one user, of one image."""

    column: str
    code: NDArray[np.int64]
    """(n,) cluster of each evaluated sample; missing ones stand alone."""
    alone: frozenset[str]
    """Slices by the column itself: each is about its one cluster, whose samples are what varies."""

    def of(self, exam: Exam) -> NDArray[np.int64]:
        """Clusters of an exam's units.

        Raises
        ------
        SliceError
            Samples of one query are in different clusters.
        """
        first = exam.first_rows
        if first is None:
            return self.code
        own = self.code[first]
        if (own[exam.unit_of_row] != self.code).any():
            raise SliceError(
                f'clusters by "{self.column}" differ within a query',
                next_step="Name a column that belongs to the query.",
            )
        return own


def read_clusters(
    column: str | None,
    pool: Pool,
    evaluated: Rows,
    *,
    dimensions: Sequence[Dimension],
    slices: SliceSet,
    where: str,
) -> Clusters | None:
    """Read the column that says which samples belong together; None without one.

    Parameters
    ----------
    column : str or None
    pool : Pool
    evaluated : int64 (n,)
        Rows to judge on.
    dimensions : sequence of Dimension
        As the audit declares them.
    slices : SliceSet
        What they came to.
    where : str
        Place in the audit file, for messages.

    Raises
    ------
    SliceError
        The pool has no such column, or it holds no categories.
    """
    if column is None:
        return None
    code = cluster_codes(column, pool, evaluated, where=where)
    return Clusters(column, code, frozenset(_alone(column, dimensions, slices)))


def cluster_codes(column: str, pool: Pool, rows: Rows, *, where: str) -> NDArray[np.int64]:
    """Number the clusters of some rows; rows without a value stand alone.

    Raises
    ------
    SliceError
        The pool has no such column, or it holds no categories.
    """
    if column not in pool.column_names():
        raise SliceError(
            f'no column "{column}"', where=where, next_step=near(column, pool.column_names())
        )
    coded = code_categories(pool.columns([column], rows).to_series(), where=where, at_most=None)
    code = coded.codes.astype(np.int64)
    missing = np.flatnonzero(code < 0)
    code[missing] = len(coded.values) + np.arange(len(missing))
    return code


def _alone(column: str, dimensions: Sequence[Dimension], slices: SliceSet) -> list[str]:
    """Slices whose samples are all of one cluster, because they are defined by it."""
    by_column = {
        each.title
        for each in dimensions
        if each.by == column and not (each.edges or each.quantiles or each.tail)
    }
    titles = [
        each.title
        for each in dimensions
        if each.title in by_column or by_column & set(each.cross or ())
    ]
    return [label for title in titles for label in slices.dimension(title).labels]
