"""The calibrators for TensorRT up to 10, and whether an engine built on them may be used.

TensorRT takes an exception in a calibrator as the end of the data, and goes on with what it got so
far. So nothing is raised from its calls: whatever happens is kept, and `Calibration.settle` raises
it when the build is over. NVIDIA's two base classes stand over this one implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from tensorrt import IInt8Calibrator

    from .feed import BatchFeed


_AGAIN = 'Build again; if it stays so, give it calaudit\'s ranges: ranges = ["calaudit"].'


class Settled(NamedTuple):
    """A calibration that an engine may be built on."""

    ranges_from: str
    """What TensorRT took its ranges from: ``"data"`` or ``"cache"``."""
    n_batches: int
    """Batches served; 0 when the cache was hit."""
    cache: bytes
    """The cache that TensorRT read, or wrote after calibrating."""
    cache_refused: bool
    """Whether it was offered another one and calibrated all the same."""


class Calibration:
    """One calibration: the calls that TensorRT makes, in its order, and their outcome.

    Parameters
    ----------
    algorithm : str
        ``"entropy"`` or ``"minmax"``: which calibrator TensorRT is given.
    feed : BatchFeed or None
        The data; None when ranges come from `cache` alone.
    cache : bytes, optional
        A calibration cache that TensorRT should take in place of data.
    """

    def __init__(self, algorithm: str, feed: BatchFeed | None, cache: bytes | None = None) -> None:
        if feed is None and not cache:
            raise RefusedError("a calibration with neither data nor a cache", kind="bug")
        self.algorithm = algorithm
        self._feed = feed
        self._offered = cache or None
        self._errors: list[BaseException] = []
        self._cache_read = False
        self._asked_for_data = False
        self._ended = False
        self._written: bytes | None = None

    @property
    def batch_size(self) -> int:
        """Samples per batch."""
        return 1 if self._feed is None else self._feed.batch_size

    @property
    def failed(self) -> bool:
        """Whether something was raised, so that the build may as well stop."""
        return bool(self._errors)

    def read_cache(self) -> bytes | None:
        """The cache, if there is one. Empty bytes would count as one."""
        self._cache_read = True
        return self._offered

    def next_batch(self, names: Sequence[str]) -> list[int] | None:
        """Device addresses in the order of `names`; None when there are no more batches."""
        self._asked_for_data = True
        if self._feed is None or self._errors:
            return None
        addresses = None
        try:
            addresses = self._feed.next(names)
            self._ended = addresses is None
        except BaseException as error:  # noqa: BLE001  # raised by `settle`
            self._errors.append(error)
        return addresses

    def write_cache(self, cache: memoryview | bytes) -> None:
        """Keep a copy of the cache; the memory behind it is TensorRT's."""
        try:
            self._written = bytes(cache)
        except BaseException as error:  # noqa: BLE001  # raised by `settle`
            self._errors.append(error)

    def settle(self) -> Settled:
        """Say whether the engine may be used, once the build is over, however it went.

        Raises
        ------
        BaseException
            The first that was raised while TensorRT called.
        RefusedError
            TensorRT got fewer batches than there are, didn't take a cache that was meant to be
            taken, or asked for neither.
        """
        self.raise_kept()
        if not (self._cache_read or self._asked_for_data):
            raise RefusedError(
                "TensorRT never asked for calibration: it has ranges from elsewhere, or built "
                "without INT8",
                "Give it the FP32 model, without Q/DQ.",
            )
        if self._offered is not None and not self._asked_for_data:
            return Settled("cache", 0, self._written or self._offered, False)
        if self._feed is None:
            raise RefusedError(
                "TensorRT rejected the calibration cache and asked for data",
                "Check that the cache's header names this TensorRT and its calibrator.",
            )
        return self._settled_by_data(self._feed)

    def _settled_by_data(self, feed: BatchFeed) -> Settled:
        if feed.served < feed.n_batches or not self._ended:
            raise RefusedError(
                f"TensorRT calibrated on {feed.served} of {feed.n_batches} batches and stopped",
                _AGAIN,
            )
        if self._written is None:
            raise RefusedError(
                f"TensorRT got all {feed.n_batches} batches but kept no ranges", _AGAIN
            )
        return Settled("data", feed.served, self._written, self._offered is not None)

    def raise_kept(self) -> None:
        """Raise the first error that was kept while TensorRT called, if any."""
        if self._errors:
            raise self._errors[0]


def make_calibrator(module: ModuleType, calibration: Calibration) -> IInt8Calibrator:
    """The calibrator of a calibration's algorithm, for ``config.int8_calibrator``.

    The base classes exist only once TensorRT is imported, so the pair is made here.

    Parameters
    ----------
    module : module
        A TensorRT whose `Abilities.implicit` is true.
    calibration : Calibration
        Answers TensorRT's calls.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = module

    class Calls:
        """All four calls; a base class's own get_batch would end the process."""

        def get_batch_size(self) -> int:
            return calibration.batch_size

        def get_batch(self, names: list[str]) -> list[int]:
            return calibration.next_batch(names) or []

        # Any: the stubs leave out None, which says that there is no cache.
        def read_calibration_cache(self) -> Any:
            return calibration.read_cache()

        def write_calibration_cache(self, cache: Any) -> None:
            calibration.write_cache(cache)

    class EntropyCalibrator(Calls, trt.IInt8EntropyCalibrator2):
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

    class MinMaxCalibrator(Calls, trt.IInt8MinMaxCalibrator):
        def __init__(self) -> None:
            trt.IInt8MinMaxCalibrator.__init__(self)

    return EntropyCalibrator() if calibration.algorithm == "entropy" else MinMaxCalibrator()
