"""Memory that was freed, given back to the system."""

import ctypes
import sys


def release_memory() -> None:
    """Return what the C library keeps of freed memory, where it can be told to (glibc).

    After a model was loaded that is the size of its weights and more: it would stand beside all
    that is needed next.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
