"""Several cells at a time, in threads of one process: onnxruntime computes without the GIL."""

from collections.abc import Callable, Sequence
from threading import Condition
from typing import Generic, TypeVar

from calaudit.interrupts import stop_if_asked

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Sequence[Item], *, jobs: int) -> list[Result]:
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

    crew = _Crew(work)
    try:
        found = Parallel(n_jobs=min(jobs, len(items)), backend="threading", pre_dispatch="n_jobs")(
            delayed(crew.take)(item) for item in items
        )
    finally:
        crew.dismiss()
    stop_if_asked()
    return [result for result in found if result is not None]


class _Crew(Generic[Item, Result]):
    """Counts who is at work, so that nobody is left behind."""

    def __init__(self, work: Callable[[Item], Result]) -> None:
        self._work = work
        self._at_work = 0
        self._dismissed = False
        self._changed = Condition()

    def take(self, item: Item) -> Result | None:
        """Work on one item; None once all are dismissed, or asked to end."""
        with self._changed:
            if self._dismissed:
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

    def dismiss(self) -> None:
        """Begin nothing more, and wait for what was begun."""
        with self._changed:
            self._dismissed = True
            while self._at_work:
                self._changed.wait()
