"""Numbers of things in words."""

from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.errors import DrawError
from calaudit.runtime.words import counted, first_of
from calaudit.sampling.kinds import make_recipe
from calaudit.steps.sample import check_recipe
from tests.cli.running import calaudit


@pytest.mark.parametrize(
    ("n", "told"), [(0, "0 classes"), (1, "1 class"), (2, "2 classes"), (1200, "1,200 classes")]
)
def test_only_one_is_singular(n: int, told: str) -> None:
    assert counted(n, "class", "classes") == told


@pytest.mark.parametrize(("n", "told"), [(1, "p.h5: 1 sample"), (2, "p.h5: 2 samples")])
def test_an_import_counts_its_samples_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("p.npz", x=np.zeros((n, 2), np.float32))
    ended = calaudit("pool", "import", "p.npz", "p.h5", "--input", "x")
    assert (ended.status, ended.out) == (0, f"{told}\n")
    assert calaudit("pool", "show", "p.h5").out.splitlines()[0].startswith(told)


def test_a_draw_from_one_candidate_counts_it_in_words(tmp_path: Path) -> None:
    write_pool(tmp_path / "p.h5", inputs={"x": np.zeros((1, 2), np.float32)})
    with (
        open_pool(tmp_path / "p.h5") as pool,
        pytest.raises(DrawError, match=r"2 samples are asked for, but there is only 1 candidate\n"),
    ):
        check_recipe(pool, make_recipe(name="r", kind="uniform", size=2))


def test_the_first_of_many_are_listed_with_how_many_more_there_are():
    assert first_of(["a", "b"], 2) == "a, b"
    assert first_of(iter(["a", "b"]), 3) == "a, b and 1 more"
    assert first_of(["a"], 1_001) == "a and 1,000 more"
