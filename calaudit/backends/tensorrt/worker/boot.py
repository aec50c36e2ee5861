"""The first thing that a worker runs: loads its other modules from the texts that the host sends.

Standard library only, and nothing relative: execnet runs this file's text in a module of its own.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import linecache
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGE = "calaudit_worker"


class Sources(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Finds the worker's modules among texts.

    Parameters
    ----------
    texts : mapping
        Name of a module within the package, ``""`` for the package → its source.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = {f"{PACKAGE}.{name}".rstrip("."): text for name, text in texts.items()}
        for name, text in self._texts.items():  # so that tracebacks show lines
            filename = self.get_filename(name)
            linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of one of the texts."""
        if name not in self._texts:
            return None
        return importlib.machinery.ModuleSpec(
            name, self, origin=self.get_filename(name), is_package=name == PACKAGE
        )

    def get_filename(self, name: str) -> str:
        """What tracebacks call a module's file."""
        return "<{}>".format(name.replace(".", "/"))

    def get_source(self, name: str) -> str:
        """A module's text."""
        return self._texts[name]

    def is_package(self, name: str) -> bool:
        """Whether a module is the package itself."""
        return name == PACKAGE


def start(channel: Any) -> None:
    """Load what the host sends, and take its requests until it hangs up."""
    sys.meta_path.insert(0, Sources(channel.receive()))
    importlib.import_module(f"{PACKAGE}.main").serve(channel, **channel.receive())


if __name__ == "__channelexec__":
    start(globals()["channel"])  # which execnet puts there
