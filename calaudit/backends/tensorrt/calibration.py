"""The calibrators for TensorRT up to 10, and whether an engine built on them may be used.

TensorRT takes an exception in a calibrator as the end of the data, and goes on with what it got so
far. So nothing is raised from its calls: whatever happens is kept, and `Calibration.settle` raises
it when the build is over. NVIDIA's two base classes stand over this one implementation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal

from calaudit.backends.tensorrt.feed import BatchFeed
from calaudit.formats.trt_header import AlgorithmFlag
from calaudit.runtime.errors import BackendError, Notice
from calaudit.runtime.interrupts import Kept, stop_if_asked

if TYPE_CHECKING:
    from tensorrt import IInt8Calibrator


_AGAIN: Final = 'Build again; if it stays so, give it calaudit\'s ranges: ranges = ["calaudit"].'


@dataclass(frozen=True, slots=True)
class Settled:
    """A calibration that an engine may be built on."""

    ranges_from: Literal["data", "cache"]
    """What TensorRT took its ranges from."""
    n_batches: int
    """Batches served; 0 when the cache was hit."""
    cache: bytes
    """The cache that TensorRT read, or wrote after calibrating."""
    notices: tuple[Notice, ...]


class Calibration:
    """One calibration: the calls that TensorRT makes, in its order, and their outcome.

    Parameters
    ----------
    algorithm : "entropy" or "minmax"
        Which calibrator TensorRT is given.
    feed : BatchFeed or None
        The data; None when ranges come from `cache` alone.
    cache : bytes, optional
        A calibration cache that TensorRT should take in place of data.
    """

    def __init__(
        self, algorithm: AlgorithmFlag, feed: BatchFeed | None, cache: bytes | None = None
    ) -> None:
        if feed is None and not cache:
            raise BackendError("a calibration with neither data nor a cache")
        self.algorithm: AlgorithmFlag = algorithm
        self._feed = feed
        self._offered = cache or None
        self._kept = Kept()
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
        return bool(self._kept.errors)

    def read_cache(self) -> bytes | None:
        """The cache, if there is one. Empty bytes would count as one."""
        self._cache_read = True
        return self._offered

    def next_batch(self, names: Sequence[str]) -> list[int] | None:
        """Device addresses in the order of `names`; None when there are no more batches."""
        self._asked_for_data = True
        if self._feed is None or self._kept.errors:
            return None
        addresses = None
        with self._kept:
            stop_if_asked()
            addresses = self._feed.next(names)
            self._ended = addresses is None
        return addresses

    def write_cache(self, cache: memoryview | bytes) -> None:
        """Keep a copy of the cache; the memory behind it is TensorRT's."""
        with self._kept:
            self._written = bytes(cache)

    def settle(self) -> Settled:
        """Say whether the engine may be used, once the build is over, however it went.

        Raises
        ------
        BaseException
            What was raised while TensorRT called: the first such error, with a note for each
            further one.
        BackendError
            TensorRT got fewer batches than there are, didn't take a cache that was meant to be
            taken, or asked for neither.
        """
        self.raise_kept()
        if not (self._cache_read or self._asked_for_data):
            raise BackendError(
                "TensorRT never asked for calibration: it has ranges from elsewhere, or built "
                "without INT8",
                next_step="Give it the FP32 model, without Q/DQ.",
            )
        if self._offered is not None and not self._asked_for_data:
            return Settled("cache", 0, self._written or self._offered, ())
        if self._feed is None:
            raise BackendError(
                "TensorRT rejected the calibration cache and asked for data",
                next_step="Check that the cache's header names this TensorRT and its calibrator.",
            )
        return self._settled_by_data(self._feed)

    def _settled_by_data(self, feed: BatchFeed) -> Settled:
        if feed.served < feed.n_batches or not self._ended:
            raise BackendError(
                f"TensorRT calibrated on {feed.served} of {feed.n_batches} batches and stopped",
                next_step=_AGAIN,
            )
        if self._written is None:
            raise BackendError(
                f"TensorRT got all {feed.n_batches} batches but kept no ranges", next_step=_AGAIN
            )
        refused = Notice(
            "calibration_cache_refused",
            "TensorRT rejected the stored calibration cache and calibrated again",
        )
        notices = (*((refused,) if self._offered else ()), *feed.notices)
        return Settled("data", feed.served, self._written, notices)

    def raise_kept(self) -> None:
        """Raise what was kept while TensorRT called, if anything; see `settle`."""
        self._kept.raise_first()


def make_calibrator(module: ModuleType, calibration: Calibration) -> "IInt8Calibrator":
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
