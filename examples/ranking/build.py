"""Build the ranking example's pool from MovieLens-100k.

    python examples/ranking/build.py SOURCE [--out data/ranking/pool.h5]

SOURCE is one of

- the wheel recbole-1.2.1-py3-none-any.whl (``pip download --no-deps recbole==1.2.1``),
- the folder ml-100k that GroupLens offers, with ``u.data`` and ``u.item``.

Both hold the same ratings; titles and genres are spelled a little differently. MovieLens data may
be used for research but not redistributed: don't commit the pool.
"""

import argparse
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.pool_writer import write_pool

LIKED = 3.5
"""Ratings from here on count as an interaction."""
MIN_INTERACTIONS = 5
"""Users with fewer are left out."""
HELD_OUT = 0.2
"""Share of a user's interactions that the ranking must find."""
CALIBRATION = 0.25
"""Share of the users in the calibration split."""
HEAD = 0.2
"""Share of the items, the most popular, that are the head."""

WHEEL_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
"""Order of the flags in ``u.item``."""


@dataclass(frozen=True, slots=True)
class Source:
    """What both sources say."""

    liked: list[tuple[int, int]]
    """(user id, item id) of every interaction."""
    films: dict[int, tuple[str, str]]
    """Item id to (title, genres separated by spaces)."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """Users × items."""

    users: NDArray[np.int64]
    """(n,) ids, ascending."""
    items: NDArray[np.int64]
    """(m,) ids, ascending."""
    matrix: NDArray[np.bool_]
    """(n, m)"""


def read_source(path: Path) -> Source:
    """The wheel's or GroupLens' files."""
    if path.is_dir():
        ratings = _fields(path.joinpath("u.data").read_text(encoding="ascii"), "\t")
        films = _fields(path.joinpath("u.item").read_text(encoding="latin-1"), "|")
        return Source(_liked(ratings), {int(film[0]): _flagged(film) for film in films})
    with zipfile.ZipFile(path) as wheel:
        ratings, films = (
            list(_fields(wheel.read(f"{WHEEL_FOLDER}.{kind}").decode(), "\t"))[1:]
            for kind in ("inter", "item")
        )
    return Source(_liked(ratings), {int(film[0]): (film[1], film[3]) for film in films})


def _fields(text: str, separator: str) -> Iterator[list[str]]:
    return (line.split(separator) for line in text.splitlines() if line)


def _liked(ratings: Iterable[list[str]]) -> list[tuple[int, int]]:
    return [(int(user), int(item)) for user, item, rating, _ in ratings if float(rating) >= LIKED]


def _flagged(film: list[str]) -> tuple[str, str]:
    flags = film[-len(GENRES) :]
    return film[1], " ".join(
        genre for genre, flag in zip(GENRES, flags, strict=True) if flag == "1"
    )


def tabulate(liked: list[tuple[int, int]]) -> Interactions:
    """Users with enough interactions × every item that anybody liked."""
    pairs = np.array(liked, np.int64)
    users, user_rows = np.unique(pairs[:, 0], return_inverse=True)
    items, item_columns = np.unique(pairs[:, 1], return_inverse=True)
    matrix = np.zeros((len(users), len(items)), np.bool_)
    matrix[user_rows, item_columns] = True
    kept = matrix.sum(1) >= MIN_INTERACTIONS
    return Interactions(users[kept], items, matrix[kept])


def hold_out(matrix: NDArray[np.bool_], *, seed: int) -> NDArray[np.bool_]:
    """A random `HELD_OUT` of every user's interactions, at least one (n, m)."""
    random = np.random.default_rng(seed)
    held_out = np.zeros_like(matrix)
    for user, liked in enumerate(matrix):
        shuffled = random.permutation(np.flatnonzero(liked))
        held_out[user, shuffled[: max(1, int(HELD_OUT * len(shuffled)))]] = True
    return held_out


def build(source: Source, out: Path) -> str:
    """Write the pool; returns one line about it."""
    table = tabulate(source.liked)
    held_out = hold_out(table.matrix, seed=0)
    history = table.matrix & ~held_out
    popularity, activity = history.sum(0), history.sum(1)
    head = np.zeros(len(table.items), np.bool_)
    head[np.argsort(-popularity)[: int(HEAD * len(head))]] = True
    n = len(table.users)
    split = np.full(n, "evaluation", dtype="<U11")
    split[np.random.default_rng(9).permutation(n)[: int(CALIBRATION * n)]] = "calibration"
    films = [source.films.get(int(item), ("", "")) for item in table.items]
    write_pool(
        out,
        inputs={"x": history.astype(np.float32)},
        targets={
            "relevance": held_out.astype(np.uint8),
            "exclude": history.astype(np.uint8),
        },
        meta={
            "user": table.users,
            "activity": activity.astype(np.int32),
            "head_share": ((history & head).sum(1) / activity).astype(np.float32),
            "split": split.tolist(),
        },
        items={
            "id": table.items,
            "popularity": popularity.astype(np.int64),
            "title": [title for title, _ in films],
            "genres": [genres for _, genres in films],
        },
        compress=True,
    )
    return f"{out}: {n} users, {len(table.items)} items, {table.matrix.sum()} interactions"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="the wheel, or the folder ml-100k")
    parser.add_argument("--out", type=Path, default=Path("data/ranking/pool.h5"))
    options = parser.parse_args()
    print(build(read_source(options.source), options.out))


if __name__ == "__main__":
    main()
