from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from calaudit.report.html import environment


@pytest.fixture
def compiled_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder in which compiled templates are kept; no environment is left from before."""
    monkeypatch.setattr(environment, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    environment.templates_of.cache_clear()
    yield tmp_path / "cache"
    environment.templates_of.cache_clear()


def compiled_again(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Names of the templates that a new environment compiles for one page of a notebook."""
    names: list[str | None] = []
    compile_one = Environment.compile

    def compile_and_tell(self: Environment, source: str, name: str | None, *args: Any) -> Any:
        names.append(name)
        return compile_one(self, source, name, *args)

    environment.templates_of.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(Environment, "compile", compile_and_tell)
        environment.templates_of("calaudit.report.html").get_template("notebook.html")
    return names


def test_templates_are_compiled_once(monkeypatch: pytest.MonkeyPatch, compiled_here: Path) -> None:
    assert compiled_again(monkeypatch) == ["notebook.html"]
    assert compiled_again(monkeypatch) == []
    for kept in compiled_here.rglob("*.cache"):
        kept.write_bytes(b"damaged")
    assert compiled_again(monkeypatch) == ["notebook.html"]


def test_templates_are_compiled_again_where_they_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch, compiled_here: Path
) -> None:
    compiled_here.write_text("a file, not a folder")
    assert compiled_again(monkeypatch) == ["notebook.html"]
    assert compiled_again(monkeypatch) == ["notebook.html"]
