"""The GPU: its primary context, shared with whatever else runs in this process."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .detect import find_pycuda
from .errors import MEMORY, OUT_OF_MEMORY, Missing, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVER = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
"""CUDA's driver."""
ELSEWHERE = 'Run on a machine with an NVIDIA GPU, or audit with backend = "onnxruntime".'

_PORTABLE, _DEVICEMAP = 1, 2
"""``CU_MEMHOSTREGISTER_PORTABLE`` and ``CU_MEMHOSTREGISTER_DEVICEMAP`` of cuda.h."""


class Cuda:
    """Device 0 and its primary context, current in the thread that makes this."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        device = driver.Device(0)
        self.name = str(device.name())
        self.compute_capability = "{}.{}".format(*device.compute_capability())
        self.bus = str(device.pci_bus_id())
        """Its place, such as ``0000:18:00.0``: by that its driver knows it, too."""
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

    def page_lock(self, start: int, n_bytes: int) -> int | None:
        """Page-lock memory of this process, so that the GPU copies from and to it directly.

        Returns
        -------
        int or None
            Where the GPU reaches the memory itself; 0 where it doesn't, None where CUDA refuses, as
            some integrated GPUs do.
        """
        # Not pycuda's register_host_memory: in its release 2026.1 that ends the process.
        try:
            calls = ctypes.CDLL(DRIVER)
        except OSError:
            return None
        if calls.cuMemHostRegister_v2(
            ctypes.c_void_p(start), ctypes.c_size_t(n_bytes), _PORTABLE | _DEVICEMAP
        ):
            return None
        found = ctypes.c_uint64()
        address = ctypes.byref(found)
        if calls.cuMemHostGetDevicePointer_v2(address, ctypes.c_void_p(start), 0):
            return 0
        return found.value

    def unlock(self, start: int) -> None:
        """Let memory go that was registered, before it is unmapped."""
        ctypes.CDLL(DRIVER).cuMemHostUnregister(ctypes.c_void_p(start))

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
        text = " ".join(str(error).split())
        step = MEMORY if any(words in text for words in OUT_OF_MEMORY) else ELSEWHERE
        return Missing("a GPU", f"isn't usable: {text}", step)
