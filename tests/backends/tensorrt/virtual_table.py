"""Calling a Python calibrator as TensorRT does: through the virtual table of its C++ side.

The slots are those of ``nvinfer1::IInt8Calibrator`` in TensorRT 10 (Itanium C++ ABI). What is
called are NVIDIA's own trampolines, compiled into the bindings.
"""

import ctypes
from typing import Any

GET_BATCH_SIZE, GET_BATCH, READ_CACHE, WRITE_CACHE, GET_ALGORITHM = 4, 5, 6, 7, 8
POINTER_OFFSET = 16
"""Where a pybind11 object holds the pointer to its C++ side: after reference count and type."""
_WORD = ctypes.sizeof(ctypes.c_void_p)


class CppCalls:
    """The five calls. As in TensorRT, the interpreter's lock isn't held while one is made."""

    def __init__(self, calibrator: Any) -> None:
        self._kept = calibrator
        self._this = _word_at(id(calibrator) + POINTER_OFFSET)
        self._table = _word_at(self._this)

    def get_batch_size(self) -> int:
        return int(self._function(GET_BATCH_SIZE, ctypes.c_int32)(self._this))

    def get_batch(self, names: list[str]) -> list[int] | None:
        """Addresses that were put into TensorRT's array; None at the end of the data."""
        n = len(names)
        addresses = (ctypes.c_void_p * n)()
        texts = (ctypes.c_char_p * n)(*(name.encode() for name in names))
        function = self._function(
            GET_BATCH, ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32
        )
        more = function(self._this, ctypes.addressof(addresses), ctypes.addressof(texts), n)
        return [int(address or 0) for address in addresses] if more else None

    def read_cache(self) -> bytes | None:
        length = ctypes.c_size_t(0)
        function = self._function(READ_CACHE, ctypes.c_void_p, ctypes.c_void_p)
        address = function(self._this, ctypes.addressof(length))
        return ctypes.string_at(address, length.value) if address else None

    def write_cache(self, content: bytes) -> None:
        """Hand over a cache in memory that is used for something else right after."""
        memory = ctypes.create_string_buffer(content, len(content))
        function = self._function(WRITE_CACHE, None, ctypes.c_void_p, ctypes.c_size_t)
        function(self._this, ctypes.addressof(memory), len(content))
        ctypes.memset(memory, ord("#"), len(content))

    def get_algorithm(self) -> int:
        return int(self._function(GET_ALGORITHM, ctypes.c_int32)(self._this))

    def _function(self, slot: int, result: Any, *arguments: Any) -> Any:
        prototype = ctypes.CFUNCTYPE(result, ctypes.c_void_p, *arguments)
        return prototype(_word_at(self._table + slot * _WORD))


def _word_at(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value
