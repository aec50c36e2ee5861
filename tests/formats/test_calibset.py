from pathlib import Path

import h5py
import numpy as np
import pytest

from calaudit.formats.calibset import Calibset, DrawnSet, open_calibset, write_calibset
from calaudit.formats.identity import digest_rows
from calaudit.runtime.errors import FileFormatError, Notice, OutputError, PoolError
from calaudit.sampling.draw import SliceDraw
from calaudit.sampling.kinds import make_recipe
from calaudit.sampling.recipe import StratumDraw
from calaudit.slices.dimension import Dimension
from calaudit.slices.sliceset import CodedDimension, SliceSet

N = 7
INPUTS = {
    "image": np.random.default_rng(0).normal(size=(N, 2, 3)).astype(np.float32),
    "encoder/length": np.arange(N, dtype=np.int64),
}


def drawn_set(**changes) -> DrawnSet:
    values = {
        "recipe": make_recipe(
            name="equal", kind="stratified", size=N, strata=[Dimension(by="snr_db", edges=[0])]
        ),
        "seed": 3,
        "pool_label": "pools/größe.h5",
        "pool_fingerprint": "0f" * 16,
        "rows": np.arange(N) * 2,
        "ids": np.array([f"aufnahme-{i}é" for i in range(N)]),
        "weights": np.linspace(0.5, 1.5, N),
        "slices": SliceSet(
            N,
            (
                CodedDimension(
                    "snr_db", ("snr_db < 0", "snr_db ≥ 0"), np.arange(N, dtype=np.int32) % 3 - 1, 12
                ),
            ),
        ),
        "composition": (
            SliceDraw("all", 20, N, 1.0, 1.0),
            SliceDraw("snr_db < 0", 10, 0, 0.0, None),
        ),
        "strata": (StratumDraw("snr_db < 0", 10, 3, 2),),
        "notices": (Notice("stratum_short", "one", "equal"), Notice("other", "two")),
    }
    return DrawnSet(**{**values, **changes})


def batches(size: int = 3):
    for start in range(0, N, size):
        yield {name: values[start : start + size] for name, values in INPUTS.items()}


@pytest.fixture
def calibset(tmp_path: Path) -> Calibset:
    return write_calibset(tmp_path / "set.h5", drawn_set(), batches())


def test_everything_comes_back(calibset: Calibset) -> None:
    wanted = drawn_set()
    assert calibset.name == "equal"
    assert len(calibset) == N
    for field in ("recipe", "seed", "pool_label", "pool_fingerprint"):
        assert getattr(calibset, field) == getattr(wanted, field)
    for field in ("composition", "strata", "notices"):
        assert getattr(calibset, field) == getattr(wanted, field)
    for field in ("rows", "ids", "weights"):
        assert getattr(calibset, field).tolist() == getattr(wanted, field).tolist()
    (dimension,) = calibset.slices.dimensions
    assert (dimension.name, dimension.labels, dimension.min_support) == (
        "snr_db", ("snr_db < 0", "snr_db ≥ 0"), 12,
    )  # fmt: skip
    assert dimension.codes.tolist() == wanted.slices.dimensions[0].codes.tolist()
    assert calibset.kish_n_eff == pytest.approx(wanted.kish_n_eff)
    assert calibset.digests.tolist() == digest_rows(INPUTS).tolist()


def test_inputs_come_back_whole_or_in_batches(calibset: Calibset) -> None:
    assert {name: (spec.dtype, spec.shape) for name, spec in calibset.inputs.items()} == {
        "encoder/length": (np.dtype(np.int64), ()),
        "image": (np.dtype(np.float32), (2, 3)),
    }
    some = calibset.read_inputs(2, 5)
    joined = list(calibset.batches(3))
    for name, values in INPUTS.items():
        assert (some[name] == values[2:5]).all()
        assert (np.concatenate([each[name] for each in joined]) == values).all()


