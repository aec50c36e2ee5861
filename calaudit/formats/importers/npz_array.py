"""Arrays inside an .npz file, read piece by piece without ever unpickling."""

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from calaudit.errors import FileFormatError, Problem


def open_npz(path: Path) -> zipfile.ZipFile:
    """Open an .npz file, which is a zip archive of .npy files.

    Raises
    ------
    FileFormatError
        Missing, or not such an archive.
    """
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise FileFormatError(
            "there is no such file", where=path, next_step="Check the path."
        ) from None
    except (zipfile.BadZipFile, OSError) as error:
        raise FileFormatError(
            f"isn't a readable .npz file: {error}",
            where=path,
            next_step="Save it again with numpy.savez.",
        ) from None


def arrays_in(archive: zipfile.ZipFile, path: Path) -> dict[str, "NpzArray"]:
    """All arrays of an archive by name; only their headers are read."""
    return {
        name.removesuffix(".npy"): NpzArray(archive, name, path)
        for name in archive.namelist()
        if name.endswith(".npy")
    }


class NpzArray:
    """One array of an archive, read from its first row to its last."""

    def __init__(self, archive: zipfile.ZipFile, member: str, path: Path) -> None:
        self._archive = archive
        self._member = member
        self.where = f"{path}: {member.removesuffix('.npy')}"
        """The file and the array, for messages."""
        with archive.open(member) as stream:
            self.shape, self._fortran, self.dtype = self._header(stream)
        self._stream: IO[bytes] | None = None
        self._columnwise: NDArray[Any] | None = None
        self._done = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, at least 1."""
        return max(1, self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64)))

    def refusal(self) -> Problem | None:
        """The problem with an array that would have to be unpickled."""
        if not self.dtype.hasobject:
            return None
        return Problem(
            "holds pickled Python objects, which may run code when loaded; they are never loaded",
            self.where,
            "Save it as numbers or fixed-length text: array.astype(float) or array.astype(str).",
        )

    def take(self, n: int) -> NDArray[Any]:
        """The next `n` rows, (n, …).

        Raises
        ------
        FileFormatError
            The archive is damaged.
        """
        start, self._done = self._done, self._done + n
        if self._fortran:
            # Rows of a column-major array lie scattered over all of it.
            if self._columnwise is None:
                self._columnwise = self.whole()
            return self._columnwise[start : start + n]
        if self._stream is None:
            self._stream = self._archive.open(self._member)
            self._header(self._stream)
        return self._read(self._stream, n * self.row_bytes).reshape(n, *self.shape[1:])

    def whole(self) -> NDArray[Any]:
        """The whole array."""
        count = int(np.prod(self.shape, dtype=np.int64))
        with self._archive.open(self._member) as stream:
            self._header(stream)
            flat = self._read(stream, count * self.dtype.itemsize)
        return flat.reshape(self.shape[::-1]).T if self._fortran else flat.reshape(self.shape)

    def _read(self, stream: IO[bytes], size: int) -> NDArray[Any]:
        try:
            raw = stream.read(size)
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
            raise self._damaged(str(error)) from None
        if len(raw) < size:
            raise self._damaged(f"{size} bytes expected, {len(raw)} found")
        return np.frombuffer(raw, self.dtype)

    def _header(self, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        try:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                return np.lib.format.read_array_header_1_0(stream)
            return np.lib.format.read_array_header_2_0(stream)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, what: str) -> FileFormatError:
        return FileFormatError(
            f"is damaged: {what}", where=self.where, next_step="Save or copy the .npz again."
        )
