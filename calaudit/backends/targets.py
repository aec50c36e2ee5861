"""Targets: what an audit builds and runs engines on, and the keys that say so in an audit file.

A target is a backend with settings under a name of its own, from ``[[targets]]``; a backend that is
named itself is a target with the keys of ``[audit]``. Reports have one column for each.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from calaudit.backends.base import DEFAULT, BackendKind
from calaudit.backends.registry import BACKENDS, backend_kinds
from calaudit.runtime.errors import Problem, SettingsError, near
from calaudit.runtime.settings import keys_of, meant_in, parse_settings, setting

_NAME: Final = re.compile(r"[^\W_][\w.-]{0,59}")
_CONFUSING: Final = frozenset({"fp32", "fp16", "int8", "all", "predicted"})
"""What reports call precisions, the slice of every sample, and engines that are predicted."""


@setting
class TargetSettings:
    """The keys of ``[[targets]]`` that every target has; the others are its backend's."""

    name: str
    backend: str = "tensorrt"

    def __post_init__(self) -> None:
        """Refuse names that can't stand in the names of cells and files."""
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"{self.name!r} can't be a target's name, which cells and files have in theirs",
                next_step="Use letters, digits, - _ and . (a letter or digit first, at most 60).",
            )


@dataclass(frozen=True, slots=True)
class Target:
    """A backend with its settings: one column of a report."""

    name: str
    """As ``[audit]``, cells and reports have it."""
    backend: str
    """The registered backend: `name` itself, where the audit names a backend."""
    settings: Any
    """Of the backend's `BackendKind.settings`."""
    where: str
    """Place in the audit file that describes it."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Of its settings, those that the audit file gives it, as they stand there."""

    @property
    def kind(self) -> BackendKind:
        """The backend before it is made."""
        return BACKENDS.load(self.backend, where=self.where)

    @property
    def named(self) -> bool:
        """Whether it is one of ``[[targets]]``."""
        return self.name != self.backend


@dataclass(frozen=True, slots=True)
class AuditTable:
    """The ``[audit]`` table of an audit file, whose keys the targets share."""

    values: Mapping[str, Any]
    own: Collection[str]
    """The keys that are the audit's."""
    used: Mapping[str, Sequence[str]]
    """Place in the file, such as ``"audit.backend"`` → the backends and targets named there."""
    where: object
    """The audit file."""
    folder: Path
    """What paths are relative to."""
    meant: Mapping[str, str] = field(default_factory=dict)
    """What keys are called elsewhere → the keys."""


def read_targets(
    audit: AuditTable, tables: Sequence[Mapping[str, Any]] = (), *, reserved: Collection[str] = ()
) -> dict[str, Target]:
    """All targets of an audit file: backends that it runs on, the default one, ``[[targets]]``.

    A key of ``[audit]`` goes to every target whose backend has it and that doesn't say otherwise.

    Parameters
    ----------
    audit : AuditTable
    tables : sequence of mapping
        ``[[targets]]``.
    reserved : collection of str
        Names that no target may have.

    Raises
    ------
    SettingsError
        Names that nothing has or two things have, wrong values, keys that nobody has or only
        backends that the audit doesn't run on, a backend with a key that is the audit's or every
        target's own, targets that are the same. All at once.
    """
    problems: list[Problem] = []
    heads = [_head(audit, number, table, problems) for number, table in enumerate(tables)]
    named = {number: head for number, head in enumerate(heads) if head is not None}
    problems += _name_problems(audit, named, reserved)
    listed = {str(table.get("name")) for table in tables}
    plain = {DEFAULT: f"{audit.where}: audit"}
    for key, names in audit.used.items():
        for name in names:
            place = f"{audit.where}: {key}"
            if name in BACKENDS:
                plain[name] = place
            elif name not in listed:
                problems.append(_unknown(name, listed, place))
    found = [_of_audit(audit, name, place, problems) for name, place in plain.items()]
    found += [_of_table(audit, n, tables[n], head, problems) for n, head in named.items()]
    made = [target for target in found if target is not None]
    backends = {*plain, *(head.backend for head in named.values())}
    problems += [*_of_packages(audit, backends), *_left_over(audit, backends)]
    runs = {name for names in audit.used.values() for name in names}
    # what is wrong elsewhere may be what makes two alike
    problems += [] if problems else _twins([t for t in made if t.named or t.name in runs])
    if problems:
        raise SettingsError.of(dict.fromkeys(problems))
    return {target.name: target for target in made}