def test_slices_notices_and_strata_may_be_empty(tmp_path: Path) -> None:
    drawn = drawn_set(
        recipe=make_recipe(name="random", size=N), slices=SliceSet(N), strata=(), notices=()
    )
    found = write_calibset(tmp_path / "set.h5", drawn, batches())
    assert found.slices.names == ["all"]
    assert (found.strata, found.notices) == ((), ())


def test_the_same_draw_makes_the_same_file(tmp_path: Path) -> None:
    one, two = (tmp_path / name for name in ("one.h5", "two.h5"))
    first = write_calibset(one, drawn_set(), batches(2))
    second = write_calibset(two, drawn_set(), batches(7))
    assert one.read_bytes() == two.read_bytes()
    assert first.fingerprint == second.fingerprint


def test_the_fingerprint_covers_ids_weights_and_inputs(tmp_path: Path) -> None:
    def fingerprint(inputs, **changes) -> str:
        return write_calibset(tmp_path / "set.h5", drawn_set(**changes), [inputs]).fingerprint

    other = {**INPUTS, "image": INPUTS["image"] + np.float32(1)}
    found = {
        fingerprint(INPUTS),
        fingerprint(other),
        fingerprint(INPUTS, weights=np.ones(N)),
        fingerprint(INPUTS, ids=np.array(list("abcdefg"))),
    }
    assert len(found) == 4
    assert fingerprint(INPUTS, seed=9, pool_label="elsewhere") in found


def test_text_and_numbers_can_be_read_without_calaudit(calibset: Calibset) -> None:
    with h5py.File(calibset.path) as file:
        assert file.attrs["calaudit_format"] == "calibset"
        assert file.attrs["format_version"] == 1
        assert file["ids"].asstr()[0] == "aufnahme-0é"
        assert file["composition/name"].asstr()[1] == "snr_db < 0"
        assert np.isnan(file["composition/mean_weight"][1])
        assert file["inputs/image"].shape == (N, 2, 3)


