"""The GPU and its primary context, shared with whatever else the process runs there."""

import atexit
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

from calaudit.backends.tensorrt.detect import Missing, find_pycuda
from calaudit.backends.tensorrt.pinned import PinnedPool
from calaudit.errors import BackendError

ELSEWHERE: Final = 'Run on a machine with an NVIDIA GPU, or audit with backend = "onnxruntime".'


class _Closes(Protocol):
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Gpu:
    """What an engine is bound to, besides TensorRT's version."""

    name: str
    """``"NVIDIA H100 80GB HBM3"``."""
    compute_capability: str
    """``"9.0"``."""

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability})"


class Cuda:
    """Device 0 and its primary context."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        device = driver.Device(0)
        major, minor = device.compute_capability()
        self.gpu = Gpu(str(device.name()), f"{major}.{minor}")
        self._context = device.retain_primary_context()
        self.pinned = PinnedPool(driver)
        """Page-locked memory that all engines share."""
        self._open: weakref.WeakSet[_Closes] = weakref.WeakSet()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this thread.

        Raises
        ------
        BackendError
            A CUDA call within failed.
        """
        self._context.push()
        try:
            yield
        except self.driver.Error as error:
            raise BackendError(
                f"CUDA failed on {self.gpu}: {' '.join(str(error).split())}",
                next_step="Check the GPU's free memory with nvidia-smi, or lower batch_size.",
            ) from None
        finally:
            self._context.pop()

    def close_at_exit(self, resource: _Closes) -> None:
        """Close `resource` before the context goes, unless it is collected first."""
        self._open.add(resource)

    def close(self) -> None:
        """Close what is still open, and let the context go."""
        for resource in list(self._open):
            resource.close()
        with self.current():
            self.pinned.close()
        self._context.detach()


def find_cuda() -> Cuda | Missing:
    """The GPU, if there is one that pycuda can use. One context serves the whole process."""
    driver = find_pycuda()
    if isinstance(driver, Missing):
        return driver
    return _first_device(driver)


def require_cuda() -> Cuda:
    """The GPU that must be here. Raises `BackendError` with what is missing."""
    found = find_cuda()
    if isinstance(found, Missing):
        raise BackendError(str(found), next_step=found.next_step)
    return found


@cache
def _first_device(driver: Any) -> Cuda | Missing:
    try:
        driver.init()
        if driver.Device.count() == 0:
            return Missing("a GPU", "isn't there", ELSEWHERE)
        cuda = Cuda(driver)
    except driver.Error as error:
        return Missing("a GPU", f"isn't usable: {' '.join(str(error).split())}", ELSEWHERE)
    # After pycuda's own clean-up was registered, so that it runs before it.
    atexit.register(cuda.close)
    return cuda
