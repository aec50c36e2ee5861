import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool import PoolFile, open_pool

SCRIPT = Path(__file__).parents[2] / "examples" / "ranking" / "build.py"
N_USERS, N_ITEMS = 12, 30


def ratings() -> list[tuple[int, int, int]]:
    """(user, item, rating): user u rates u films below 4 and 2 + u films 4 or 5."""
    random = np.random.default_rng(3)
    return [
        (user, int(item) + 1, 3 if k < user else 4 + k % 2)
        for user in range(1, N_USERS + 1)
        for k, item in enumerate(random.permutation(N_ITEMS)[: 2 * user + 2])
    ]


def build(source: Path, out: Path) -> PoolFile:
    subprocess.run([sys.executable, SCRIPT, source, "--out", out], check=True, capture_output=True)
    return open_pool(out)


@pytest.fixture(scope="module")
def grouplens(tmp_path_factory: pytest.TempPathFactory) -> PoolFile:
    folder = tmp_path_factory.mktemp("ml-100k")
    rows = [f"{user}\t{item}\t{rating}\t0" for user, item, rating in ratings()]
    folder.joinpath("u.data").write_text("\n".join(rows) + "\n", encoding="ascii")
    flags = ["0"] * 19
    flags[5] = flags[14] = "1"
    films = [f"{i}|Café {i}|01-Jan-1995||url|{'|'.join(flags)}" for i in range(1, N_ITEMS + 1)]
    folder.joinpath("u.item").write_text("\n".join(films) + "\n", encoding="latin-1")
    return build(folder, folder / "pool.h5")


@pytest.fixture(scope="module")
def recbole(tmp_path_factory: pytest.TempPathFactory) -> PoolFile:
    folder = tmp_path_factory.mktemp("wheel")
    wheel = folder / "recbole.whl"
    lines = [f"{user}\t{item}\t{rating}\t0" for user, item, rating in reversed(ratings())]
    films = [f"{i}\tCafé {i}\t1995\tComedy Romance" for i in range(1, N_ITEMS + 1)]
    with zipfile.ZipFile(wheel, "w") as archive:
        for kind, content in (("inter", ["header", *lines]), ("item", ["header", *films])):
            archive.writestr(f"recbole/dataset_example/ml-100k/ml-100k.{kind}", "\n".join(content))
    return build(wheel, folder / "pool.h5")


def test_both_sources_make_the_same_pool(grouplens: PoolFile, recbole: PoolFile) -> None:
    assert grouplens.fingerprint() == recbole.fingerprint()


def test_history_and_held_out_films_are_apart_and_add_up_to_what_was_liked(
    grouplens: PoolFile,
) -> None:
    rows = np.arange(len(grouplens), dtype=np.int64)
    history = grouplens.read_inputs(rows)["x"]
    relevance = grouplens.read_target("relevance", rows)
    np.testing.assert_array_equal(history, grouplens.read_target("exclude", rows))
    assert not (history.astype(bool) & relevance.astype(bool)).any()
    assert (relevance.sum(1) >= 1).all()
    liked = {(user, item) for user, item, rating in ratings() if rating >= 4}
    users = grouplens.columns(["user"])["user"].to_list()
    items = grouplens.item_column("id").to_list()
    found = [(users[row], items[column]) for row, column in np.argwhere(history + relevance)]
    assert set(found) == {(user, item) for user, item in liked if user in users}


def test_users_with_fewer_than_five_liked_films_are_left_out(grouplens: PoolFile) -> None:
    assert grouplens.columns(["user"])["user"].to_list() == list(range(3, N_USERS + 1))


def test_columns_count_what_their_names_say(grouplens: PoolFile) -> None:
    history = grouplens.read_inputs(np.arange(len(grouplens), dtype=np.int64))["x"]
    frame = grouplens.columns(["activity", "split", "head_share"])
    assert frame["activity"].to_list() == history.sum(1).tolist()
    assert grouplens.item_column("popularity").to_list() == history.sum(0).tolist()
    assert frame["split"].value_counts().sort("split").rows() == [
        ("calibration", len(frame) // 4),
        ("evaluation", len(frame) - len(frame) // 4),
    ]
    assert frame["head_share"].is_between(0, 1).all()
    assert grouplens.item_column("genres").unique().to_list() == ["Comedy Romance"]
