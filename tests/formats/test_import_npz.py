import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.formats.importers import npz
from calaudit.formats.importers.npz import Roles, import_npz
from calaudit.formats.pool import open_pool
from calaudit.runtime.errors import CalauditError, FileFormatError, PoolError, SettingsError

X = np.arange(60, dtype=np.float32).reshape(20, 3)
LABEL = np.arange(20) % 4
NOISE = np.where(np.arange(20) == 3, np.nan, 0.1)


class Boom:
    """Fails when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise AssertionError('unpickled')",)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def refusal(source: Path, out: Path, roles: Roles | None, kind: type[CalauditError]) -> str:
    with pytest.raises(kind) as caught:
        import_npz(source, out, roles)
    assert not out.exists()
    assert all(problem.next_step for problem in caught.value.problems)
    return str(caught.value)


def test_arrays_are_given_roles_and_new_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz, "_BLOCK_BYTES", 40)
    source = saved(tmp_path, x=X, y=LABEL, noise=NOISE, extra=X)
    roles = Roles(inputs={"image": "x"}, targets={"label": "y"}, meta={"noise": "noise"})
    done = import_npz(source, tmp_path / "p.h5", roles)
    assert done.n == 20
    assert "extra" in done.notices[0].message
    with open_pool(tmp_path / "p.h5") as pool:
        np.testing.assert_array_equal(pool.read_inputs(np.arange(20))["image"], X)
        frame = pool.columns(["noise", "label"])
        assert frame["label"].to_list() == LABEL.tolist()
        assert frame["noise"].null_count() == 1


def test_names_with_prefixes_need_no_roles(tmp_path: Path) -> None:
    arrays = {
        "inputs/x": X,
        "targets/relevance": X > 5,
        "meta/speaker": np.array(["theo", ""] * 10),
        "items/popularity": np.arange(3),
        "ids": np.array([f"id{i}" for i in range(20)]),
    }
    assert import_npz(saved(tmp_path, **arrays), tmp_path / "p.h5").notices == ()
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.ids(np.array([7])).tolist() == ["id7"]
        assert pool.item_column("popularity").to_list() == [0, 1, 2]
        assert pool.columns(["speaker"])["speaker"].to_list() == ["theo", None] * 10


@pytest.mark.parametrize("ids", [None, np.array([f"id{i}" for i in range(20)])])
def test_targets_that_are_missing_are_told_at_import_with_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: Any
) -> None:
    monkeypatch.setattr(npz, "_BLOCK_BYTES", 40)
    label = LABEL.astype(np.float64)
    label[[3, 17]] = np.nan
    arrays = {"inputs/x": X, "targets/label": label, "meta/noise": NOISE}
    arrays |= {} if ids is None else {"ids": ids}
    (notice,) = import_npz(saved(tmp_path, **arrays), tmp_path / "p.h5").notices
    named = "3, 17" if ids is None else "id3, id17"
    assert "target label is NaN or infinite for 2 of 20 samples" in notice.message
    assert notice.message.endswith(f": {named}")


@pytest.mark.parametrize("block", [1, 40, 1 << 20])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_column_major_and_compressed_arrays_are_read_alike(
    tmp_path: Path, save: Any, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz, "_BLOCK_BYTES", block)
    x = np.arange(120, dtype=np.float32).reshape(20, 3, 2)
    save(tmp_path / "data.npz", **{"inputs/c": x, "inputs/f": np.asfortranarray(x)})
    import_npz(tmp_path / "data.npz", tmp_path / "p.h5")
    with open_pool(tmp_path / "p.h5") as pool:
        read = pool.read_inputs(np.arange(20))
    np.testing.assert_array_equal(read["c"], x)
    np.testing.assert_array_equal(read["f"], x)


def test_pickled_objects_are_refused_and_never_loaded(tmp_path: Path) -> None:
    boom = np.array([Boom()] * 20, dtype=object)
    source = saved(tmp_path, x=X, speaker=boom)
    with pytest.raises(AssertionError, match="unpickled"):
        pickle.loads(pickle.dumps(boom))
    roles = Roles(inputs={"x": "x"}, meta={"speaker": "speaker"})
    message = refusal(source, tmp_path / "p.h5", roles, FileFormatError)
    assert "speaker: holds pickled Python objects" in message
    import_npz(source, tmp_path / "p.h5", Roles(inputs={"x": "x"}))


def test_differing_n_is_refused_with_all_sizes(tmp_path: Path) -> None:
    source = saved(tmp_path, **{"inputs/x": X, "meta/a": NOISE[:9], "meta/b": np.float32(3)})
    message = refusal(source, tmp_path / "p.h5", None, PoolError)
    assert "inputs/x has 20, meta/a has 9, meta/b is a single value" in message


def test_inputs_with_nan_are_refused_with_their_rows(tmp_path: Path) -> None:
    bad = X.copy()
    bad[[4, 11], 1] = np.nan
    message = refusal(saved(tmp_path, **{"inputs/x": bad}), tmp_path / "p.h5", None, PoolError)
    assert "NaN or infinity in 2 samples: 4, 11" in message


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (None, "'x' has no role"),
        (Roles(inputs={"x": "xx"}), "Did you mean x?"),
        (Roles(targets={"y": "y"}), "no array is an input"),
        (Roles(inputs={"x": "x", "again": "x"}), "'x' is given several roles"),
    ],
)
def test_arrays_without_role_and_roles_without_array_are_named(
    tmp_path: Path, roles: Roles | None, said: str
) -> None:
    source = saved(tmp_path, x=X, y=LABEL)
    assert said in refusal(source, tmp_path / "p.h5", roles, SettingsError)


def test_arrays_without_samples_are_refused(tmp_path: Path) -> None:
    source = saved(tmp_path, x=X[:0], y=LABEL[:0])
    roles = Roles(inputs={"x": "x"}, targets={"y": "y"})
    assert "hold no samples" in refusal(source, tmp_path / "p.h5", roles, PoolError)


def test_a_file_that_is_missing_foreign_or_cut_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "p.h5"
    assert "no such file" in refusal(tmp_path / "none.npz", out, None, FileFormatError)
    (tmp_path / "text.npz").write_text("hello")
    assert "isn't a readable .npz" in refusal(tmp_path / "text.npz", out, None, FileFormatError)
    whole = saved(tmp_path, **{"inputs/x": X}).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    assert "isn't a readable .npz" in refusal(tmp_path / "cut.npz", out, None, FileFormatError)


def test_damage_inside_an_array_is_found(tmp_path: Path) -> None:
    source = saved(tmp_path, **{"inputs/x": X})
    raw = bytearray(source.read_bytes())
    at = raw.index(X.tobytes()[:20])
    raw[at : at + 4] = b"\x00\x00\x80\x3f"
    source.write_bytes(raw)
    message = refusal(source, tmp_path / "p.h5", None, FileFormatError)
    assert "inputs/x: is damaged" in message


def test_an_array_shorter_than_its_header_says_is_found(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("inputs/x.npy", (tmp_path / "x.npy").read_bytes()[:-8])
    message = refusal(tmp_path / "data.npz", tmp_path / "p.h5", None, FileFormatError)
    assert "240 bytes expected, 232 found" in message


def test_ids_may_be_numbers_or_bytes_that_are_utf8(tmp_path: Path) -> None:
    x = np.zeros((2, 1), np.float32)
    for number, (ids, read) in enumerate(
        [
            (np.array([2**63, 7], np.uint64), [str(2**63), "7"]),
            (np.array(["zü".encode(), b"a"]), ["zü", "a"]),
        ]
    ):
        np.savez(tmp_path / "p.npz", **{"inputs/x": x, "ids": ids})
        import_npz(tmp_path / "p.npz", tmp_path / f"{number}.h5")
        with open_pool(tmp_path / f"{number}.h5") as pool:
            assert pool.ids(np.arange(2)).tolist() == read


def test_times_become_text_and_float32_keeps_its_decimals(tmp_path: Path) -> None:
    arrays = {
        "inputs/x": np.zeros((2, 1), np.float32),
        "meta/day": np.array(["2024-01-02", "NaT"], "M8[D]"),
        "meta/snr": np.array([0.7, 0.1], np.float32),
        "meta/half": np.array([0.7, 0.1], np.float16),
    }
    np.savez(tmp_path / "p.npz", **arrays)
    import_npz(tmp_path / "p.npz", tmp_path / "p.h5")
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.columns(["day", "snr", "half"]).to_dict(as_series=False) == {
            "day": ["2024-01-02", None],
            "snr": [0.7, 0.1],
            "half": [0.7, 0.1],
        }


@pytest.mark.parametrize(
    ("dtype", "values", "said"),
    [
        ("uint8", np.array([[0.0], [255.0]]), None),
        ("uint8", np.array([[0.5], [1.0]]), "0.5 doesn't fit uint8"),
        ("uint8", np.array([[256], [0]]), "256 doesn't fit uint8"),
        ("uint8", np.array([[-1], [0]]), "-1 doesn't fit uint8"),
        ("int64", np.array([[2**63], [0]], np.uint64), "9223372036854775808 doesn't fit int64"),
        ("uint64", np.array([[-(2**63)], [0]]), "doesn't fit uint64"),
        ("int32", np.array([[2**31 - 1], [-(2**31)]]), None),
        ("bool", np.array([[0], [1]]), None),
        ("bool", np.array([[0], [2]]), "2 doesn't fit bool"),
        ("float16", np.array([[0.1], [65504.0]], np.float32), None),
        ("float16", np.array([[0.1], [1e5]], np.float32), "100000.0 doesn't fit float16"),
        ("float32", np.array([[1e39], [0]]), "1e[+]39 doesn't fit float32"),
    ],
)
def test_inputs_take_the_type_of_the_model_unless_a_value_would_change(
    tmp_path: Path, dtype: str, values: np.ndarray, said: str | None
) -> None:
    np.savez(tmp_path / "p.npz", **{"inputs/x": values, "inputs/y": np.zeros((2, 1), np.int64)})
    if said is not None:
        with pytest.raises(PoolError, match=said):
            import_npz(tmp_path / "p.npz", tmp_path / "p.h5", dtypes={"x": dtype})
        return
    import_npz(tmp_path / "p.npz", tmp_path / "p.h5", dtypes={"x": dtype})
    with open_pool(tmp_path / "p.h5") as pool:
        read = pool.read_inputs(np.arange(2))
    assert read["x"].dtype == dtype
    assert read["y"].dtype == np.int64
    np.testing.assert_array_equal(read["x"], values.astype(dtype))
