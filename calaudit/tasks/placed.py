"""Errors of the truth, with the place of what is wrong."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from calaudit.runtime.errors import PoolError, Problem, SettingsError


@contextmanager
def placed(*, target: str, where: str | None = None) -> Iterator[None]:
    """Say where the truth is in the pool, or the task, in errors that don't say it themselves."""
    try:
        yield
    except PoolError as error:
        raise PoolError.of(_at(error.problems, target)) from None
    except SettingsError as error:
        raise SettingsError.of(_at(error.problems, where)) from None


def _at(problems: Iterable[Problem], place: str | None) -> Iterator[Problem]:
    for problem in problems:
        yield Problem(problem.message, problem.where or place, problem.next_step)
