"""A user's own functions, named ``module:function``: found by name, their errors located.

What such code raises is the user's to fix: an error that names the function, the line and the
exception, as for any other bad input.
"""

import importlib
import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from calaudit.runtime import interrupts
from calaudit.runtime.errors import CalauditError, SettingsError, near

_OURS = Path(__file__).parent


def find_function(
    reference: str, *, next_step: str, offered: Callable[[Any], bool] = callable
) -> Callable[..., Any]:
    """The function at ``module:function``.

    Parameters
    ----------
    reference : str
    next_step : str
        What to do where there is no such module.
    offered : callable
        Which of a module's values may be proposed where it has no such function.

    Raises
    ------
    SettingsError
        There is no such module or function, or the module can't be imported.
    """
    module_name, _, name = reference.partition(":")
    missing = SettingsError(
        f"there is no module {module_name!r}", where=reference, next_step=next_step
    )
    if not module_name.strip("."):
        raise missing
    with blamed(f"module {module_name!r}", "can't be imported", SettingsError):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # Else the module is there, but something that it imports isn't.
            if f"{module_name}.".startswith(f"{error.name}."):
                raise missing from None
            raise
    function = getattr(module, name, None)
    if not callable(function):
        known = [each for each, value in vars(module).items() if offered(value)]
        raise SettingsError(
            f"module {module_name!r} has no function {name!r}",
            where=reference,
            next_step=near(name, known),
        )
    found: Callable[..., Any] = function
    return found


@contextmanager
def blamed(
    name: str,
    what: str,
    kind: type[CalauditError],
    *,
    file: str | None = None,
    but: type[Exception] = CalauditError,
) -> Iterator[None]:
    """Turn what a user's code raises inside the block into an error of one `kind`.

    Requests to end stay what they are, and so do errors of calaudit's own. A ``sys.exit`` in that
    code would end the command with a status that means something else: it counts as raised.

    Parameters
    ----------
    name : str
        Of the function or module.
    what : str
        What it did: ``"failed at sample 3"``.
    kind : type
        Error to raise.
    file : str, optional
        Of the user's code, whose innermost line is named; else where the exception was raised.
    but : type, optional
        What stays what it is, besides errors of calaudit's own.

    Raises
    ------
    CalauditError
        Of `kind`.
    """
    try:
        yield
    except (CalauditError, but):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and interrupts.asked() is not None:
            raise
        place = _place(error, file)
        at = "" if place is None else f" ({place})"
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        told = f"{type(error).__name__}: {text}" if text else type(error).__name__
        step = "Fix it and try again."
        if isinstance(error, ValueError) and "read-only" in text:
            step = "Change a copy of the array: what calaudit hands over can't be written to."
        raise kind(f"{name} {what}{at}: {told}", next_step=step) from error


def file_of(function: Callable[..., Any]) -> str | None:
    """The file that a function was written in, where that is known."""
    inner = inspect.unwrap(function)
    code = getattr(inner, "__code__", None) or getattr(type(inner).__call__, "__code__", None)
    return getattr(code, "co_filename", None)


def place_of(function: Callable[..., Any]) -> str:
    """File and line where a function begins, such as ``gen.py, line 4``; its name where unknown."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return getattr(function, "__name__", type(function).__name__)
    return _told(code.co_filename, code.co_firstlineno)


def check_call(function: Callable[..., Any], offer: str, given: Sequence[str]) -> None:
    """Refuse a function that can't be called with so many arguments. Raises `SettingsError`."""
    if not callable(function):
        raise SettingsError(
            f"{offer} is {function!r}, expected a function", next_step="Give a function."
        )
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some written in C don't tell
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        raise SettingsError(
            f"{offer} ({place_of(function)}) can't be called with ({', '.join(given)}): {error}",
            next_step=f"Let it take {', '.join(given)}.",
        ) from None


def _place(error: BaseException, file: str | None) -> str | None:
    """File and line of what raised, such as ``gen.py, line 4``; None where no Python code did."""
    if isinstance(error, SyntaxError) and error.filename:
        return _told(error.filename, error.lineno)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and frame.filename != importlib.__file__
        and _OURS not in Path(frame.filename).parents
    ]
    own = [frame for frame in frames if frame.filename == file] or frames
    return _told(own[-1].filename, own[-1].lineno) if own else None


def _told(file: str, line: int | None) -> str:
    path = Path(file)
    here = Path.cwd()
    shown = path.relative_to(here) if here in path.parents else path
    return f"{shown}, line {line}"
