"""A FAKE of pycuda's driver: host memory stands in for a GPU's, and copies are done at once."""

import builtins
import ctypes
import json
import os
import time

import numpy as np

_SAID = json.loads(os.environ.get("FAKE_TENSORRT", "{}"))
TOTAL = int(_SAID.get("gpu_bytes", 2**34))
_used = [0]
registered = {}
"""Host memory that is page-locked: where it begins → its bytes."""


class Error(Exception):
    pass


class MemoryError(Error, builtins.MemoryError):  # noqa: A001  # pycuda's name
    pass


class event_flags:  # noqa: N801
    DISABLE_TIMING = 2


class _Primary:
    def push(self):
        pass

    def pop(self):
        pass


class Device:
    @staticmethod
    def count():
        return int(_SAID.get("gpus", 1))

    def __init__(self, number):
        pass

    def name(self):
        return "a fake GPU"

    def compute_capability(self):
        return (8, 9)

    def pci_bus_id(self):
        return "0000:01:00.0"

    def retain_primary_context(self):
        return _Primary()


class _Memory:
    def __init__(self, size):
        self._buffer = (ctypes.c_char * (size + 256))()
        self._start = -(-ctypes.addressof(self._buffer) // 256) * 256
        self._size = size
        _used[0] += size

    def __int__(self):
        return self._start

    def free(self):
        _used[0] -= self._size
        self._size = 0

    def __del__(self):
        _used[0] -= self._size


class Stream:
    def __init__(self):
        self.handle = id(self)

    def synchronize(self):
        pass

    def wait_for_event(self, event):
        pass


class Event:
    def __init__(self, flags=0):
        pass

    def record(self, stream):
        self._at = time.perf_counter()

    def synchronize(self):
        pass

    def time_since(self, event):
        return 1e3 * (self._at - event._at)


class _Libcuda:
    """What calaudit calls of CUDA's own library."""

    def cuMemHostRegister_v2(self, start, size, flags):
        assert start.value % 4096 == 0, "page-aligned"
        if not _SAID.get("registers", True):
            return 801  # CUDA_ERROR_NOT_SUPPORTED
        registered[start.value] = size.value
        return 0

    def cuMemHostGetDevicePointer_v2(self, found, start, flags):
        assert start.value in registered
        found._obj.value = start.value
        return 0

    def cuMemHostUnregister(self, start):
        del registered[start.value]
        return 0


_open_library = ctypes.CDLL


def _opened(name, *rest):
    return _Libcuda() if name == "libcuda.so.1" else _open_library(name, *rest)


ctypes.CDLL = _opened


def init():
    pass


def mem_alloc(size):
    if _used[0] + size > TOTAL:
        raise MemoryError("cuMemAlloc failed: out of memory")
    return _Memory(size)


def to_device(values):
    made = mem_alloc(max(1, values.nbytes))
    memcpy_htod_async(made, values, None)
    return made


def pagelocked_empty(shape, dtype):
    return np.empty(shape, dtype)


def mem_get_info():
    return TOTAL - _used[0], TOTAL


def memcpy_htod_async(target, source, stream):
    assert source.flags.c_contiguous
    ctypes.memmove(int(target), source.ctypes.data, source.nbytes)


def memcpy_dtoh_async(target, source, stream):
    assert target.flags.c_contiguous
    ctypes.memmove(target.ctypes.data, int(source), target.nbytes)


def memcpy_dtoh(target, source):
    memcpy_dtoh_async(target, source, None)


def array_at(address, shape, dtype):
    """What lies at a device address."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)
