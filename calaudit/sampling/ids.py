"""Exactly the samples of a list of ids, which another tool or an earlier draw chose."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calaudit.runtime.errors import DrawError, Problem, SettingsError
from calaudit.runtime.settings import setting
from calaudit.runtime.words import counted, first_of
from calaudit.sampling.keys import Keys
from calaudit.sampling.recipe import Candidates, Choice, Needs, Recipe, StratumDraw
from calaudit.slices.dimension import EVERYTHING

_SHOWN = 5
_AT_ONCE = 1 << 16


@setting
class Ids(Recipe):
    """The samples of a list: nothing is left to the seed, and weights are 1."""

    kind = "ids"

    ids: tuple[str, ...] = ()
    """Sample ids, each once. In a recipe file also the path of a text file with one id per line,
    relative to the recipe file; `size` is their number and may be left out."""

    def problems(self) -> Iterator[Problem]:
        """No ids, ids that occur twice, or a size that isn't their number."""
        if not self.ids:
            yield Problem(
                "a draw by ids needs ids", None, 'Add ids = "file.txt" with one id per line.'
            )
            return
        yield from _problems(self.ids, self.size, None)

    @property
    def needs(self) -> Needs:
        """The candidates' ids."""
        return Needs(ids=True)

    def choose(self, candidates: Candidates, keys: Keys) -> Choice:
        """The candidates of these ids."""
        positions = self._positions(candidates)
        table = StratumDraw(EVERYTHING, len(candidates.rows), self.size, self.size)
        return Choice(positions, np.ones(self.size), (table,))

    def check(self, candidates: Candidates) -> None:
        """Find the ids."""
        self._positions(candidates)

    def settled(self, candidates: Candidates) -> bool:
        """The seed decides nothing."""
        return True

    def details(self) -> str:
        """``"128 given"``."""
        return f"{len(self.ids):,} given"

    @classmethod
    def completed(cls, values: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """Read the ids where a file is named, and count them."""
        ids = values.get("ids")
        if isinstance(ids, str | Path):
            path = folder / ids
            ids = _read_ids(path)
            problems = list(_problems(ids, values.get("size", len(ids)), path))
            if problems:
                raise SettingsError.of(problems)
        if isinstance(ids, list | tuple) and ids:
            return {"size": len(ids), **values, "ids": ids}
        return {"size": 1, **values}

    def _positions(self, candidates: Candidates) -> np.ndarray[Any, np.dtype[np.int64]]:
        if candidates.ids is None:
            raise ValueError("a draw by ids needs the candidates' ids")
        asked, known = set(self.ids), dict[str, int]()
        # as texts some at a time: those of millions of candidates are gigabytes
        for start in range(0, len(candidates.ids), _AT_ONCE):
            piece = candidates.ids[start : start + _AT_ONCE].tolist()
            known |= {one: start + at for at, one in enumerate(map(str, piece)) if one in asked}
        missing = [one for one in self.ids if one not in known]
        if missing:
            raise DrawError(
                f"{counted(len(missing), 'id')} of {len(self.ids):,} "
                f"{'is' if len(missing) == 1 else 'are'} not among the "
                f"{counted(len(candidates.ids), 'candidate')}: {_shown(missing)}",
                next_step="Check that the pool has them, that candidates doesn't leave them out, "
                "and that they aren't evaluated.",
            )
        return np.array(sorted(known[one] for one in self.ids), np.int64)


def _problems(ids: Sequence[str], size: object, path: Path | None) -> Iterator[Problem]:
    """Ids that occur twice, or a size that isn't their number; `path`: the list's file."""
    where = None if path is None else str(path)
    twice = [one for one, n in Counter(ids).items() if n > 1]
    if twice:
        yield Problem(f"ids occur more than once: {_shown(twice)}", where, "List each once.")
    elif size != len(ids):
        listed = counted(len(ids), "id is", "ids are")
        yield Problem(f"size is {size}, but {listed} listed", where, "Leave size out.")


def _read_ids(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "isn't UTF-8 text"
        raise SettingsError(
            f"the list of ids can't be read: {reason}",
            where=path,
            next_step="Give a text file with one id per line.",
        ) from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise SettingsError(
            "the list of ids is empty", where=path, next_step="Write one id per line."
        )
    return found


def _shown(ids: list[str]) -> str:
    return first_of(map(repr, ids[:_SHOWN]), len(ids))
