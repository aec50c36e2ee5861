"""``float_ops`` and ``[[exemptions]]`` of an audit file: which products engines leave in float."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from calaudit.runtime.errors import Problem, SettingsError, near
from calaudit.runtime.settings import parse_settings, setting
from calaudit.sampling.recipe import Role

FORBIDDEN = "/+"
"""What separates the parts of a cell's id."""


@setting
class Exemption:
    """One more engine of every calibration set and method, some products of which stay in float."""

    name: str
    """Stands behind the method in the cells' ids: ``clean/minmax+head``."""
    float_ops: tuple[str, ...]
    """Names of nodes, or patterns of them, besides those of ``[audit]``."""
    sets: tuple[str, ...] = ()
    """Calibration sets and given ranges whose engines are judged with it; none: all."""
    role: Role | None = None
    """Of its engines; None: that of their calibration set or ranges."""

    def __post_init__(self) -> None:
        """Refuse names that ids can't hold, and exemptions of nothing."""
        if not self.name.strip() or any(sign in self.name for sign in FORBIDDEN):
            raise SettingsError(
                f"name must be a text without {' and '.join(FORBIDDEN)} (got {self.name!r})",
                next_step="Name the exemption by what it leaves in float, such as head.",
            )
        if not self.float_ops:
            raise SettingsError(
                "float_ops is empty",
                next_step="Name products; every audit judges its engines without exemptions too.",
            )


def read_exemption(values: Mapping[str, Any], path: Path, at: str) -> Exemption:
    """One table of ``[[exemptions]]``. Raises `SettingsError` where it isn't one."""
    return parse_settings(values, Exemption, where=path, at=at)


def exemption_problems(
    exemptions: Sequence[Exemption],
    float_ops: Sequence[str],
    *,
    int8: bool,
    sets: Collection[str],
    path: Path,
) -> Iterator[Problem]:
    """What is wrong with an audit's exemptions as a whole."""
    for number, each in enumerate(exemptions):
        for name in each.sets:
            if name not in sets:
                message = f"no calibration set or ranges are called {name!r}"
                yield Problem(message, f"{path}: exemptions[{number}].sets", near(name, sets))
    names = [each.name for each in exemptions]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(f"two exemptions are called {name!r}", f"{path}: exemptions", "Rename one.")
    if not int8 and (exemptions or float_ops):
        key = "audit.float_ops" if float_ops else "exemptions"
        yield Problem(
            "leaves products of INT8 engines in float, but precisions doesn't name int8",
            f"{path}: {key}",
            "Drop it, or name int8.",
        )
