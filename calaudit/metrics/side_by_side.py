"""Several engines' statistics of the same units, asked together."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calaudit.metrics.set_statistics import Grouping, SetStatistics, Sums, is_narrow, plain

Floats = NDArray[np.float64]

_STACKED = 2**21
"""Numbers of several engines that are held side by side at most: 16 MiB."""
_GROUPS = 64
"""Groups that units are left out in, about."""


class Engines(Protocol):
    """Several engines' statistics of the same units, FP32's first."""

    def without_groups(self, of: Grouping) -> tuple[Floats, Floats]:
        """The metric by each engine, (engines,), and with each group left out, (engines, groups)."""
        ...


def side_by_side(engines: Sequence[SetStatistics]) -> Engines:
    """The statistics of several engines, of one class and of the same units, FP32's first."""
    sums = [each for each in engines if isinstance(each, Sums)]
    return _SumsOfEngines(sums) if len(sums) == len(engines) else _InTurn(engines)


class _SumsOfEngines:
    """Sums of several engines, which are added up side by side where they are short.

    Parameters
    ----------
    engines : sequence of Sums
        Of the same units.
    """

    def __init__(self, engines: Sequence[Sums]) -> None:
        self.engines = engines
        n, m = engines[0].columns.shape
        most = max(each.columns.nnz for each in engines)
        held = n * m if all(is_narrow(each.columns) for each in engines) else most
        beside = max(1, _STACKED // max(held, m * _GROUPS, 1))
        self._parts = [engines[at : at + beside] for at in range(0, len(engines), beside)]
        self._stacked = [self._stack(part) for part in self._parts]

    @staticmethod
    def _stack(part: Sequence[Sums]) -> Any:
        """The columns side by side, (n, engines · m); None: those of the one."""
        if len(part) == 1:
            return None
        held = [each.held for each in part]
        if all(isinstance(each, np.ndarray) for each in held):
            return np.concatenate(held, axis=1)
        return sparse.csr_array(sparse.hstack([each.columns for each in part], format="csr"))

    def without_groups(self, of: Grouping) -> tuple[Floats, Floats]:
        """The metric by each engine, and with each group left out; see `Engines`.

        The engines keep their sums over these units.
        """
        wholes, lefts = [], []
        for part, stacked in zip(self._parts, self._stacked, strict=True):
            n, m = part[0].columns.shape
            summed = of.member(n) @ (part[0].held if stacked is None else stacked)
            totals = plain(summed).reshape(of.n_groups, len(part), m)
            whole = totals.sum(axis=0)
            for each, total in zip(part, whole, strict=True):
                each.keep(of.rows, total)
            functional = part[0].functional
            wholes.append(functional(whole))
            lefts.append(functional(whole - totals).T)
        return np.concatenate(wholes), np.concatenate(lefts)


class _InTurn:
    """Statistics of several engines that have nothing to share.

    Parameters
    ----------
    engines : sequence of SetStatistics
        Of the same units.
    """

    def __init__(self, engines: Sequence[SetStatistics]) -> None:
        self.engines = engines

    def without_groups(self, of: Grouping) -> tuple[Floats, Floats]:
        """The metric by each engine, and with each group left out; see `Engines`."""
        found = [each.without_groups(of) for each in self.engines]
        return np.array([whole for whole, _ in found]), np.array([left for _, left in found])
