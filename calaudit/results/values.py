"""Values as JSON can hold them, types of a record's fields, and records filled from values."""

import dataclasses
import functools
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic import TypeAdapter

Count = Annotated[int, Ge(0)]
"""A number of things."""
Ordinal = Annotated[int, Ge(1)]
"""A number of things, at least one; or a place, counted from 1."""
Size = Annotated[float, Ge(0)]
"""A number that can't be negative."""
Share = Annotated[float, Ge(0), Le(1)]
"""A part of a whole, or a probability."""
Level = Annotated[float, Gt(0), Lt(1)]
"""A confidence level or an error, neither 0 nor 1."""
Record = TypeVar("Record", bound="DataclassInstance")


_FIELDS: dict[type[Any], tuple[str, ...]] = {}
_SETTLED = frozenset({str, int, bool, type(None)})


class _NotEmpty:
    """Said in the schema alone: pydantic's own check refuses file names that aren't UTF-8."""

    def __get_pydantic_json_schema__(self, made: Any, handler: Any) -> dict[str, Any]:
        return {**handler(made), "minLength": 1}


Name = Annotated[str, _NotEmpty()]
"""A text that isn't empty."""


@functools.cache
def adapter_of(kind: type[Record]) -> "TypeAdapter[Record]":
    """What reads a record's types: to make that of a report takes as long as reading 25 of them."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: mappings, lists, text, finite numbers, True, False, None.

    Records become mappings, sets sorted lists, paths, dates and infinities text, numpy scalars
    Python's, NaN None.

    Raises
    ------
    TypeError
        For a value that has no such form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, PurePath | date | time):
        return str(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return str(number) if math.isinf(number) else finite(value)
    if hasattr(value, "item"):  # numpy's booleans are no numbers
        return plain(value.item())
    raise TypeError(f"{value!r} of type {type(value).__name__} has no JSON form")


def finite(number: Any) -> Any:
    """An int, a finite float, or None."""
    if isinstance(number, bool) or number is None:
        return number
    if isinstance(number, numbers.Integral):
        return int(number)
    return float(number) if math.isfinite(number) else None


def filled(kind: type[Record], source: object, /, **given: Any) -> Record:
    """A record whose fields are those `given`, and for the rest the source's of the same names.

    The one way from a value to a record that tells of it: no field is copied by hand.

    Parameters
    ----------
    kind : type
        A dataclass.
    source : object
        With an attribute for each field that isn't given and has no default.
    **given
        Fields by name.

    Raises
    ------
    TypeError
        A field that must be set is neither given nor the source's, or one is given that isn't
        the record's.
    """
    named = (name for name in field_names(kind) if name not in given)
    taken = {name: getattr(source, name) for name in named if hasattr(source, name)}
    return kind(**taken, **given)


def field_names(kind: type[Any]) -> tuple[str, ...]:
    """The names of a dataclass's fields."""
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(each.name for each in dataclasses.fields(kind))
    return _FIELDS[kind]


def settle(record: Any) -> None:
    """Replace the numbers of a frozen record by plain finite ones, or None."""
    for name in field_names(type(record)):
        value: Any = getattr(record, name)
        kind = type(value)
        if kind in _SETTLED or (kind is float and math.isfinite(value)):
            continue
        if isinstance(value, numbers.Real):
            object.__setattr__(record, name, finite(value))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured number with its interval."""

    value: float | None
    """None where nothing was measured."""
    low: float | None = None
    """Lower end; None where it isn't known."""
    high: float | None = None
    """Upper end; None where it isn't known."""

    def __post_init__(self) -> None:
        settle(self)
