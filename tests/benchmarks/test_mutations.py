"""Mutations fit the package that they are put into."""

from pathlib import Path

from mutations import MUTATIONS, ROOT


def test_each_text_occurs_once_in_the_package_and_is_changed() -> None:
    package = "\0".join(path.read_text("utf-8") for path in (Path(ROOT) / "calaudit").rglob("*.py"))
    assert not [each.what for each in MUTATIONS if package.count(each.right) != 1]
    assert all(each.wrong != each.right for each in MUTATIONS)