def _place(audit: AuditTable, number: int) -> str:
    return f"{audit.where}: targets[{number}]"


def _head(
    audit: AuditTable, number: int, table: Mapping[str, Any], problems: list[Problem]
) -> TargetSettings | None:
    """Name and backend of a target; None where either is wrong."""
    values = {key: value for key, value in table.items() if key in keys_of(TargetSettings)}
    place = _place(audit, number)
    try:
        head = parse_settings(values, TargetSettings, where=audit.where, at=f"targets[{number}]")
        BACKENDS.load(head.backend, where=f"{place}.backend")
    except SettingsError as error:
        problems += error.problems
        return None
    return head


def _name_problems(
    audit: AuditTable, heads: Mapping[int, TargetSettings], reserved: Collection[str]
) -> Iterator[Problem]:
    """Targets whose name is taken; case doesn't tell names apart, as it doesn't tell all files."""
    seen: set[str] = set()
    for number, head in heads.items():
        name = head.name.casefold()
        if name in BACKENDS:
            taken = f"{head.name!r} is the name of a backend"
        elif name in reserved:
            taken = f"{head.name!r} has another meaning in the names of cells"
        elif name in _CONFUSING:
            taken = f"{head.name!r} has another meaning in reports, and would be confusing there"
        elif name in seen:
            taken = f"two targets are called {head.name!r}"
        else:
            seen.add(name)
            continue
        yield Problem(taken, f"{_place(audit, number)}.name", "Give the target another name.")


def _unknown(name: str, targets: Collection[str], place: str) -> Problem:
    """What to say of a name in ``[audit]`` that neither a backend nor a target has."""
    if not targets:
        return BACKENDS.unknown(name, place)
    known = [*targets, *BACKENDS.names()]
    close, every = near(name, known, meant=BACKENDS.meant), near("", known, limit=len(known))
    return Problem(
        f"there is no backend and no target {name!r}",
        place,
        close if close == every else f"{close} {every}",
    )


def _of_audit(audit: AuditTable, name: str, place: str, problems: list[Problem]) -> Target | None:
    """A backend that the audit names itself."""
    kind = BACKENDS.load(name)
    mine = {key: value for key, value in audit.values.items() if key in keys_of(kind.settings)}
    try:
        settings = parse_settings(mine, kind.settings, where=audit.where, at="audit")
    except SettingsError as error:
        problems += error.problems
        return None
    return Target(name, name, _placed(settings, audit), place, mine)


def _of_table(
    audit: AuditTable,
    number: int,
    table: Mapping[str, Any],
    head: TargetSettings,
    problems: list[Problem],
) -> Target | None:
    """One of ``[[targets]]``, over the keys of ``[audit]``."""
    kind, place = BACKENDS.load(head.backend), _place(audit, number)
    keys, every = keys_of(kind.settings), keys_of(TargetSettings)
    foreign = [key for key in table if key not in keys and key not in every]
    problems += [_foreign(audit, head, key, place) for key in foreign]
    given = {key: value for key, value in table.items() if key in keys and key not in every}
    shared = {key: value for key, value in audit.values.items() if key in keys and key not in given}
    try:
        at = f"targets[{number}]"
        both = {**shared, **given}
        settings = parse_settings(both, kind.settings, where=audit.where, at=at)
    except SettingsError as error:
        problems += [_at_home(each, place, shared, audit) for each in error.problems]
        return None
    settings = _placed(settings, audit)
    return Target(head.name, head.backend, settings, f"{place} ({head.name})", both)


