import ast
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image

from calaudit.formats.importers.manifest import import_manifest, kind_of
from calaudit.formats.importers.manifest_settings import (
    AudioSettings,
    ImageSettings,
    ManifestSettings,
    unit_notices,
)
from calaudit.formats.pool import open_pool
from calaudit.runtime.errors import CalauditError, FileFormatError, PoolError, SettingsError
from calaudit.runtime.settings import parse_settings

NPY = {"inputs": {"x": {"npy": {}}}}


def settings(**values: Any) -> ManifestSettings:
    return parse_settings(NPY | values, ManifestSettings, where="test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """200 small arrays in a sub-folder, with a manifest beside it."""
    (tmp_path / "data").mkdir()
    for i in range(200):
        np.save(tmp_path / "data" / f"{i:03}.npy", np.full((2, 2), i, np.float32))
    pl.DataFrame(
        {
            "path": [f"data/{i:03}.npy" for i in range(200)],
            "species": ["cat", "dog"] * 100,
            "code": [f"{i:05}" for i in range(200)],
            "lux": [None if i == 7 else i / 2 for i in range(200)],
        }
    ).write_csv(tmp_path / "list.csv")
    return tmp_path


def refusal(source: Path, how: ManifestSettings, kind: type[CalauditError]) -> str:
    out = source.parent / "p.h5"
    before = sorted(source.parent.rglob("*"))
    with pytest.raises(kind) as caught:
        import_manifest(source, out, how)
    assert sorted(source.parent.rglob("*")) == before
    return str(caught.value)


def test_a_manifest_becomes_a_pool_in_its_order(folder: Path) -> None:
    done = import_manifest(folder / "list.csv", folder / "p.h5", settings())
    assert done.n == 200
    assert [notice.code for notice in done.notices] == ["kept_as_text"]
    with open_pool(folder / "p.h5") as pool:
        rows = np.array([0, 77, 199])
        np.testing.assert_array_equal(pool.read_inputs(rows)["x"][:, 0, 0], rows)
        assert pool.ids(rows).tolist() == ["data/000.npy", "data/077.npy", "data/199.npy"]
        frame = pool.columns(["species", "lux", "code"])
        assert frame["species"].to_list() == ["cat", "dog"] * 100
        assert frame["lux"].null_count() == 1


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_other_tables_hold_the_same(folder: Path, suffix: str) -> None:
    table = pl.read_csv(folder / "list.csv", schema_overrides={"code": pl.String})
    other = folder / f"list{suffix}"
    table.write_csv(other, separator="\t") if suffix == ".tsv" else table.write_parquet(other)
    fingerprints = set()
    for source in (folder / "list.csv", other):
        import_manifest(source, folder / "p.h5", settings())
        with open_pool(folder / "p.h5") as pool:
            fingerprints.add(pool.fingerprint())
    assert len(fingerprints) == 1


def test_columns_become_targets_metadata_and_ids(folder: Path) -> None:
    how = settings(
        targets={"label": {"column": "species", "classes": ["dog", "cat"]}},
        meta={"light": "lux"},
        ids="code",
    )
    import_manifest(folder / "list.csv", folder / "p.h5", how)
    with open_pool(folder / "p.h5") as pool:
        assert pool.column_names() == ["light", "label"]
        assert pool.columns(["label"])["label"].to_list() == ["cat", "dog"] * 100
        assert pool.class_names("label") == ("dog", "cat")
        assert pool.ids(np.array([3])).tolist() == ["00003"]


def test_columns_left_out_are_told(folder: Path) -> None:
    done = import_manifest(folder / "list.csv", folder / "p.h5", settings(meta={"lux": "lux"}))
    assert done.notices[0].message == "columns left out: species, code"


def test_several_inputs_of_several_kinds_are_read_together(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6, 3), 51, np.uint8)).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", np.zeros(100, np.float32), 8000)
    (tmp_path / "list.csv").write_text("picture,sound\na.png,a.wav\n")
    how = parse_settings(
        {
            "inputs": {
                "image": {"column": "picture", "image": {"size": [2, 3]}},
                "wave": {"column": "sound", "audio": {"sample_rate": 4000, "length": 60}},
            }
        },
        ManifestSettings,
        where="test",
    )
    import_manifest(tmp_path / "list.csv", tmp_path / "p.h5", how)
    with open_pool(tmp_path / "p.h5") as pool:
        read = pool.read_inputs(np.array([0]))
    assert read["wave"].shape == (1, 1, 60)
    np.testing.assert_allclose(read["image"], np.full((1, 3, 2, 3), 0.2), rtol=1e-6)


def test_all_missing_and_escaping_paths_are_listed_before_any_is_read(folder: Path) -> None:
    np.save(folder.parent / "secret.npy", np.zeros(2))
    (folder / "data" / "link.npy").symlink_to(folder.parent / "secret.npy")
    (folder / "list.csv").write_text(
        "path\ndata/000.npy\nnone.npy\n../secret.npy\n"
        f"{folder.parent / 'secret.npy'}\ndata/link.npy\n\n"
    )
    message = refusal(folder / "list.csv", settings(), PoolError)
    assert "row 2, column path: there is no file 'none.npy'" in message
    for row in (3, 4, 5):
        assert f"row {row}, column path" in message
    assert message.count("leaves the manifest's folder") == 3
    assert "row 1," not in message


def test_paths_may_leave_the_folder_when_told(folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "list.csv").write_text("path\n../data/004.npy\n")
    done = import_manifest(folder / "lists" / "list.csv", folder / "p.h5", settings(outside=True))
    assert done.n == 1


def test_long_lists_of_missing_files_are_cut(folder: Path) -> None:
    (folder / "list.csv").write_text("path\n" + "".join(f"no{i}.npy\n" for i in range(30)))
    assert "and 20 more rows like these" in refusal(folder / "list.csv", settings(), PoolError)


def test_unreadable_files_are_collected(folder: Path) -> None:
    np.save(folder / "data" / "001.npy", np.array([{}], dtype=object))
    (folder / "data" / "003.npy").write_bytes(b"")
    (folder / "data" / "170.npy").write_bytes(b"hello")
    with (folder / "data" / "171.npy").open("r+b") as file:
        file.truncate(130)
    message = refusal(folder / "list.csv", settings(), PoolError)
    assert "001.npy: holds pickled Python objects, which are never loaded" in message
    assert "003.npy: isn't a readable .npy file" in message
    assert "170.npy" in message
    assert "171.npy: isn't a readable .npy file: 4 values expected, 0 found" in message


def test_headers_are_read_by_one_thread_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 fails where two threads parse at once, but rarely: what parses is made slow."""
    parse, under_way, most = ast.literal_eval, [0], [0]

    def slowly(text: str) -> Any:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.002)
        under_way[0] -= 1
        return parse(text)

    monkeypatch.setattr(ast, "literal_eval", slowly)
    import_manifest(folder / "list.csv", folder / "p.h5", settings())
    assert most == [1]


