from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.formats.given import Batch, Ragged, join
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.runtime.errors import FileFormatError

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


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    """Batches of one kind of rows: an output, a column, a ragged one."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    number = iter(range(1000))
    found = []
    for size in sizes:
        counts = np.array(draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
        values = np.array([[next(number)] * 4 for _ in range(counts.sum())], np.float32)
        found.append(
            Batch(
                {"y": np.array([[next(number)] for _ in range(size)], np.float32)},
                {
                    "detections": {
                        "boxes": Ragged(values.reshape(-1, 4), counts),
                        "n.b": counts.astype(np.int32),
                    }
                },
                {"detections": {"boxes": draw(st.sampled_from(["lzf", "gzip"]))}},
            )
        )
    return found


@given(batches(), st.data())
def test_answers_are_read_as_they_were_written_all_or_some(
    tmp_path_factory: object, written: list[Batch], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("any") / "p.h5"  # type: ignore[attr-defined]
    whole = join(written)
    rows = np.arange(len(whole)) * 3 + 1
    found = write_predictions(path, rows, written)
    assert found.answers == {"detections": ("boxes", "n.b")}
    places = np.flatnonzero(
        data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    )
    expected = whole.take(places)
    boxes = found.read_ragged("detections", "boxes", rows[places])
    np.testing.assert_array_equal(boxes.values, expected.answers["detections"]["boxes"].values)
    np.testing.assert_array_equal(boxes.counts, expected.answers["detections"]["boxes"].counts)
    assert boxes.values.dtype == np.float32
    assert boxes.offsets[-1] == len(boxes.values)
    counts = found.read_answers("detections", "n.b", rows[places])
    np.testing.assert_array_equal(counts, expected.answers["detections"]["n.b"])
    np.testing.assert_array_equal(found.read("y", rows[places]), expected.outputs["y"])
    again = found.whole()
    np.testing.assert_array_equal(again.outputs["y"], whole.outputs["y"])
    np.testing.assert_array_equal(
        again.answers["detections"]["boxes"].values, whole.answers["detections"]["boxes"].values
    )


def test_masks_are_compressed_where_a_reduction_asks_for_it(tmp_path: Path) -> None:
    masks = np.zeros((20, 180, 240), np.uint8)
    masks[:, 40:90] = 3
    batch = Batch({}, {"masks": {"mask": masks}}, {"masks": {"mask": "lzf"}})
    found = write_predictions(tmp_path / "p.h5", np.arange(20), [batch])
    assert found.output_names == ()
    np.testing.assert_array_equal(found.read_answers("masks", "mask"), masks)
    assert found.path.stat().st_size < masks.nbytes / 20


@pytest.mark.parametrize(
    "offsets", [[0, 2, 1, 3], [1, 2, 3, 3], [0, 1, 2, 9], [0, 1, 3], [0.0, 1.0, 2.0, 3.0]]
)
def test_ragged_answers_whose_offsets_do_not_fit_are_refused(
    tmp_path: Path, offsets: list[float]
) -> None:
    batch = Batch({}, {"d": {"score": Ragged(np.ones(3), np.array([1, 1, 1]))}})
    path = write_predictions(tmp_path / "p.h5", np.arange(3), [batch]).path
    with h5py.File(path, "a") as file:
        del file["answers/d/score/offsets"]
        file["answers/d/score/offsets"] = offsets
    with pytest.raises(FileFormatError, match="answers/d/score holds numbers for its 3 rows"):
        Predictions(path)


def test_what_was_not_kept_is_named(tmp_path: Path) -> None:
    batch = Batch({}, {"d": {"score": np.ones(3)}})
    found = write_predictions(tmp_path / "p.h5", np.arange(3), [batch])
    with pytest.raises(FileFormatError, match="has no answers d/boxes"):
        found.read_ragged("d", "boxes")
    with pytest.raises(FileFormatError, match="has no output 'y'"):
        found.read("y")
    with pytest.raises(FileFormatError, match="lacks rows"):
        found.read_answers("d", "score", np.array([1, 7]))


def test_batches_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    for batch in (
        Batch({"y": np.ones(2)}, {"d": {"score": np.ones(3)}}),
        Batch({"y": np.ones(5)}),
        Batch({"y": np.ones(2)}),
    ):
        with pytest.raises(FileFormatError, match="rows"):
            write_predictions(tmp_path / "p.h5", np.arange(4), [batch])
    assert not list(tmp_path.iterdir())
