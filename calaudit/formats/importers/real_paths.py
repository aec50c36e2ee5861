"""Where the files of a list really are: links are followed, each folder's once."""

import os
from pathlib import Path


class RealPaths:
    """Real paths of many files of few folders.

    `Path.resolve` asks the system about every folder above a file, for each file anew: 60 µs.
    """

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: str | Path) -> str:
        """The same as ``str(Path(path).resolve())``."""
        folder, name = os.path.split(path)
        if name in ("", os.curdir, os.pardir):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        found = os.path.join(self._folders[folder], name)
        return os.path.realpath(found) if os.path.islink(found) else found


def is_within(real: str, folder: str) -> bool:
    """Whether a real path is a folder's, or of something in it."""
    return os.path.normcase(os.path.join(real, "")).startswith(
        os.path.normcase(os.path.join(folder, ""))
    )