def test_arrays_stored_by_columns_are_read_as_they_are(folder: Path) -> None:
    stored = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.save(folder / "data" / "077.npy", np.asfortranarray(stored))
    import_manifest(folder / "list.csv", folder / "p.h5", settings())
    with open_pool(folder / "p.h5") as pool:
        np.testing.assert_array_equal(pool.read_inputs(np.array([77]))["x"][0], stored)


def test_samples_of_another_shape_are_named(folder: Path) -> None:
    np.save(folder / "data" / "001.npy", np.zeros((2, 3), np.float32))
    message = refusal(folder / "list.csv", settings(), PoolError)
    assert "shape (2, 3) in sample 'data/001.npy'" in message


def test_unknown_columns_are_named_with_the_near_ones(folder: Path) -> None:
    how = settings(targets={"label": {"column": "specie"}}, ids="cod", meta={"lux": "luks"})
    message = refusal(folder / "list.csv", how, SettingsError)
    assert message.count("there is no column") == 3
    assert "Did you mean species?" in message
    assert "Did you mean code?" in message


def test_labels_that_are_missing_or_no_class_are_listed(folder: Path) -> None:
    (folder / "list.csv").write_text(
        "path,label\ndata/000.npy,cat\ndata/001.npy,\ndata/002.npy,dgo\n"
    )
    how = settings(targets={"label": {"column": "label", "classes": ["cat", "dog"]}})
    message = refusal(folder / "list.csv", how, PoolError)
    assert "1 of 3 targets are missing" in message
    assert "'dgo' is not among the 2 classes\n  → Did you mean dog?" in message


def test_missing_and_repeated_ids_are_refused(folder: Path) -> None:
    (folder / "list.csv").write_text("path,id\ndata/000.npy,a\ndata/001.npy,\n")
    assert "1 ids are missing" in refusal(folder / "list.csv", settings(ids="id"), PoolError)
    (folder / "list.csv").write_text("path,id\ndata/000.npy,a\ndata/001.npy,a\n")
    assert "'a'" in refusal(folder / "list.csv", settings(ids="id"), PoolError)


