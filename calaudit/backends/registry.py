"""The backends there are, by name, and their keys in an audit file.

calaudit's own and those of other packages are entry points. A backend's keys stand in ``[audit]``
beside the audit's own.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from calaudit.backends.base import DEFAULT, BackendKind
from calaudit.backends.guarded import guarded
from calaudit.runtime.errors import Problem, SettingsError, near
from calaudit.runtime.registry import Registry
from calaudit.runtime.settings import keys_of, parse_settings

BACKENDS: Final[Registry[BackendKind]] = Registry(
    "calaudit.backends",
    "backend",
    lambda found: isinstance(found, BackendKind),
    "an instance of calaudit.backends.base.BackendKind",
    guarded,
    called="name",
    meant={"ort": "onnxruntime", "cpu": "onnxruntime", "trt": "tensorrt", "rtx": "tensorrt_rtx"},
)


def backend_names() -> tuple[str, ...]:
    """Names of all backends, the default one first; nothing is imported."""
    others = (name for name in BACKENDS.names() if name != DEFAULT)
    return (DEFAULT, *others)


def parse_backends(
    names: Iterable[str],
    values: Mapping[str, Any],
    own: Collection[str],
    *,
    where: object,
    meant: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Settings of the backends that an audit runs on.

    A key that several backends have goes to each of them.

    Parameters
    ----------
    names : iterable of str
        The backends; each is there.
    values : mapping
        The whole ``[audit]`` table.
    own : collection of str
        The audit's own keys.
    where : object
        The audit file.
    meant : mapping
        What keys are called elsewhere → the keys.

    Returns
    -------
    dict
        Backend → value of its `BackendKind.settings`.

    Raises
    ------
    SettingsError
        Wrong values; keys that nobody has, or only backends that the audit doesn't run on; a
        backend with a key that is the audit's own. All at once.
    """
    problems: list[Problem] = []
    made: dict[str, Any] = {}
    known = set(own)
    for name in names:
        kind = BACKENDS.load(name)
        keys = keys_of(kind.settings)
        for key in sorted(keys & set(own)):
            message = f"the backend {name} has a key {key}, which is the audit's own"
            problems.append(Problem(message, str(where), f"Fix {BACKENDS.package(name)}."))
        known |= keys
        mine = {key: value for key, value in values.items() if key in keys}
        try:
            made[name] = parse_settings(mine, kind.settings, where=where, at="audit")
        except SettingsError as error:
            problems += error.problems
    left = {key: value for key, value in values.items() if key not in known}
    problems += _problems_of_others(left, known, where, meant) if left else []
    if problems:
        raise SettingsError.of(problems)
    return made


def _problems_of_others(
    left: Mapping[str, Any], known: Collection[str], where: object, meant: Mapping[str, str]
) -> list[Problem]:
    """What is wrong with keys that are no key of the audit and its backends."""
    problems = []
    others = _other_kinds()
    every = {*known, *(key for kind in others.values() for key in keys_of(kind.settings))}
    for key, value in left.items():
        owners = [name for name, kind in others.items() if key in keys_of(kind.settings)]
        place = f"{where}: audit.{key}"
        if not owners:
            problems.append(Problem("unknown key", place, near(key, every, meant=meant)))
        elif not any(_is_default(others[name], key, value) for name in owners):
            one_of = " or ".join(owners)
            message = f"{key} is for {one_of}, which this audit doesn't run on"
            step = f"Leave it out, or name {one_of} as backend or in agree_with."
            problems.append(Problem(message, place, step))
    return problems


def _other_kinds() -> dict[str, BackendKind]:
    """Every backend that can be imported; one that can't has no part in this audit."""
    found = {}
    for name in BACKENDS.names():
        try:
            found[name] = BACKENDS.load(name)
        except SettingsError:
            continue
    return found


def _is_default(kind: BackendKind, key: str, value: Any) -> bool:
    """Whether a key says what holds without it: it may stand where the backend isn't used."""
    try:
        made = parse_settings({key: value}, kind.settings, where="")
    except SettingsError:
        return False
    return bool(getattr(made, key) == getattr(kind.settings(), key))
