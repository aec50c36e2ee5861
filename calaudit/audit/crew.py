"""Several cells at a time, in threads of one process: onnxruntime computes without the GIL."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from calaudit.runtime.interrupts import stop_if_asked

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], *, jobs: int
) -> list[Result]:
    """Results of `work` in the order of `items`, made `jobs` at a time.

    Whatever ends it early (an error of one item, Ctrl-C), no item is at work any more when this
    returns: what they were writing is finished or removed.

    Raises
    ------
    Exception
        Of the first item, in their order, that failed; no further item was begun.
    """
    if jobs == 1 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(jobs, len(items)), thread_name_prefix="cell") as threads:
        asked = [threads.submit(work, item) for item in items]
        try:
            wait(asked, return_when=FIRST_EXCEPTION)
        finally:
            threads.shutdown(cancel_futures=True)
    stop_if_asked()
    return [each.result() for each in asked if not each.cancelled()]
