"""Notices that a pool keeps from its import, in a root attribute."""

import json
from collections.abc import Sequence
from dataclasses import astuple

import h5py

from calaudit.errors import Notice

_ATTRIBUTE = "notices"


def write_notices(file: h5py.File, notices: Sequence[Notice]) -> None:
    """Write notices, if there are any, as JSON: ``[[code, message, where], …]``."""
    if notices:
        file.attrs[_ATTRIBUTE] = json.dumps([astuple(each) for each in notices], ensure_ascii=False)


def read_notices(file: h5py.File) -> tuple[Notice, ...]:
    """Read notices; what isn't as `write_notices` leaves it is none: nothing depends on it."""
    try:
        found = json.loads(file.attrs.get(_ATTRIBUTE, "[]"))
        return tuple(
            Notice(str(code), str(message), None if where is None else str(where))
            for code, message, where in found
        )
    except (ValueError, TypeError):
        return ()
