"""What runs in a worker is all that a target needs: on Python 3.8, without anything of calaudit."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import calaudit.backends.tensorrt.worker as folder

SOURCES = sorted(Path(str(folder.__file__)).parent.glob("*.py"))
GIVEN = {"numpy", "tensorrt", "pycuda", "pynvml"}


def imported(tree: ast.AST, *, typing: bool = False) -> Iterator[tuple[int, str, bool]]:
    """Level, first name, and whether only type checkers see it, of each import."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((0, each.name.partition(".")[0], typing) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, (node.module or "").partition(".")[0], typing
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imported(ast.Module(node.body, []), typing=True)
            yield from imported(ast.Module(node.orelse, []))
        else:
            yield from imported(node, typing=typing)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_module_is_python_3_8_and_needs_numpy_and_nvidias_libraries_at_most(
    source: Path,
) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 8))
    for level, name, typing in imported(tree):
        if level:
            assert level == 1, f"{name} is outside the worker's package"
        elif name == "tensorrt":
            assert typing, "TensorRT is found, not imported"
        else:
            assert name in sys.stdlib_module_names | GIVEN


def test_nothing_of_the_worker_is_left_out() -> None:
    verbs = {"runner", "build", "implicit", "bench"}
    assert {"boot", "main", "line", "meter", *verbs} <= {p.stem for p in SOURCES}
