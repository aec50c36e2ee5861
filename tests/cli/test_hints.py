"""Whatever a message, a note or a help text advises is there: options, commands, pages, keys."""

import ast
import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import calaudit
from calaudit.cli.app import COMMANDS, load_command

FILLED: Final = "\0"
"""Stands for what an f-string fills in."""
PACKAGE = Path(calaudit.__file__).parent
ROOT = PACKAGE.parent


@dataclasses.dataclass(frozen=True)
class Said:
    """A piece of text in the package that a person may read."""

    module: str
    line: int
    text: str
    command: str | None
    """The command whose function it stands in."""
    function: str
    """The function it stands in."""


@cache
def pieces() -> tuple[Said, ...]:
    """Every string of the package that isn't a docstring; of an f-string, its fixed parts.

    A former flag, the first argument of `renamed_flag`, is none that is advised.
    """
    return tuple(
        each
        for path in sorted(PACKAGE.rglob("*.py"))
        for each in _pieces(
            ast.parse(path.read_text(encoding="utf-8")),
            (path.relative_to(PACKAGE).as_posix(), None, ""),
        )
    )


def _pieces(node: ast.AST, place: tuple[str, str | None, str]) -> Iterator[Said]:
    module, command, function = place
    if isinstance(node, ast.FunctionDef):
        command, function = _command(node, Path(module).stem) or command, node.name
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        node.args[:1] = [] if node.func.id == "renamed_flag" else node.args[:1]
    body = getattr(node, "body", None)
    docstring = body[0] if isinstance(body, list) and body else None
    for child in ast.iter_child_nodes(node):
        documents = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if documents and (child is docstring or isinstance(node, ast.ClassDef | ast.Module)):
            continue
        if isinstance(child, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else FILLED for p in child.values]
            yield Said(module, child.lineno, "".join(map(str, parts)), command, function)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield Said(module, child.lineno, child.value, command, function)
        else:
            yield from _pieces(child, (module, command, function))


def _command(function: ast.FunctionDef, module: str) -> str | None:
    """``"cache diff"``, of a function that is registered under that name."""
    for call in function.decorator_list:
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if call.func.attr == "command" and isinstance(call.func.value, ast.Name):
            name = str(ast.literal_eval(call.args[0]))
            return name if name == module else f"{module} {name}"
    return None


@cache
def options_by_command() -> dict[str, frozenset[str]]:
    """Command → its options."""
    found = {"": frozenset({"--help", "--version"})}

    def walk(command: Any, path: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))
        if not hasattr(command, "commands"):
            shown = [p for p in command.params if not getattr(p, "hidden", False)]
            opts = [o for p in shown for o in (*p.opts, *p.secondary_opts)]
            found[" ".join(path)] = frozenset(o for o in opts if o.startswith("--")) | {"--help"}

    for name in COMMANDS:
        walk(load_command(name), (name,))
    return found


