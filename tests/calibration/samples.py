"""Data the tests of ranges draw: every magnitude that float32 has, and shapes of distributions."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def batches_of_rows(max_rows: int = 12) -> st.SearchStrategy[NDArray[np.float32]]:
    """(rows, 3) float32 of any finite values, zeros and denormals included."""
    return st.integers(1, max_rows).flatmap(
        lambda rows: hnp.arrays(np.float32, (rows, 3), elements=finite32)
    )


def drawn(kind: str, n: int, seed: int) -> NDArray[np.float32]:
    """n values from a named distribution."""
    random = np.random.default_rng(seed)
    values = {
        "gaussian": lambda: random.standard_normal(n),
        "relu": lambda: np.maximum(random.standard_normal(n), 0),
        "laplace": lambda: random.laplace(size=n),
        "heavy tail": lambda: random.standard_t(3, n),
        "uniform": lambda: random.random(n),
        "bimodal": lambda: np.append(random.normal(0, 0.1, n // 2), random.normal(10, 1, n // 2)),
        "sparse": lambda: np.exp(6 * random.standard_normal(n)),
        "few values": lambda: random.integers(-5, 6, n) / 3,
    }[kind]()
    return values.astype(np.float32)


KINDS = (
    "gaussian",
    "relu",
    "laplace",
    "heavy tail",
    "uniform",
    "bimodal",
    "sparse",
    "few values",
)
