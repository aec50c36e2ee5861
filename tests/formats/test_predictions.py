from pathlib import Path

import h5py
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calaudit.formats.predictions import Predictions, write_predictions

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
ODD = ("y/", "/y", "y//z", ".", "..", "a", "a/b", "%2E", "50%", "a.b", "ü y")


def held(folder: Path, names: tuple[str, ...]) -> Predictions:
    rows = np.arange(3)
    batch = {name: np.full((3, 2), place, np.float32) for place, name in enumerate(names)}
    return write_predictions(folder / "predictions.h5", rows, [batch])


def test_outputs_may_have_any_name_even_one_that_is_a_part_of_anothers(tmp_path: Path) -> None:
    found = held(tmp_path, ODD)
    assert set(found.output_names) == set(ODD)
    for place, name in enumerate(ODD):
        assert (found.read(name) == place).all()
        assert (Predictions(found.path).read(name) == place).all()


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True).map(tuple))
def test_any_names_are_read_as_they_were_written(
    tmp_path_factory: object, names: tuple[str, ...]
) -> None:
    folder = tmp_path_factory.mktemp("any")  # type: ignore[attr-defined]
    found = held(folder, names)
    assert set(found.output_names) == set(names)
    assert [float(found.read(name)[0, 0]) for name in names] == list(range(len(names)))


def test_files_that_kept_slashes_as_groups_are_read_still(tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update(calaudit_format="predictions", format_version=1)
        file["rows"] = np.arange(2)
        file["outputs/head/logits"] = np.ones((2, 3), np.float32)
    found = Predictions(path)
    assert found.output_names == ("head/logits",)
    assert found.read("head/logits").shape == (2, 3)