SERVES: Final[Mapping[str, tuple[str, ...]]] = {
    "ab/": ("ab",),
    "formats/requests.py": ("ab",),
    "audit/dask/": ("compare",),
    "audit/matching.py": ("bench", "explain"),
    "audit/preflight.py": ("compare",),
    "audit/store.py": ("compare", "clean", "demo"),
    "tasks/": ("pool import",),
    "audit/proposal/": ("init",),
    "cli/app.py": ("",),
    "cli/cache_text.py": ("cache verify",),
    "cli/flags.py": ("slices", "sample", "calibrate"),
    "cli/pool_flags.py": ("pool import",),
    "cli/pool_settings.py": ("pool import",),
    "cli/recipe_flags.py": ("sample",),
    "audit/finished.py": ("export",),
    "bench/": ("bench",),
    "explain/harmed.py": ("explain",),
    "export/": ("export",),
    "audit/paired.py": ("report diff",),
    "recommend/": ("recommend",),
    "formats/importers/": ("pool import",),
    "formats/trt_header.py": ("cache verify", "cache convert"),
    "report/bench/change.py": ("report diff",),
    "report/difference.py": ("report diff",),
    "report/handover.py": ("cache convert",),
    "report/index.py": ("compare", "report show"),
    "steps/cache.py diff_files": ("cache diff",),
    "steps/cache.py": ("cache convert",),
    "steps/calibrate.py": ("calibrate",),
    "steps/sample.py": ("sample",),
    "steps/write_cache.py": ("cache write",),
}
"""Part of the package → the commands that say what it says: all of them have what it advises."""
PROSE: Final = frozenset({"and", "draw", "from", "hands", "isn", "or", "places", "report", "row"})
"""What follows the name of the tool in a sentence, and is no command."""
EXAMPLES: Final = frozenset({"noise", "p"})
"""What looks like a key of a file, and is a column or a symbol."""
_COMMAND: Final = re.compile(r"\bcalaudit ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
_OPTION: Final = re.compile(r"(?<![\w-])--[a-z][a-z-]*(?![A-Za-z])(?!=enable)")
"""Of calaudit: trtexec's have capitals, or what no option of calaudit's has for a value."""
_OTHERS: Final = re.compile(r"(?<!-)\b(?:dask|pip|python|nvidia-smi|trtexec)\b")
_PAGE: Final = re.compile(r"([\w/-]+\.md)(?:#([\w-]+))?")
_KEY: Final = re.compile(r"\b([a-z][a-z0-9_]*) = (?=[\"\[{…\d]|true|false)")


def test_the_package_says_enough_for_this_test_to_mean_something() -> None:
    assert sum(bool(_OPTION.search(each.text)) for each in pieces()) > 100
    assert sum(bool(_COMMAND.search(each.text)) for each in pieces()) > 30
    assert {"compare", "report show", "pool import"} <= set(options_by_command())


def test_every_command_that_is_advised_exists() -> None:
    groups = {name.split()[0] for name in options_by_command() if " " in name}
    missing = []
    for each in pieces():
        for first, second in _COMMAND.findall(each.text):
            known = first in options_by_command() or (
                first in groups and f"{first} {second}" in options_by_command()
            )
            if not known and first not in PROSE:
                missing.append(f"{each.module}:{each.line}: calaudit {first} {second}")
    assert missing == []


def advisers(each: Said, option: re.Match[str]) -> tuple[str, ...]:
    """The commands that must all have an option that a text names."""
    sentence = re.split(r"[.;:] ", each.text[: option.start()])[-1]
    if _OTHERS.search(sentence):
        return ()
    named = [" ".join(filter(None, m.groups())) for m in _COMMAND.finditer(sentence)]
    named = [name if name in options_by_command() else name.split()[0] for name in named]
    if named:
        return (named[-1],)
    if each.command is not None:
        return (each.command,)
    place = f"{each.module} {each.function}"
    served = [names for part, names in SERVES.items() if place.startswith(part)]
    return served[0] if served else ("?",)


def commands_in(module: str) -> list[str]:
    """Commands that a module of ``cli/`` defines."""
    return [said.command for said in pieces() if said.module == module and said.command]


def test_every_option_that_is_advised_exists_on_the_command_that_says_so() -> None:
    missing = []
    for each in pieces():
        if each.module == "cli/flags.py" and _OPTION.fullmatch(each.text):
            continue  # declares it
        for option in _OPTION.finditer(each.text):
            commands = advisers(each, option)
            own = commands_in(each.module) if commands == ("?",) else []
            there = [
                option[0] in options_by_command().get(command, frozenset())
                for command in own or commands
            ]
            if not (any(there) if own else all(there)):
                missing.append(f"{each.module}:{each.line}: {option[0]} of {commands}")
    assert missing == []


def headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in found}


def test_every_page_that_is_named_exists() -> None:
    missing = []
    for each in pieces():
        for name, heading in _PAGE.findall(each.text):
            page = ROOT / name
            written = "summary.md"  # by an audit
            if name != written and not (page.is_file() and heading in {"", *headings(page)}):
                missing.append(f"{each.module}:{each.line}: {name}#{heading}")
    assert missing == []


def keys() -> frozenset[str]:
    """Every key of every TOML file: fields of the settings classes, names of tables, and `kind`."""
    found = {"slices", "calibsets", "tasks", "gates", "audit", "kind"}
    for module in pkgutil.walk_packages(calaudit.__path__, "calaudit."):
        if module.name.endswith("__main__"):
            continue
        for held in vars(importlib.import_module(module.name)).values():
            if isinstance(held, type) and "__pydantic_config__" in vars(held):
                found |= {field.name for field in dataclasses.fields(held)}
    return frozenset(found)


def test_every_key_of_a_file_that_is_advised_exists() -> None:
    known = keys()
    assert {"max_drop", "candidates", "methods", "ranges"} <= known
    missing = [
        f"{each.module}:{each.line}: {key}"
        for each in pieces()
        for key in _KEY.findall(each.text)
        if key not in known | EXAMPLES
    ]
    assert missing == []
