"""What another package's metric gives, held to what it should: its scores and its other parts."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.set_statistics import SetStatistics, Sums
from calaudit.runtime.errors import SettingsError, near
from calaudit.runtime.outside import Gives, asked
from calaudit.runtime.user_code import check_call, file_of, place_of

_NUMBERS = (np.ndarray, np.number, float, int)


def check_kind(
    kind: str, kinds: Sequence[str], of_sums: tuple[object, bool], function: Callable[..., Any]
) -> None:
    """Refuse a kind that there isn't, or that doesn't fit the functional.

    Parameters
    ----------
    kind : str
    kinds : sequence of str
        Those that there are.
    of_sums : tuple
        The functional, and whether a set metric is a function of sums.
    function : callable

    Raises
    ------
    SettingsError
        Naming the function, its file and line.
    """
    of = f"{function.__module__}:{function.__qualname__} ({place_of(function)})"
    if kind not in kinds:
        raise SettingsError(
            f"the metric {of} can't be of kind {kind!r}", next_step=near(kind, kinds)
        )
    functional, sums = of_sums
    if (kind == "set" and sums) != (functional is not None):
        raise SettingsError(
            f"the metric {of} is of kind {kind!r}, which takes "
            f"{'a' if kind == 'set' and sums else 'no'} functional"
            f"{'' if sums else ' where it is no function of sums'}",
            next_step="Give functional=…, from sums of the statistics to the metric."
            if kind == "set" and sums
            else "Leave it out, or make the metric one of kind 'set'.",
        )


def held_parts(
    path: str,
    needs: object,
    parts: tuple[Any, Any, Any, Any],
    *,
    cut: bool = False,
) -> tuple[Any, Any, Any, Any]:
    """Functional, influence, reach and bounds of another package's metric, held to what they give.

    Raises
    ------
    SettingsError
        `needs` is no class, or a part can't be called as it will be.
    """
    if needs is not None and not isinstance(needs, type):
        raise SettingsError(
            f"{path} needs {needs!r}, expected the class of a truth",
            next_step="Name a class, such as calaudit.metrics.truth.Labels.",
        )
    functional, influence, reach, bounds = parts
    if functional is not None:
        check_call(functional, f"the functional of {path}", ("sums",))
    check_call(influence, f"the influence of {path}", ("k", "sums", "n"))
    if reach is not None:
        check_call(reach, f"the reach of {path}", ("sums", "units"))
    if bounds is not None:
        check_call(bounds, f"the bounds of {path}", ("case", "k") if cut else ("case",))
    return (
        functional and _held_functional(path, functional),
        _held_influence(path, influence),
        reach and _held_reach(path, reach),
        bounds and _held_bounds(path, bounds),
    )


def _held_functional(path: str, functional: Callable[..., Any]) -> Callable[..., Any]:
    """A set metric's functional: a number for each row of sums, (…, m) → (…), float64."""

    @wraps(functional)
    def held(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        gives = Gives("numbers", _NUMBERS)
        found = asked(path, "its functional", gives, file_of(functional), functional, sums)
        values = np.asarray(found)
        if values.shape != sums.shape[:-1] or values.dtype.kind not in "biuf":
            raise SettingsError(
                f"the functional of {path} ({place_of(functional)}) gave {values.dtype} of shape "
                f"{values.shape} for sums of shape {sums.shape}, expected one number for each row",
                next_step="Let it reduce the last axis alone.",
            )
        return values.astype(np.float64)

    return held


def _held_influence(path: str, influence: Callable[..., Any]) -> Callable[..., Any]:
    """A set metric's influence: a number of 0 or more."""

    @wraps(influence)
    def held(k: int | None, sums: NDArray[np.float64], n: int) -> float:
        gives = Gives("a number", (np.integer, np.floating, float, int))
        found = float(
            asked(path, "its influence", gives, file_of(influence), influence, k, sums, n)
        )
        if not found >= 0:
            raise SettingsError(
                f"the influence of {path} ({place_of(influence)}) gave {found}, "
                "expected a number of 0 or more",
                next_step="Give the most that one unit can move the metric, or leave it out.",
            )
        return found

    return held


def _held_reach(path: str, reach: Callable[..., Any]) -> Callable[..., Any]:
    """What each of some units can move a set metric: numbers of 0 or more, (n,)."""

    @wraps(reach)
    def held(sums: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.float64]:
        gives = Gives("numbers", (np.ndarray,))
        found = np.asarray(asked(path, "its reach", gives, file_of(reach), reach, sums, units))
        if found.shape != (len(units),) or found.dtype.kind not in "biuf" or not (found >= 0).all():
            raise SettingsError(
                f"the reach of {path} ({place_of(reach)}) gave {found.dtype} of shape "
                f"{found.shape}, expected a number of 0 or more for each of {len(units)} units",
                next_step="Give the most that each unit can move the metric, or leave it out.",
            )
        return np.asarray(found, dtype=np.float64)

    return held


def _held_bounds(path: str, bounds: Callable[..., Any]) -> Callable[..., Any]:
    """Scores with ties broken against, and for, quality: two arrays (n,)."""

    @wraps(bounds)
    def held(case: Any, *k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        gives = Gives("two arrays", (tuple,))
        found = asked(path, "its bounds", gives, file_of(bounds), bounds, case, *k)
        n = len(case.outputs)
        shapes = [getattr(each, "shape", type(each).__name__) for each in found]
        if shapes != [(n,), (n,)]:
            raise SettingsError(
                f"the bounds of {path} ({place_of(bounds)}) gave {shapes}, "
                f"expected two arrays of {n} scores",
                next_step="Return the scores with ties broken against, then for, quality.",
            )
        worst, best = found
        return worst, best

    return held


def held_scores(
    returned: Any, path: str, kind: str, n: int
) -> NDArray[Any] | sparse.csr_array | Sums | SetStatistics:
    """What the function of another package's metric returned, as scores of n units.

    Raises
    ------
    SettingsError
        It is no score of its kind.
    """
    if kind == "set" and isinstance(returned, Sums | SetStatistics) and len(returned) == n:
        return returned
    if sparse.issparse(returned):
        return _statistics(returned, path, n)
    if kind == "ratio" and isinstance(returned, tuple) and len(returned) == 2:
        returned = np.stack([np.asarray(part, np.float64) for part in returned], axis=-1)
    values = np.asarray(returned)
    if kind == "set":
        return _statistics(values, path, n)
    wanted = (n, 2) if kind == "ratio" else (n,)
    if values.shape != wanted or values.dtype.kind not in "biuf":
        raise SettingsError(
            f"{path} returned {values.dtype} of shape {values.shape}, "
            f"expected {'two numbers' if kind == 'ratio' else 'one number'} for each of {n} units"
        )
    if kind == "binary":
        unknown = np.isnan(values)
        if not np.isin(values[~unknown], (0, 1)).all():
            raise SettingsError(f"{path} is binary, but returned something else than 0 and 1")
        return np.where(unknown, np.nan, values) if unknown.any() else values.astype(bool)
    scores = values.astype(np.float64)
    scores[~np.isfinite(scores)] = np.nan
    if kind == "ratio":
        scores[:, 1] = np.nan_to_num(scores[:, 1])
        if (scores[:, 1] < 0).any():
            raise SettingsError(f"{path} returned a denominator below 0")
    return scores


def _statistics(values: Any, path: str, n: int) -> sparse.csr_array:
    if values.ndim != 2 or values.shape[0] != n or values.dtype.kind not in "biuf":
        raise SettingsError(
            f"{path} returned {values.dtype} of shape {values.shape}, "
            f"expected a row of statistics for each of {n} units"
        )
    return sparse.csr_array(values.astype(np.float64))