@pytest.mark.parametrize(
    ("name", "content", "kind", "said"),
    [
        ("none.csv", None, FileFormatError, "no such file"),
        ("list.txt", b"path\n", FileFormatError, "has the ending '.txt'"),
        ("list.csv", b"", FileFormatError, "has no header"),
        ("list.csv", b"path\n", PoolError, "lists no samples"),
        ("list.csv", b"path,a\nx,\xff\xfe\n", FileFormatError, "isn't UTF-8 text"),
        ("list.parquet", b"hello", FileFormatError, "can't be read as a table"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(
    tmp_path: Path, name: str, content: bytes | None, kind: type[CalauditError], said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert said in refusal(tmp_path / name, settings(), kind)


def test_the_kind_of_files_is_told_from_the_first_path(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    for first, kind in [("a.JPG", "image"), ("a.flac", "audio"), ("a.npy", "npy")]:
        source.write_text(f"path\n{first}\n")
        assert kind_of(source, "path") == kind
    source.write_text("path\na.dat\n")
    with pytest.raises(SettingsError, match=r"can't tell from 'a\.dat'"):
        kind_of(source, "path")
    with pytest.raises(SettingsError, match="no column 'paths'"):
        kind_of(source, "paths")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"inputs": {}}, "there is no input"),
        ({"inputs": {"x": {}}}, "exactly one of image, audio and npy"),
        ({"inputs": {"x": {"npy": {}, "image": {}}}}, "got image and npy"),
        ({"inputs": {"x": {"image": {"mean": [0.5, 0.5]}}}}, "mean has 2 values for 3 channels"),
        ({"inputs": {"x": {"image": {"std": [0]}}}}, "std must be positive"),
        ({"inputs": {"x": {"image": {"size": [0, 3]}}}}, "size must be at least"),
        ({"inputs": {"x": {"image": {"shorter_side": 3}}}}, "shorter_side works with"),
        ({"inputs": {"x": {"image": {"dtype": "uint8"}}}}, "keeps the pixel values"),
        ({"inputs": {"x": {"audio": {}}}}, "this key is missing"),
        ({"inputs": {"x": {"audio": {"sample_rate": 0}}}}, "sample_rate must be at least 1"),
        ({"inputs": {"x": {"image": {"sise": [1, 1]}}}}, "Did you mean size?"),
        ({"targets": {"y": {"column": "a", "classes": ["a", "a"]}}}, "holds a name twice"),
    ],
)
def test_settings_that_make_no_sense_are_located(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**values)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("image", "codes"),
    [
        ({"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}, ["mean_units", "std_units"]),
        ({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}, []),
        ({"divide_by": 1.0, "mean": [0.485, 0.456, 0.406]}, ["mean_units"]),
        ({"divide_by": 1.0, "std": [0.229, 0.224, 0.225]}, ["std_units"]),
        ({"divide_by": 1.0, "mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}, []),
        ({"divide_by": 1.0, "mean": [104.0, 117.0, 123.0]}, []),
        ({"divide_by": 127.5, "mean": [1.0]}, []),
        ({"divide_by": 1.0, "mean": [127.5], "std": [127.5]}, []),
        ({"mean": [0.5], "std": [0.5]}, []),
        ({"mean": [0.0], "std": [1.0]}, []),
        ({"mean": [-0.5]}, ["mean_units"]),
        ({"std": [255.0]}, ["std_units"]),
        ({}, []),
    ],
)
def test_means_in_other_units_than_the_pixels_are_noted(
    image: dict[str, Any], codes: list[str]
) -> None:
    assert [one.code for one in unit_notices("input x", ImageSettings(**image))] == codes


def test_a_mean_in_units_of_a_16_bit_recording_is_noted() -> None:
    units = AudioSettings(sample_rate=8000, mean=0.0, std=32768.0)
    assert [one.code for one in unit_notices("input x", units)] == ["std_units"]
    assert not list(unit_notices("input x", AudioSettings(sample_rate=8000, mean=0.1, std=0.2)))


def test_notes_on_units_stay_with_the_pool(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("path\na.png\n", encoding="utf-8")
    wrong = {"image": {"column": "path", "image": {"mean": [123.675]}}}
    done = import_manifest(tmp_path / "list.csv", tmp_path / "p.h5", settings(inputs=wrong))
    with open_pool(tmp_path / "p.h5") as pool:
        kept = pool.notices
    assert [one.code for one in kept] == ["mean_units"]
    assert set(kept) <= set(done.notices)
    assert "mean = 123.675 lies outside: write means between 0 and 1" in kept[0].message


def test_of_images_with_several_frames_the_first_is_taken_and_that_is_told(tmp_path: Path) -> None:
    first = Image.fromarray(np.zeros((2, 2), np.uint8))
    for name in ("a.gif", "b.tif"):
        second = Image.fromarray(np.full((2, 2), 255, np.uint8))
        first.save(tmp_path / name, save_all=True, append_images=[second])
    first.save(tmp_path / "c.png")
    (tmp_path / "list.csv").write_text("path\na.gif\nb.tif\nc.png\n")
    how = parse_settings({"inputs": {"x": {"image": {}}}}, ManifestSettings, where="test")
    done = import_manifest(tmp_path / "list.csv", tmp_path / "p.h5", how)
    assert [notice.message for notice in done.notices] == [
        "of images with several frames the first is taken: a.gif, b.tif"
    ]
    with open_pool(tmp_path / "p.h5") as pool:
        assert pool.read_inputs(np.arange(3))["x"].max() == 0


def test_a_path_with_backslashes_is_told_how_to_write_it(folder: Path) -> None:
    (folder / "list.csv").write_text("path\ndata\\000.npy\n")
    assert "Write / between folders" in refusal(folder / "list.csv", settings(), PoolError)