def test_nothing_is_left_when_writing_fails_or_is_interrupted(tmp_path: Path) -> None:
    def failing(error):
        yield from batches()
        raise error

    kept = tmp_path / "kept.h5"
    kept.write_text("before")
    for error in (PoolError("inputs hold NaN"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            write_calibset(kept, drawn_set(), failing(error))
    with pytest.raises(ValueError, match="3 samples were given for 7 drawn rows"):
        write_calibset(kept, drawn_set(), list(batches())[:1])
    assert kept.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.h5"]


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        write_calibset(tmp_path / "file" / "set.h5", drawn_set(), batches())


def refused(path: Path) -> str:
    with pytest.raises(FileFormatError) as caught:
        open_calibset(path)
    assert str(path) in str(caught.value)
    assert "→" in str(caught.value)
    return str(caught.value)


def test_missing_foreign_and_truncated_files_are_refused(
    calibset: Calibset, tmp_path: Path
) -> None:
    assert "there is no such file" in refused(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5 at all")
    assert "isn't an HDF5 file" in refused(text)
    short = tmp_path / "short.h5"
    short.write_bytes(calibset.path.read_bytes()[:-2000])
    assert "truncated" in refused(short)
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file.attrs["calaudit_format"] = "pool"
    assert "not a calaudit calibration set" in refused(foreign)


@pytest.mark.parametrize(
    "part",
    [
        "rows", "ids", "weights", "digests", "recipe", "slices", "slices/labels", "strata",
        "composition/drawn", "notices", "inputs",
    ],
)  # fmt: skip
def test_a_missing_part_is_named(part: str, calibset: Calibset) -> None:
    with h5py.File(calibset.path, "a") as file:
        del file[part]
    message = refused(calibset.path)
    assert part.rsplit("/", maxsplit=1)[-1] in message


@pytest.mark.parametrize("name", ["seed", "pool", "pool_fingerprint", "format_version"])
def test_a_missing_attribute_is_named(name: str, calibset: Calibset) -> None:
    with h5py.File(calibset.path, "a") as file:
        del file.attrs[name]
    assert name in refused(calibset.path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("rows", np.arange(N - 1), "/rows has 6 entries, but /ids has 7"),
        ("rows", np.arange(N)[::-1], "/rows doesn't ascend"),
        ("rows", np.array([b"x"] * N), "isn't whole"),
        ("weights", np.zeros(N), "/weights isn't positive and finite"),
        ("weights", np.full(N, np.nan), "/weights isn't positive and finite"),
        ("recipe", "{", "the recipe isn't JSON"),
        ("recipe", '{"name": "x", "sise": 7}', "unknown key"),
        ("slices/codes", np.full((1, N), 2), "point outside its labels"),
        ("slices/codes", np.zeros(N), "isn't whole"),
        ("inputs/image", np.zeros((N + 1, 2)), "has 7 rows, but /inputs/image has 8"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(part, value, message, calibset: Calibset) -> None:
    with h5py.File(calibset.path, "a") as file:
        del file[part]
        file[part] = value
    assert message in refused(calibset.path)


def test_a_newer_version_is_refused(calibset: Calibset) -> None:
    with h5py.File(calibset.path, "a") as file:
        file.attrs["format_version"] = 2
    assert "this release reads up to 1" in refused(calibset.path)


def test_inputs_that_were_changed_are_noticed_when_read(calibset: Calibset) -> None:
    with h5py.File(calibset.path, "a") as file:
        file["inputs/image"][5, 0, 0] += 1
    found = open_calibset(calibset.path)
    found.read_inputs(0, 5)
    with pytest.raises(
        FileFormatError, match=r"1 sample doesn't match the stored checksums.*aufnahme-5é"
    ):
        found.read_inputs(0, N)
    with pytest.raises(FileFormatError):
        list(found.batches(4))


def test_inputs_with_nan_are_named_by_sample(calibset: Calibset) -> None:
    with h5py.File(calibset.path, "a") as file:
        file["inputs/image"][2, 0, 0] = np.nan
    with pytest.raises(PoolError, match="holds NaN or infinity in 1 sample: aufnahme-2é"):
        open_calibset(calibset.path).read_inputs(0, N)


def test_a_set_by_a_kind_that_is_not_installed_here_says_what_to_install(
    example_package, tmp_path: Path
) -> None:
    recipe = make_recipe(name="r", kind="systematic", size=N)
    path = tmp_path / "set.h5"
    write_calibset(path, drawn_set(recipe=recipe), batches())
    assert open_calibset(path).recipe == recipe
    with h5py.File(path, "r+") as file:
        del file["recipe"]
        file["recipe"] = recipe.to_json().replace("systematic", "theirs")
    with pytest.raises(FileFormatError, match="drawn by the kind of recipe 'theirs'") as caught:
        open_calibset(path)
    assert "Install the package that offers it" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weights": np.full(N, np.nan)}, "/weights isn't positive and finite"),
        ({"weights": -np.ones(N)}, "/weights isn't positive and finite"),
        ({"weights": np.ones(N - 1)}, f"/rows has {N} entries, but /weights has {N - 1}"),
        ({"rows": np.zeros(N, np.int64)}, "/rows doesn't ascend"),
        ({"seed": "x"}, "invalid literal for int"),
    ],
)
def test_an_invalid_set_never_takes_the_place_of_a_good_one(
    tmp_path: Path, changes: dict, told: str
) -> None:
    good = tmp_path / "good.h5"
    before = write_calibset(good, drawn_set(), batches()).fingerprint
    for path in (good, tmp_path / "new.h5"):
        with pytest.raises(OutputError, match=told) as caught:
            write_calibset(path, drawn_set(**changes), batches())
        assert caught.value.problems[0].where == str(path)
        assert ".part" not in str(caught.value)
    assert open_calibset(good).fingerprint == before
    assert [each.name for each in tmp_path.iterdir()] == ["good.h5"]
