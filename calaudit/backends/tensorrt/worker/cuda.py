"""The GPU: its primary context, shared with whatever else runs in this process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .detect import find_pycuda
from .errors import MEMORY, Missing, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

ELSEWHERE = 'Run on a machine with an NVIDIA GPU, or audit with backend = "onnxruntime".'


class Cuda:
    """Device 0 and its primary context, current in the thread that makes this."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        device = driver.Device(0)
        self.name = str(device.name())
        self.compute_capability = "{}.{}".format(*device.compute_capability())
        self._context = device.retain_primary_context()
        self._context.push()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in another thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def take_memory(self, n_bytes: int, what: str) -> Any:
        """Device memory. Raises `RefusedError` where there is no room for it."""
        try:
            return self.driver.mem_alloc(max(1, n_bytes))
        except self.driver.MemoryError:
            message = f"{n_bytes:,} bytes asked for {what}; {self.free_memory()}"
            raise RefusedError(message, MEMORY, kind="memory", fatal=True) from None

    def free_memory(self) -> str:
        """``"1.2 of 80.0 GiB free on NVIDIA H100"``."""
        try:
            free, total = (size / 2**30 for size in self.driver.mem_get_info())
        except self.driver.Error:
            return f"on {self.name}"
        return f"{free:.1f} of {total:.1f} GiB free on {self.name}"


def find_cuda() -> Cuda | Missing:
    """The GPU, if there is one that pycuda can use."""
    driver: Any = find_pycuda()
    if isinstance(driver, Missing):
        return driver
    try:
        driver.init()
        if driver.Device.count() == 0:
            return Missing("a GPU", "isn't there", ELSEWHERE)
        return Cuda(driver)
    except driver.Error as error:
        return Missing("a GPU", f"isn't usable: {' '.join(str(error).split())}", ELSEWHERE)
