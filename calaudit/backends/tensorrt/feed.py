"""Calibration batches served from device memory, one read ahead."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from calaudit.backends.tensorrt.buffers import N_SLOTS, DeviceBuffers
from calaudit.backends.tensorrt.reader import BatchReader
from calaudit.errors import BackendError, Notice, near


class BatchFeed:
    """Serves a reader's batches; while TensorRT works on one, the next is read and copied.

    Batch i lies in slot i mod 2. TensorRT asks for a batch when it is done with the one before,
    so that one's slot is free to be filled from then on.

    Parameters
    ----------
    reader : BatchReader
    buffers : DeviceBuffers
        With room for the reader's shapes and types; they have to outlast the feed.
    """

    def __init__(self, reader: BatchReader, buffers: DeviceBuffers) -> None:
        self._reader = reader
        self._buffers = buffers
        self._batches = reader.read()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="calaudit-calibration")
        self._ahead: Future[bool] = self._thread.submit(self._load, 0)
        self.served = 0
        """Batches that TensorRT got."""

    @property
    def n_batches(self) -> int:
        """Batches there are."""
        return len(self._reader.batches)

    @property
    def batch_size(self) -> int:
        """Samples per batch."""
        return self._reader.batching.size

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What TensorRT sees differently from the calibration set."""
        return self._reader.notices

    def next(self, names: Sequence[str]) -> list[int] | None:
        """Device addresses of the next batch, in the order of `names`; None after the last.

        Raises
        ------
        BackendError
            `names` aren't the reader's inputs, or values don't fit them.
        FileFormatError, PoolError
            As from `BatchReader.read`.
        """
        self._check_names(names)
        if not self._ahead.result():
            return None
        slot = self.served % N_SLOTS
        addresses = self._buffers.wait(slot)
        self._ahead = self._thread.submit(self._load, (slot + 1) % N_SLOTS)
        self.served += 1
        return [addresses[name] for name in names]

    def close(self) -> None:
        """Wait for the reading thread, and close the file."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._batches.close()

    def _load(self, slot: int) -> bool:
        """Read one batch and start its copy; False when none is left."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        for name, array in self._buffers.host(slot).items():
            array[...] = batch[name]
        with self._buffers.attached():
            self._buffers.send(slot)
        return True

    def _check_names(self, names: Sequence[str]) -> None:
        known = self._reader.dtypes
        if sorted(names) == sorted(known):
            return
        strange = [name for name in names if name not in known]
        raise BackendError(
            f"TensorRT asked for {', '.join(names) or 'no input'}; "
            f"the network was given {', '.join(known)}",
            next_step=near(strange[0], known) if strange else "Report this as a bug of calaudit.",
        )
