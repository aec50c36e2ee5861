"""Registries: what calaudit and other packages offer under a name, as Python entry points.

A registry is one entry point group. calaudit's own members are declared in its ``pyproject.toml``
like those of any other package; nothing is imported before its name is asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from calaudit.runtime.errors import Problem, SettingsError, near
from calaudit.runtime.user_code import blamed

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

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
    called: str | None = None
    """The attribute by which a member calls itself: it has to be the name of its entry point."""
    meant: Mapping[str, str] = field(default_factory=dict)
    """What members are called elsewhere → their names, for who writes that."""

    def names(self) -> tuple[str, ...]:
        """Names of all members, sorted; nothing is imported."""
        return tuple(_entries(self.group))

    def __contains__(self, name: str) -> bool:
        return name in _entries(self.group)

    def load(self, name: str, *, where: object = None, package: str | None = None) -> T:
        """The member of that name.

        Parameters
        ----------
        name : str
        package : str, optional
            Take that package's, whoever else offers one of the name.
        where : object, optional
            Place that names it, for messages.

        Raises
        ------
        SettingsError
            There is no such member, two packages offer it, or the package that offers it can't be
            imported, or offers something else or less, or calls itself something else.
        """
        entry = self._only(name, package, where)
        by = package_of(entry)
        offer = f"the {self.what} {name!r} of the package {by}"
        if not entry.pattern.match(entry.value):
            raise SettingsError(
                f"{offer} has the entry point {entry.value!r}, which isn't module:name",
                where=where,
                next_step=f'Write {entry.name} = "{by.replace("-", "_")}.module:name" in the '
                f"pyproject.toml of {by} and reinstall it, or uninstall it.",
            )
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
        if self.hold is not None and by != BUILT_IN:
            member = self.hold(member, offer)
        if self.called is not None and getattr(member, self.called, None) != name:
            raise SettingsError(
                f"the {self.what} {name!r} calls itself {getattr(member, self.called, None)!r}",
                where=where,
                next_step=f"Fix {by}: its entry point and {self.called} have to be the same name.",
            )
        return cast(T, member)

    def _only(self, name: str, package: str | None, where: object) -> "EntryPoint":
        """The one entry point of that name. Raises `SettingsError`."""
        entries = _entries(self.group)
        if name not in entries:
            raise SettingsError.of([self.unknown(name, where)])
        first, *others = (e for e in entries[name] if package in {None, package_of(e)})
        if others:
            raise SettingsError.of([self.clash(name, package_of(others[0]), where)])
        return first

    def clash(self, name: str, other: str, where: object = None) -> Problem:
        """What to say of a name that another package offers too."""
        first = self.package(name)
        if first == BUILT_IN:
            whose = f"calaudit and {other} both offer"
            step = f"Uninstall {other}, or rename {name} in its pyproject.toml: calaudit's stays."
        else:
            whose = f"{first} and {other} both offer"
            step = f"Uninstall {first} or {other}, or rename {name} in the pyproject.toml of one."
        return Problem(
            f"{whose} the {self.what} {name!r}", None if where is None else str(where), step
        )

    def unknown(self, name: str, where: object = None) -> Problem:
        """What to say of a name that no member has: those near it, and all there are."""
        names, close = self.names(), near(name, self.names(), meant=self.meant)
        known = near("", names, limit=len(names))
        return Problem(
            f"there is no {self.what} {name!r}: no installed package offers it",
            None if where is None else str(where),
            close if close == known else f"{close} {known}",
        )

    def package(self, name: str) -> str:
        """The distribution that offers the member; calaudit, where others offer it too."""
        return package_of(_entries(self.group)[name][0])

    def offers(self) -> tuple[tuple[str, str], ...]:
        """Each name with each package that offers it, calaudit's own first; nothing is imported."""
        found = [
            (name, package_of(entry))
            for name, entries in _entries(self.group).items()
            for entry in entries
        ]
        return tuple(sorted(found, key=lambda each: (each[1] != BUILT_IN, each)))


def package_of(entry: "EntryPoint") -> str:
    """The name of the distribution that declares an entry point."""
    return "unknown" if entry.dist is None else _name_of(entry.dist)


@cache
def _name_of(package: "Distribution") -> str:
    """Its name; Python reads all of a package's metadata whenever it is asked."""
    return package.name


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
def _entries(group: str) -> Mapping[str, "tuple[EntryPoint, ...]"]:
    """Entry points of a group by name, sorted: of each name one, unless packages disagree.

    Raises
    ------
    SettingsError
        calaudit's own members aren't declared.
    """
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in _all_entries().select(group=group):
        found.setdefault(entry.name, {}).setdefault(entry.value, entry)
    if not any(package_of(e) == BUILT_IN for each in found.values() for e in each.values()):
        raise SettingsError(
            f"calaudit's own entry points of the group {group} are missing",
            next_step="Reinstall calaudit: pip install --editable . in a checkout.",
        )
    return {
        name: tuple(sorted(each.values(), key=lambda entry: package_of(entry) != BUILT_IN))
        for name, each in sorted(found.items())
    }


def forget() -> None:
    """Look for entry points anew; for packages that are installed while Python runs."""
    _entries.cache_clear()
    _name_of.cache_clear()
    for clear in _remembered:
        clear()
