"""Metrics of masks: intersection over union, accuracy of pixels, likeness to FP32's mask.

An engine's answer to a sample is what its mask shares with the true one and with FP32's: two
confusion matrices (`Confused`). They add up over the samples of a slice, and a metric is that of
the slice's matrix, as benchmarks of segmentation report it; small objects, and classes that few
samples show, count as their pixels do. Pixels that the true mask ignores are in no sum against it.

A mean over classes is over those that occur in the slice's true masks. A class that no pixel is of
doesn't enter where an engine finds it: one pixel would otherwise move the mean by the whole of a
class.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.base import metric
from calaudit.metrics.case import Case
from calaudit.metrics.division import divide
from calaudit.metrics.truth import Masks
from calaudit.runtime.errors import SettingsError, near

Floats = NDArray[np.float64]

_TABLE: Final = "one confusion matrix per slice"


@dataclass(frozen=True, eq=False, slots=True)
class Counts:
    """A confusion matrix of classes + 1 rows and columns: the pairs that occur, and how often.

    The last row and column are of pixels that are given no class.
    """

    pair: NDArray[np.int64]
    """(m,) row · (classes + 1) + column, ascending."""
    pixels: NDArray[np.int64]
    """(m,) pixels of each pair, at least 1."""


@dataclass(frozen=True, eq=False, slots=True)
class Confused:
    """One sample's mask by an engine, beside the true one and FP32's."""

    truth: Counts
    """True classes against the engine's, over the pixels that the true mask has a class for."""
    fp32: Counts
    """FP32's against the engine's, over all pixels."""


def count_pairs(rows: NDArray[Any], columns: NDArray[Any], classes: int) -> Counts:
    """The confusion matrix of two masks.

    Parameters
    ----------
    rows, columns : ndarray of integers, of one shape
        Classes of the pixels; a number that is none of the classes is no class.
    classes : int
    """
    pairs = np.zeros(rows.size, dtype=np.int64)
    for mask in (rows.ravel(), columns.ravel()):
        pairs *= classes + 1
        pairs += np.where((mask >= 0) & (mask < classes), mask, classes)
    found = np.bincount(pairs, minlength=1)
    pair = np.flatnonzero(found)
    return Counts(pair, found[pair])


def matrices(answers: NDArray[Any], classes: int, *, fp32: bool = False) -> sparse.csr_array:
    """Confusion matrices of all units, (n, (classes + 1)²); nothing where one has no answer.

    Parameters
    ----------
    answers : ndarray of object (n,)
        `Confused` or None.
    classes : int
    fp32 : bool
        Against FP32's masks rather than the true ones.
    """
    parts = [None if one is None else one.fp32 if fp32 else one.truth for one in answers]
    sizes = [0 if one is None else len(one.pair) for one in parts]
    held = [one for one in parts if one is not None]
    empty = np.zeros(0, dtype=np.int64)
    column = np.concatenate([empty, *(one.pair for one in held)])
    pixels = np.concatenate([empty, *(one.pixels for one in held)]).astype(np.float64)
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return sparse.csr_array((pixels, column, starts), shape=(len(answers), (classes + 1) ** 2))


def right_pixels(answers: NDArray[Any], classes: int) -> Floats:
    """Share of each unit's pixels that have their true class, (n,); NaN where it has no answer.

    Parameters
    ----------
    answers : ndarray of object (n,)
        `Confused` or None.
    classes : int
    """
    found = matrices(answers, classes)
    row, column = np.divmod(np.arange((classes + 1) ** 2), classes + 1)
    right = found @ (row == column).astype(np.float64)
    return divide(right, np.asarray(found.sum(axis=1), dtype=np.float64), np.nan)


def _sums(case: Case, *, fp32: bool = False) -> list[sparse.csr_array]:
    """Pixels of each unit by class, in the rows, in the columns, in both, each (n, classes)."""
    classes = len(case.truth_of(Masks).classes)
    found = matrices(case.outputs, classes, fp32=fp32)
    row, column = np.divmod(np.arange((classes + 1) ** 2), classes + 1)
    return [
        sparse.csr_array(found @ sparse.csr_array(of[:, None] == np.arange(classes), dtype=float))
        for of in (row, column, np.where(row == column, row, classes))
    ]


