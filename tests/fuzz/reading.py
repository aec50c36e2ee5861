"""Reads the files named on stdin, one after another, and says of each how that ended.

    python -m tests.fuzz.reading

In a process of its own: HDF5 is C, and a file that was tampered with may end it.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from calaudit.formats.calibset import open_calibset
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.formats.ranges import open_ranges
from calaudit.runtime.errors import CalauditError


def read_pool(path: Path) -> None:
    """Everything a pool offers."""
    with open_pool(path) as pool:
        rows = np.arange(len(pool), dtype=np.int64)
        pool.columns(pool.column_names())
        for name in pool.items:
            pool.item_column(name)
        for name in pool.targets:
            pool.read_target(name, rows)
            pool.ignored_class(name)
        for name in pool.objects:
            pool.read_objects(name, rows)
        pool.read_inputs(rows)
        pool.ids(rows)
        pool.fingerprint()


def read_calibset(path: Path) -> None:
    """A calibration set and its inputs."""
    drawn = open_calibset(path)
    drawn.read_inputs(0, len(drawn))


def read_predictions(path: Path) -> None:
    """Predictions of every row."""
    stored = Predictions(path)
    stored.read("y", stored.rows)


READERS: dict[str, Callable[[Path], object]] = {
    "pool": read_pool,
    "boxes": read_pool,
    "calibset": read_calibset,
    "ranges": open_ranges,
    "predictions": read_predictions,
}


def main() -> None:
    """Answer each line ``KIND PATH`` with ``read``, ``refused`` or a traceback's last line."""
    for line in sys.stdin:
        kind, path = line.rstrip("\n").split(" ", 1)
        try:
            READERS[kind](Path(path))
            answer = "read"
        except CalauditError as error:
            answer = "refused" if error.problems[0].message.strip() else "refused without a word"
        except BaseException as error:  # noqa: BLE001 - any other ending is what is looked for
            answer = f"{type(error).__name__}: {error}".replace("\n", " ")
        print(answer, flush=True)


if __name__ == "__main__":
    main()
