"""How the package is built: short files and functions, no import cycles, docstrings that hold."""

import ast
import graphlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "calaudit"
MODULES = sorted(PACKAGE.rglob("*.py"))
WORKER = PACKAGE / "backends" / "tensorrt" / "worker"
"""Whose modules are loaded under another name where they are sent, and import relatively."""
LINES = 400
"""Of a module."""
BODY = 60
"""Lines of a function, its signature and docstring not counted."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """`path` as a module is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def body_lines(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function, clean=False) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def when_imported(nodes: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run with the module: not those in functions, nor those for types alone."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            yield from when_imported([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from when_imported([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.ClassDef | ast.With):
            yield from when_imported(node.body)


def imported_by(path: Path, known: set[str]) -> set[str]:
    """The package's modules that `path` imports when it is imported."""
    found: set[str] = set()
    for node in when_imported(parsed(path).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            if node.level and path.parent == WORKER:
                found.add(f"{name_of(WORKER / '__init__.py')}.{node.module}")
                continue
            assert node.level == 0, f"{path}: line {node.lineno} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return (found & known) - {name_of(path)}


def test_no_module_is_longer_than_is_read_at_once():
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: n for name, n in lengths.items() if n > LINES} == {}


def test_no_function_is_longer_than_is_seen_at_once():
    long = {
        f"{name_of(path)}.{node.name}": body_lines(node)
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, Function) and body_lines(node) > BODY
    }
    assert long == {}


def test_no_modules_import_each_other():
    known = {name_of(path) for path in MODULES}
    graph = {name_of(path): imported_by(path, known) for path in MODULES}
    assert sum(map(len, graph.values())) > len(MODULES)
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name_of)
def test_a_package_names_files_and_names_that_it_has(path: Path):
    told = re.findall(r"(?<!`)`([a-z_.]+)`(?!`)", ast.get_docstring(parsed(path)) or "")
    there = {each.stem for each in path.parent.iterdir()} | defined(path)
    known = {name_of(each) for each in MODULES}
    lacking = [name for name in told if name.split(".")[0] not in there and name not in known]
    assert lacking == []


def defined(package: Path) -> set[str]:
    """What the modules beside a package's own file define."""
    return {
        node.name
        for path in package.parent.glob("*.py")
        for node in parsed(path).body
        if isinstance(node, Function | ast.ClassDef)
    }


def test_compiled_functions_call_none_of_another_file() -> None:
    """Machine code is kept with the time of the caller's file: it would go on calling the old."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    compiled = {
        (path, node.name): node
        for path, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and {getattr(each, "id", "") for each in node.decorator_list} & {"compiled", "streamed"}
    }
    assert compiled
    names = {name for _, name in compiled}
    for (path, name), node in compiled.items():
        here = {other for place, other in compiled if place == path}
        called = {
            each.func.id
            for each in ast.walk(node)
            if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
        }
        assert not (called & names) - here, f"{path}: {name}"
