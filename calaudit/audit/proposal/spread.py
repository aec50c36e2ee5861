"""How far the inputs of groups of samples reach, for the choice of a set that clips the others."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.pool import Pool, Rows

SHARE: Final = 0.999
"""Of the values of |x| that are taken; a single outlier says nothing of a group."""
_MOST: Final = 1024
_FEWEST: Final = 8
"""Samples of a group that are looked at, evenly spread over it, as memory allows."""
_BYTES: Final = 8 << 20


def reaches(pool: Pool, rows: Rows, codes: NDArray[np.int32], n_groups: int) -> NDArray[np.float64]:
    """How far each group's inputs reach, as a share of the group that reaches furthest, (g,).

    Of several inputs the mean share. Whole numbers, such as those of tokens, have no range to
    clip, but for images of bytes; without inputs that have one, and of empty groups, it is 1.

    Parameters
    ----------
    pool : Pool
    rows : int64 (n,)
        Pool rows, ascending.
    codes : int32 (n,)
        Group of each row; -1 = none.
    n_groups : int
    """
    specs = [s for s in pool.inputs.values() if s.dtype.kind == "f" or s.dtype == np.uint8]
    found = np.ones((len(specs), n_groups))
    if not specs:
        return np.ones(n_groups)
    sample = sum(s.dtype.itemsize * int(np.prod(s.shape)) for s in pool.inputs.values())
    most = int(np.clip(_BYTES // max(1, sample), _FEWEST, _MOST))
    for group in range(n_groups):
        own = rows[codes == group]
        if not len(own):
            continue
        places = np.unique(np.linspace(0, len(own) - 1, most).round().astype(int))
        inputs = pool.read_inputs(own[places], check=False)
        found[:, group] = [_reach(inputs[spec.name]) for spec in specs]
    known = np.bincount(codes[codes >= 0], minlength=n_groups) > 0
    furthest = found[:, known].max(axis=1, initial=0)[:, None]
    shares = np.divide(found, furthest, out=np.ones_like(found), where=furthest > 0)
    return np.where(known, shares.mean(axis=0), 1.0)


def _reach(values: NDArray[Any]) -> float:
    sizes = np.abs(values.astype(np.float32, copy=False)).ravel()
    place = int(SHARE * (len(sizes) - 1))
    return float(np.partition(sizes, place)[place])
