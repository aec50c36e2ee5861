"""Engines of a plan that names or patterns mean: refused before any work where they mean none."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from calaudit.audit.plan import PlannedCell
from calaudit.runtime.errors import SettingsError, near


def check_cells(
    patterns: Iterable[str],
    cells: Sequence[PlannedCell],
    *,
    what: str = "no engine",
    where: str = "--cell",
) -> None:
    """Refuse names and patterns that no engine of a plan has.

    Parameters
    ----------
    patterns : iterable of str
    cells : sequence of PlannedCell
        Those that may be meant.
    what : str
        Kind of engine, for the message.
    where : str
        What the patterns were given by.

    Raises
    ------
    SettingsError
        One matches none; with the near names, those of first draws first.
    """
    for pattern in patterns:
        if not any(pattern == each.id or fnmatchcase(each.id, pattern) for each in cells):
            raise SettingsError(
                f"{what} is called {pattern!r}",
                where=where,
                next_step=near_cells(pattern, cells),
            )


def near_cells(name: str, cells: Iterable[PlannedCell]) -> str:
    """As `calaudit.runtime.errors.near`; further draws are listed last."""
    known = list(cells)
    return near(
        name, [each.id for each in known], last=[each.id for each in known if each.draw > 1]
    )
