"""Packages that add to calaudit from outside, made visible as if pip had installed them."""

import importlib
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from calaudit.runtime import registry

EXAMPLE = Path(__file__).parent / "example_package"
"""A package of one member for each registry."""


def write_metadata(package: Path, into: Path) -> Path:
    """What pip writes of a package's ``pyproject.toml``; returns the folder to put on the path."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    folder = into / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n", encoding="utf-8"
    )
    groups = [
        "\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())])
        for group, entries in project.get("entry-points", {}).items()
    ]
    (folder / "entry_points.txt").write_text("\n\n".join(groups) + "\n", encoding="utf-8")
    return into


def package_of(
    folder: Path, name: str, members: Mapping[str, Mapping[str, str]], text: str
) -> Path:
    """A package of one module, written to a folder.

    Parameters
    ----------
    folder : Path
        Made by this.
    name : str
        Of the package; its module is ``<name>_members``.
    members : mapping
        Group, such as ``"calaudit.recipes"`` → name → attribute of the module.
    text : str
        The module.
    """
    folder.mkdir(parents=True)
    groups = [
        "\n".join(
            [f'[project.entry-points."{group}"]']
            + [f'{key} = "{name}_members:{attribute}"' for key, attribute in entries.items()]
        )
        for group, entries in members.items()
    ]
    head = f'[project]\nname = "{name}"\nversion = "1"\n'
    (folder / "pyproject.toml").write_text(head + "\n".join(groups), encoding="utf-8")
    (folder / f"{name}_members.py").write_text(text, encoding="utf-8")
    return folder


@contextmanager
def installed(package: Path, metadata: Path) -> Iterator[Mapping[str, str]]:
    """A package on the path of this process, with its entry points.

    Parameters
    ----------
    package : Path
        Folder that holds its ``pyproject.toml`` and modules.
    metadata : Path
        An empty folder to write to.

    Yields
    ------
    mapping
        Environment for a process of its own that is to see the package too.
    """
    paths = [str(package), str(write_metadata(package, metadata))]
    before, modules = list(sys.path), set(sys.modules)
    sys.path[:0] = paths
    importlib.invalidate_caches()
    registry.forget()
    try:
        yield {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    finally:
        sys.path[:] = before
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if Path(file).is_relative_to(package):
                del sys.modules[name]
        registry.forget()
