"""What the command line's parser refuses, told like every other error: what, where, what to do."""

import re
from pathlib import Path
from typing import Any, Final

import typer

from calaudit.runtime.errors import Problem, near, unreadable

PARSER_ERROR: Final[type[Exception]] = typer.BadParameter.__mro__[2]
"""Of all that the parser raises: typer exports some of the classes under it only."""
_UNREADABLE: Final = re.compile(r"[A-Z]\w* '(.*)' is not readable\.", re.DOTALL)
"""What the parser says of a path that is there and may not be read."""


def shows_help(error: Any) -> bool:
    """Whether it isn't an error but a group of commands that was called without one."""
    return type(error).__name__ == "NoArgsIsHelpError"


def usage_problem(error: Any) -> Problem:
    """What to say of an error of the parser."""
    text, context = _sentence(error.format_message()), getattr(error, "ctx", None)
    if context is None:
        return Problem(text, None, "Give the command -h to see what it takes.")
    command = context.command_path.partition(" ")[2]
    step = f"Run {context.command_path} -h to see what it takes."
    if hasattr(error, "possibilities"):
        # the parser's own guesses hold flags that --help doesn't show
        known = [opt for each in context.command.params for opt in each.opts if not _hidden(each)]
        flags = [each for each in known if each.startswith("--")]
        next_step = near(error.option_name, flags) if flags else step
        return Problem(f"there is no flag {error.option_name}", command or None, next_step)
    unknown = re.match(r"no such command '(.*?)'", text)
    if unknown is not None:
        known = context.command.list_commands(context)
        what = f"there is no command {unknown[1]!r}"
        return Problem(what, command or None, near(unknown[1], known))
    if not isinstance(error, typer.BadParameter) or error.param is None:
        return Problem(text, command or None, step)
    name = _name(error.param)
    if hasattr(error, "param_type"):
        usage = re.sub(r"\{(\S+)\}", r"\1", " ".join(context.get_usage().split()))
        return Problem(f"{name} is missing", command, f"Write {usage.partition(' ')[2]}.")
    denied = _UNREADABLE.fullmatch(error.message)
    return (
        Problem(_sentence(error.message), f"{command} {name}".strip(), step)
        if denied is None
        else unreadable(PermissionError(), Path(denied[1]), "", "")
    )


def _hidden(param: Any) -> bool:
    return bool(getattr(param, "hidden", False))


def _name(param: Any) -> str:
    """A flag, or an argument as --help shows it."""
    if param.param_type_name == "option":
        return str(max(param.opts, key=len))
    return str(param.metavar or param.name.upper())


def _sentence(text: str) -> str:
    """As our own errors begin and end."""
    text = text.strip().removesuffix(".")
    return f"{text[:1].lower()}{text[1:]}"
