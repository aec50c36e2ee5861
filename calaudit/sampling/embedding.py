"""Embeddings that are computed: principal components of the inputs, standardised columns."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import DrawError
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import counted

ReadFlat = Callable[[Rows], NDArray[np.floating]]
"""Reads rows (ascending) as flat vectors (len(rows), d)."""

_BATCH = 128


def principal_components(read: ReadFlat, rows: Rows, n_components: int) -> NDArray[np.float32]:
    """Project samples onto the principal components of them all.

    Reads the samples twice, batch by batch (scikit-learn's `IncrementalPCA`; the sign of every
    component is fixed by its largest loading).

    Parameters
    ----------
    read : callable
        Rows → float (b, d).
    rows : int64 (n,)
        Ascending.
    n_components : int
        At most min(n, d).

    Returns
    -------
    float32 (n, n_components)

    Raises
    ------
    DrawError
        More components are asked for than there are samples or values per sample.
    """
    from sklearn.decomposition import IncrementalPCA

    width = read(rows[:1]).shape[1] if len(rows) else 0
    possible = min(len(rows), width)
    if n_components > possible:
        raise DrawError(
            f"{n_components} principal components are asked for, but "
            f"{counted(len(rows), 'candidate')} of "
            f"{width} values have at most {possible}",
            next_step=f"Ask for at most {possible}.",
        )
    model = IncrementalPCA(n_components=n_components)
    # Even pieces: none is smaller than the number of components, which partial_fit needs; larger
    # ones cost more, as the decomposition is quadratic in their size.
    size = max(2 * n_components, _BATCH)
    pieces = np.array_split(rows, max(1, len(rows) // size))
    for piece in pieces:
        model.partial_fit(read(piece).astype(np.float64))
    projected = [model.transform(read(piece).astype(np.float64)) for piece in pieces]
    return np.concatenate(projected).astype(np.float32)


def standardise(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Finite columns (n, d) in units of their standard deviation; a constant one becomes 0."""
    spread = columns.std(axis=0)
    centred = columns - columns.mean(axis=0)
    scaled: NDArray[np.float64] = np.divide(
        centred, spread, out=np.zeros_like(centred), where=spread > 0
    )
    return scaled
