"""What members of other packages do when they are called: errors blamed on them, values checked.

A registry's members are called in many places, and none of them knows whether the member is
calaudit's own. So a member of another package is held to its contract when it is loaded: each of
its methods then ends with what the contract promises, or with an error that names the package, the
file and the line. calaudit's own members stay as they are: what they raise is a bug here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import isabstract
from typing import Any, Final
from weakref import WeakKeyDictionary

from calaudit.runtime.errors import CalauditError, SettingsError
from calaudit.runtime.lent import lent
from calaudit.runtime.user_code import blamed, file_of


@dataclass(frozen=True, slots=True)
class Gives:
    """What one method gives."""

    what: str
    """For messages: ``"a Choice"``."""
    types: tuple[type, ...] = ()
    """Of the value, or of each of its elements; empty: anything."""
    each: bool = False
    """Whether it is an iterable of such values."""
    error: type[CalauditError] = SettingsError
    """What is raised where it fails, or gives something else."""

    def fits(self, value: Any) -> bool:
        """Whether a value is what is promised."""
        if not self.types:
            return True
        if self.each:
            return all(isinstance(one, self.types) for one in value)
        return isinstance(value, self.types)


Contract = Mapping[str, Gives]
"""Name of a method, class method or property → what it gives."""

ANYTHING: Final = Gives("anything")

_offers: Final["WeakKeyDictionary[type, str]"] = WeakKeyDictionary()
"""Class of another package that is held to a contract → what messages call it."""


def is_ours(of: type) -> bool:
    """Whether a class is calaudit's own."""
    return of.__module__.partition(".")[0] == "calaudit"


def offer_of(of: type) -> str | None:
    """What messages call a class of another package; None of calaudit's own."""
    if is_ours(of):
        return None
    return _offers.get(of, f"{of.__module__}:{of.__qualname__}")


def asked(
    offer: str,
    name: str,
    gives: Gives,
    file: str | None,
    function: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """What something of another package gives when it is called.

    Parameters
    ----------
    offer : str
        What messages call it: ``"the kind of recipe 'first' of the package my-package"``.
    name : str
        Of the method.
    gives : Gives
    file : str or None
        Where it was written.
    function : callable
    *args, **kwargs
        What it is given; it can't write to arrays among them.

    Returns
    -------
    object
        What it gave; of an iterator, one over what that gave.

    Raises
    ------
    CalauditError
        ``gives.error``: it failed, or gave something else than it promised.
    """
    with blamed(offer, f"failed in {name}", gives.error, file=file):
        found = function(*lent(args), **lent(kwargs))
        iterator = gives.each and isinstance(found, Iterator)
        if iterator:
            found = tuple(found)  # what a generator raises, it raises here
    if (gives.each and not isinstance(found, Iterable)) or not gives.fits(found):
        told = type(found).__name__
        if gives.each and isinstance(found, list | tuple):
            strange = next(one for one in found if not isinstance(one, gives.types))
            told += f" with {type(strange).__name__} in it"
        raise gives.error(
            f"{offer} gave {told} from {name}, expected {gives.what}",
            next_step="Fix the package, or do without it.",
        )
    return iter(found) if iterator else found


def hold(of: type, offer: str, contract: Contract) -> None:
    """Hold a class of another package to a contract; a second time does nothing.

    Parameters
    ----------
    of : type
        Its methods that the contract names, and that aren't calaudit's, are wrapped in place, so
        that instances made by the package itself are held to it too.
    offer : str
        What messages call it.
    contract : mapping

    Raises
    ------
    SettingsError
        It lacks a method that it needs, or has something else in its place.
    """
    if is_ours(of) or of in _offers:
        return
    if isabstract(of):
        lacking = ", ".join(sorted(vars(of)["__abstractmethods__"]))
        raise SettingsError(f"{offer} lacks {lacking}", next_step="Write it, or uninstall it.")
    for name, gives in contract.items():
        owner = next((each for each in of.__mro__ if name in vars(each)), None)
        if owner is None or is_ours(owner):
            continue
        own = vars(owner)[name]
        held = _held(own, offer, name, gives)
        if held is not None:
            setattr(of, name, held)
        elif not hasattr(own, "__get__") and not _is_property(of, name):
            raise SettingsError(
                f"{offer} has {name} = {own!r}, expected a method",
                next_step="Fix the package, or do without it.",
            )
    _offers[of] = offer


def _is_property(of: type, name: str) -> bool:
    """Whether the class of calaudit's own that a class is below has a property of that name."""
    return any(isinstance(vars(each).get(name), property) for each in of.__mro__ if is_ours(each))


def _held(own: Any, offer: str, name: str, gives: Gives) -> Any:
    """A method, class method or property held to its contract; None of anything else."""
    if isinstance(own, property) and own.fget is not None:
        return property(_wrapped(own.fget, offer, name, gives), own.fset, own.fdel, own.__doc__)
    if isinstance(own, classmethod | staticmethod):
        return type(own)(_wrapped(own.__func__, offer, name, gives))
    return _wrapped(own, offer, name, gives) if callable(own) else None


def _wrapped(function: Callable[..., Any], offer: str, name: str, gives: Gives) -> Any:
    file = file_of(function)

    @wraps(function)
    def held(*args: Any, **kwargs: Any) -> Any:
        return asked(offer, name, gives, file, function, *args, **kwargs)

    return held