def _beside(*parts: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(sparse.hstack(parts, format="csr"))


def _class_number(case: Case, name: str) -> int:
    known = case.truth_of(Masks).classes
    if name not in known:
        raise SettingsError(f"there is no class {name!r}", next_step=near(name, known))
    return known.index(name)


def mean_iou_of(totals: Floats) -> Floats:
    """Mean over the classes that occur of common/(true + answered − common); NaN if none does.

    Parameters
    ----------
    totals : ndarray, shape (…, 3·classes)
        Pixels of the truth, of the answer, and common ones, of each class.
    """
    true, answered, common = np.split(totals, 3, axis=-1)
    occurs = true > 0.5
    iou = divide(common, np.where(occurs, true + answered - common, 0.0), 0.0)
    return divide(iou.sum(axis=-1), occurs.sum(axis=-1), np.nan)


def mean_iou_reach(totals: Floats, units: Floats) -> Floats:
    """The most that each sample can move the mean IoU, (n,).

    For the better, where its mask becomes the true one. For the worse, where it has nothing in
    common with it any more and its pixels are answered as the classes that lose most by it: with r
    common pixels of a class left elsewhere and V in its union, a more pixels leave an IoU of
    r/(V + a), and Σ r/(V + a) over the classes is least, for a given Σ a, where r/(V + a)² is the
    same for all that get any (water filling).

    Parameters
    ----------
    totals : ndarray, shape (3·classes,)
    units : ndarray, shape (n, 3·classes)
    """
    true, answered, common = np.split(totals, 3)
    occurs = true > 0.5
    if not occurs.any():
        return np.ones(len(units))
    own = [part[:, occurs] for part in np.split(units, 3, axis=1)]
    pixels = units[:, : len(true)].sum(axis=1)
    union = (true + answered - common)[occurs]
    before = common[occurs] / union
    left = np.maximum(common[occurs] - own[2], 0.0)
    # Without the sample's false positives. Scaled to fewer samples, a union may be smaller.
    without = np.maximum(union - (own[1] - own[2]), np.maximum(own[0], 0.5))
    best = np.minimum((left + own[0]) / without, 1.0)
    worst = _least_iou(left, without, pixels)
    moved = np.maximum(best.sum(axis=1) - before.sum(), before.sum() - worst)
    return np.asarray(np.clip(moved / occurs.sum(), 0.0, 1.0))


def _least_iou(common: Floats, union: Floats, pixels: Floats) -> Floats:
    """Least Σ common/(union + a) over the classes with Σ a = pixels, a ≥ 0, (n,).

    Parameters
    ----------
    common, union : ndarray, shape (n, classes)
    pixels : ndarray, shape (n,)
    """
    order = np.argsort(-common / union**2, axis=1, kind="stable")
    root = np.sqrt(np.take_along_axis(common, order, axis=1))
    room = np.take_along_axis(union, order, axis=1)
    roots, rooms = root.cumsum(axis=1), pixels[:, None] + room.cumsum(axis=1)
    gets = root * rooms > room * roots
    places = np.arange(1, common.shape[1] + 1)
    last = np.where(gets, places, 0).max(axis=1)
    alone = np.concatenate([np.zeros((len(root), 1)), (root**2 / room).cumsum(axis=1)], axis=1)
    at = np.maximum(last - 1, 0)[:, None]
    flooded = np.where(
        last > 0,
        np.take_along_axis(roots, at, axis=1)[:, 0] ** 2
        / np.take_along_axis(rooms, at, axis=1)[:, 0],
        0.0,
    )
    rest = alone[:, -1] - np.take_along_axis(alone, last[:, None], axis=1)[:, 0]
    return np.asarray(flooded + rest)


@metric(
    "set",
    title="Mean IoU",
    needs=Masks,
    span=1.0,
    quality=True,
    functional=mean_iou_of,
    reach=mean_iou_reach,
    convention="mean over the classes that occur in the slice's true masks of common pixels over "
    f"those of either mask; {_TABLE}",
    synonyms="miou, mean intersection over union, jaccard index, mean jaccard, iou score",
)
def mean_iou(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 3·classes): pixels of each class in truth, answer, and both."""
    return _beside(*_sums(case))


def iou_of(totals: Floats) -> Floats:
    """Common/(true + answered − common) of one class; NaN where no true pixel is of it.

    Parameters
    ----------
    totals : ndarray, shape (…, 4)
        Pixels of the class in the truth, the answer, both; labelled pixels.
    """
    true, answered, common = totals[..., 0], totals[..., 1], totals[..., 2]
    return divide(common, np.where(true > 0.5, true + answered - common, 0.0), np.nan)


def iou_reach(totals: Floats, units: Floats) -> Floats:
    """The most that each sample can move the IoU of a class, (n,).

    For the better, where its mask becomes the true one; for the worse, where no pixel of the class
    is found and all others are taken for it.

    Parameters
    ----------
    totals : ndarray, shape (4,)
    units : ndarray, shape (n, 4)
    """
    true, answered, common, _ = totals
    if true <= 0.5:
        return np.ones(len(units))
    union = true + answered - common
    left = np.maximum(common - units[:, 2], 0.0)
    without = np.maximum(union - (units[:, 1] - units[:, 2]), np.maximum(units[:, 0], 0.5))
    best = np.minimum((left + units[:, 0]) / without, 1.0)
    worst = left / (without + units[:, 3] - units[:, 0])
    moved = np.maximum(best - common / union, common / union - worst)
    return np.asarray(np.clip(moved, 0.0, 1.0))


@metric(
    "set",
    title="IoU",
    needs=Masks,
    span=1.0,
    quality=True,
    functional=iou_of,
    reach=iou_reach,
    convention=f"common pixels of the class over those of either mask; {_TABLE}; not defined where "
    "no true pixel is of the class",
    synonyms="intersection over union, class iou, per class iou",
)
def iou(case: Case, class_name: str) -> sparse.csr_array:
    """What each sample adds, (n, 4): pixels of the class in truth, answer, both; all labelled."""
    number, sums = _class_number(case, class_name), _sums(case)
    labelled = sparse.csr_array(sums[0].sum(axis=1)[:, None])
    return _beside(*(each[:, [number]] for each in sums), labelled)


def mean_pixel_accuracy_of(totals: Floats) -> Floats:
    """Mean over the classes that occur of common/true; NaN if none does.

    Parameters
    ----------
    totals : ndarray, shape (…, 2·classes)
        Pixels of the truth, and common ones, of each class.
    """
    true, common = np.split(totals, 2, axis=-1)
    occurs = true > 0.5
    share = divide(common, np.where(occurs, true, 0.0), 0.0)
    return divide(share.sum(axis=-1), occurs.sum(axis=-1), np.nan)


def mean_pixel_accuracy_reach(totals: Floats, units: Floats) -> Floats:
    """The most that each sample can move it, (n,): all its pixels become right, or wrong.

    Parameters
    ----------
    totals : ndarray, shape (2·classes,)
    units : ndarray, shape (n, 2·classes)
    """
    true, _ = np.split(totals, 2)
    occurs = true > 0.5
    if not occurs.any():
        return np.ones(len(units))
    own_true, own_common = (part[:, occurs] / true[occurs] for part in np.split(units, 2, axis=1))
    lost, gained = own_common.sum(axis=1), (own_true - own_common).sum(axis=1)
    return np.asarray(np.clip(np.maximum(lost, gained) / occurs.sum(), 0.0, 1.0))


@metric(
    "set",
    title="Mean pixel accuracy",
    needs=Masks,
    span=1.0,
    quality=True,
    functional=mean_pixel_accuracy_of,
    reach=mean_pixel_accuracy_reach,
    convention="mean over the classes that occur in the slice's true masks of the share of their "
    f"pixels that are found; {_TABLE}",
    synonyms="macc, mean accuracy of pixels, class accuracy of pixels",
)
def mean_pixel_accuracy(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 2·classes): true pixels of each class, and those found."""
    true, _, common = _sums(case)
    return _beside(true, common)


@metric(
    "ratio",
    title="Pixel accuracy",
    needs=Masks,
    span=1.0,
    quality=True,
    convention="right pixels over labelled ones",
    synonyms="pacc, pixel acc, global accuracy, overall accuracy",
)
def pixel_accuracy(case: Case) -> NDArray[np.float64]:
    """Right pixels, and labelled ones, (n, 2)."""
    right = _sums(case)[2].sum(axis=1)
    return np.stack([right, case.truth_of(Masks).pixels.sum(axis=1)], axis=1)


@metric(
    "mean",
    title="Pixel agreement with FP32",
    needs=Masks,
    span=1.0,
    perfect=1.0,
    convention="mean share of a sample's pixels that are of the same class as FP32's, ignored ones "
    "too",
    synonyms="mask agreement, same pixels",
)
def pixel_agreement(case: Case) -> NDArray[np.float64]:
    """Share of the pixels whose class is FP32's, (n,)."""
    classes = len(case.truth_of(Masks).classes)
    found = matrices(case.outputs, classes, fp32=True)
    same = np.arange(classes + 1) * (classes + 2)
    return divide(found[:, same].sum(axis=1), found.sum(axis=1), np.nan)


@metric(
    "set",
    title="Mean IoU with FP32",
    needs=Masks,
    span=1.0,
    perfect=1.0,
    functional=mean_iou_of,
    reach=mean_iou_reach,
    convention="mean over the classes that occur in FP32's masks of pixels that both give over "
    f"those that either gives; {_TABLE}",
    synonyms="mask iou, miou with fp32",
)
def mean_iou_agreement(case: Case) -> sparse.csr_array:
    """What each sample adds, (n, 3·classes): pixels of each class by FP32, the engine, and both."""
    return _beside(*_sums(case, fp32=True))
