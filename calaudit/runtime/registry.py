"""Registries: what calaudit and other packages offer under a name, as Python entry points.

A registry is one entry point group. calaudit's own members are declared in its ``pyproject.toml``
like those of any other package; nothing is imported before its name is asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from calaudit.runtime.errors import Problem, SettingsError, near
from calaudit.runtime.user_code import blamed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

BUILT_IN: Final = "calaudit"
"""The distribution whose members are built in."""

_remembered: Final[list[Callable[[], None]]] = []


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The members of one entry point group, by name.

    Examples
    --------
    >>> forms = Registry("calaudit.forms", "form of report", callable, "a function")
    """

    group: str
    """Entry point group: ``"calaudit.tasks"``."""
    what: str
    """What a member is, for messages: ``"kind of task"``."""
    fits: Callable[[Any], bool]
    """Whether an object can be a member."""
    wanted: str
    """What a member must be, for messages: ``"a subclass of calaudit.tasks.base.Task"``."""
    hold: Callable[[T, str], T] | None = None
    """Member of another package and what messages call it → the member, or what stands for it, held
    to its contract; see `calaudit.runtime.outside`."""

    def names(self) -> tuple[str, ...]:
        """Names of all members, sorted; nothing is imported."""
        return tuple(_entries(self.group))

    def __contains__(self, name: str) -> bool:
        return name in _entries(self.group)

    def load(self, name: str, *, where: object = None) -> T:
        """The member of that name.

        Parameters
        ----------
        name : str
        where : object, optional
            Place that names it, for messages.

        Raises
        ------
        SettingsError
            There is no such member, two packages offer it, or the package that offers it can't be
            imported, or offers something else or less.
        """
        entries = _entries(self.group)
        if name not in entries:
            raise SettingsError.of([self.unknown(name, where)])
        entry = entries[name]
        offer = f"the {self.what} {name!r} of the package {package_of(entry)}"
        with blamed(offer, "can't be imported", SettingsError):
            member: Any = import_module(entry.module)
        for attribute in entry.attr.split(".") if entry.attr else ():
            if not hasattr(member, attribute):
                raise SettingsError(
                    f"{offer} isn't where its entry point says: {entry.value}",
                    where=where,
                    next_step=f"Fix the entry points of {package_of(entry)} and reinstall it.",
                )
            member = getattr(member, attribute)
        if not self.fits(member):
            raise SettingsError(
                f"{offer} is {type(member).__name__} ({entry.value}), expected {self.wanted}",
                where=where,
                next_step=f"Fix or uninstall {package_of(entry)}.",
            )
        if self.hold is None or package_of(entry) == BUILT_IN:
            return cast(T, member)
        return self.hold(member, offer)

    def unknown(self, name: str, where: object = None) -> Problem:
        """What to say of a name that no member has: those near it, and all there are."""
        names, close = self.names(), near(name, self.names())
        known = near("", names, limit=len(names))
        return Problem(
            f"there is no {self.what} {name!r}: no installed package offers it",
            None if where is None else str(where),
            close if close == known else f"{close} {known}",
        )

    def package(self, name: str) -> str:
        """The distribution that offers the member."""
        return package_of(_entries(self.group)[name])


def package_of(entry: "EntryPoint") -> str:
    """The name of the distribution that declares an entry point."""
    return "unknown" if entry.dist is None else entry.dist.name


def remembered(function: Callable[[], T]) -> Callable[[], T]:
    """Keep what a function without parameters makes of entry points, until `forget`."""
    kept = cache(function)
    _remembered.append(kept.cache_clear)
    return kept


@remembered
def _all_entries() -> Any:
    """All entry points of all packages: one look at the installed packages serves all groups."""
    from importlib.metadata import entry_points  # slow to import

    return entry_points()


@cache
def _entries(group: str) -> Mapping[str, "EntryPoint"]:
    """Entry points of a group by name, sorted.

    Raises
    ------
    SettingsError
        Two packages declare one name, or calaudit's own members aren't declared.
    """
    found: dict[str, EntryPoint] = {}
    for entry in _all_entries().select(group=group):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise SettingsError(
                f"{package_of(other)} and {package_of(entry)} both offer {entry.name!r} in the "
                f"entry point group {group}",
                next_step="Uninstall one of the two packages.",
            )
    if not any(package_of(entry) == BUILT_IN for entry in found.values()):
        raise SettingsError(
            f"calaudit's own entry points of the group {group} are missing",
            next_step="Reinstall calaudit: pip install --editable . in a checkout.",
        )
    return dict(sorted(found.items()))


def forget() -> None:
    """Look for entry points anew; for packages that are installed while Python runs."""
    _entries.cache_clear()
    for clear in _remembered:
        clear()
