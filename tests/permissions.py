"""Denied permissions in tests: root passes them over, unless it gives that right up for a while."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

VERSION = 0x20080522
"""``_LINUX_CAPABILITY_VERSION_3`` of linux/capability.h."""
PASSING_OVER = (1 << 1) | (1 << 2) | (1 << 3)
"""``CAP_DAC_OVERRIDE``, ``CAP_DAC_READ_SEARCH`` and ``CAP_FOWNER``, as bits."""
GET_SECUREBITS, SET_SECUREBITS, NO_ROOT = 27, 28, 1
"""Of ``prctl``; with the last, programs that root starts aren't given its rights again."""


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Rights(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32),
                ("inheritable", ctypes.c_uint32)]  # fmt: skip


@contextmanager
def held_to_permissions() -> Iterator[None]:
    """This thread and the programs it starts may do what files' modes permit, even as root."""
    if os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("root can't give up its rights for a while on this system")
    libc = ctypes.CDLL(None, use_errno=True)
    header, rights = _Header(VERSION, 0), (_Rights * 2)()
    _check(libc.capget(ctypes.byref(header), rights))
    before, bits = rights[0].effective, libc.prctl(GET_SECUREBITS)
    _check(libc.prctl(SET_SECUREBITS, bits | NO_ROOT, 0, 0, 0))
    try:
        rights[0].effective = before & ~PASSING_OVER
        _check(libc.capset(ctypes.byref(header), rights))
        yield
    finally:
        rights[0].effective = before
        _check(libc.capset(ctypes.byref(header), rights))
        _check(libc.prctl(SET_SECUREBITS, bits, 0, 0, 0))


def _check(returned: int) -> None:
    if returned != 0:
        raise OSError(ctypes.get_errno(), "root can't give up its rights here")
