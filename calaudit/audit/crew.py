"""Several cells at a time, in threads of one process: onnxruntime computes without the GIL."""

from collections.abc import Callable, Sequence
from threading import Condition
from typing import Generic, TypeVar

from calaudit.runtime.interrupts import stop_if_asked

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], *, jobs: int
) -> list[Result]:
    """Results of `work` in the order of `items`, made `jobs` at a time by joblib.

    Whatever ends it early (an error of one item, Ctrl-C), no item is at work any more when this
    returns: what they were writing is finished or removed.

    Raises
    ------
    Exception
        Of the first item that failed.
    """
    if jobs == 1 or len(items) < 2:
        return [work(item) for item in items]
    from joblib import Parallel, delayed

    threads = _Threads(work)
    try:
        found = Parallel(n_jobs=min(jobs, len(items)), backend="threading", pre_dispatch="n_jobs")(
            delayed(threads.run)(item) for item in items
        )
    finally:
        threads.stop()
    stop_if_asked()
    return [result for result in found if result is not None]


class _Threads(Generic[Item, Result]):
    """Counts the items at work, so that none is left running."""

    def __init__(self, work: Callable[[Item], Result]) -> None:
        self._work = work
        self._at_work = 0
        self._stopped = False
        self._changed = Condition()

    def run(self, item: Item) -> Result | None:
        """Work on one item; None once all are to stop, or asked to end."""
        with self._changed:
            if self._stopped:
                return None
            self._at_work += 1
        try:
            return self._work(item)
        except (KeyboardInterrupt, SystemExit):
            return None  # the main thread raises the request itself
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def stop(self) -> None:
        """Begin nothing more, and wait for what was begun."""
        with self._changed:
            self._stopped = True
            while self._at_work:
                self._changed.wait()