def _placed(settings: Any, audit: AuditTable) -> Any:
    """Settings whose paths are relative to the audit's folder."""
    paths = {
        each.name: audit.folder / value.expanduser()
        for each in fields(settings)
        if isinstance(value := getattr(settings, each.name), Path)
    }
    return replace(settings, **paths)


def _at_home(problem: Problem, place: str, shared: Collection[str], audit: AuditTable) -> Problem:
    """Where a wrong value stands that a target has from ``[audit]``."""
    inside = (problem.where or "").removeprefix(f"{place}.")
    if re.split(r"[.\[]", inside)[0] not in shared:
        return problem
    return replace(problem, where=f"{audit.where}: audit.{inside}")


def _foreign(audit: AuditTable, head: TargetSettings, key: str, place: str) -> Problem:
    """What to say of a key that a target of this backend doesn't have."""
    where = f"{place}.{key}"
    if key in audit.own:
        step = "Move it to [audit]."
        return Problem(f"{key} is for the whole audit, not for a target", where, step)
    owners = [name for name, kind in backend_kinds().items() if key in keys_of(kind.settings)]
    if owners:
        message = f"{key} is for {' or '.join(owners)}, and this target's backend is {head.backend}"
        return Problem(message, where, "Leave it out, or change the target's backend.")
    kind = BACKENDS.load(head.backend)
    known = {*keys_of(TargetSettings), *keys_of(kind.settings)}
    return Problem("unknown key", where, near(key, known, meant=meant_in(kind.settings)))


def _of_packages(audit: AuditTable, backends: Iterable[str]) -> Iterator[Problem]:
    """Keys of backends that are the audit's own, or every target's, which are among these."""
    for name in sorted(backends):
        for key in sorted(keys_of(BACKENDS.load(name).settings) & set(audit.own)):
            message = f"the backend {name} has a key {key}, which is the audit's own"
            yield Problem(message, str(audit.where), f"Fix {BACKENDS.package(name)}.")


def _left_over(audit: AuditTable, backends: Iterable[str]) -> Iterator[Problem]:
    """What is wrong with keys of ``[audit]`` that are no key of the audit and its backends."""
    known = {*audit.own, *(k for name in backends for k in keys_of(BACKENDS.load(name).settings))}
    left = {key: value for key, value in audit.values.items() if key not in known}
    others = backend_kinds() if left else {}
    every = {*known, *(key for kind in others.values() for key in keys_of(kind.settings))}
    for key, value in left.items():
        owners = [name for name, kind in others.items() if key in keys_of(kind.settings)]
        place = f"{audit.where}: audit.{key}"
        if not owners:
            yield Problem("unknown key", place, near(key, every, meant=audit.meant))
        elif not any(_is_default(others[name], key, value) for name in owners):
            one_of = " or ".join(owners)
            message = f"{key} is for {one_of}, which this audit doesn't run on"
            step = f"Leave it out, or name {one_of} as backend or in agree_with."
            yield Problem(message, place, step)


def _is_default(kind: BackendKind, key: str, value: Any) -> bool:
    """Whether a key says what holds without it: it may stand where the backend isn't used."""
    try:
        made = parse_settings({key: value}, kind.settings, where="")
    except SettingsError:
        return False
    return bool(getattr(made, key) == getattr(kind.settings(), key))


def _twins(targets: Sequence[Target]) -> Iterator[Problem]:
    """Targets that are another one under a second name."""
    for number, target in enumerate(targets):
        for other in targets[:number]:
            if (target.backend, target.settings) == (other.backend, other.settings):
                yield Problem(
                    f"{target.name} is the same as {other.name}: {target.backend} with the same "
                    "settings",
                    target.where,
                    "Change what it differs in, or leave it out.",
                )
                break
