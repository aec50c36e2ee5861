"""What is in each slice: size, share, support, label mix."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from calaudit.slices.categories import Categories, code_categories
from calaudit.slices.sliceset import SliceSet


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
