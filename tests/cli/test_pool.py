import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
from PIL import Image

from calaudit.cli import main
from calaudit.formats.pool import open_pool
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.objects import Objects
from tests.formats.boxes import write_coco, write_yolo

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["calaudit", "pool", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return command


def refused(run: Run, *arguments: object) -> str:
    """What the command says when it refuses; checks the status, and that nothing was left."""
    before = {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*") if path.is_file()}
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert all(line.startswith(("calaudit: error: ", "  → ")) for line in err.splitlines()), err
    assert "→" in err
    after = {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*") if path.is_file()}
    assert after == before
    return err


def small(path: Path) -> Path:
    write_pool(
        path,
        inputs={"x": np.zeros((40, 2, 3), np.float32)},
        targets={"label": np.arange(40) % 4},
        meta={"snr_db": [None, 5.0, float("inf"), -5.0] * 10, "speaker": ["theo", ""] * 20},
    )
    return path


def test_show_prints_arrays_labels_missing_values_ranges_and_fingerprint(run: Run) -> None:
    path = small(Path("pool.h5"))
    status, out, err = run("show", path)
    assert (status, err) == (0, "")
    with open_pool(path) as pool:
        fingerprint = pool.fingerprint()
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "pool.h5: 40 samples",
        f"fingerprint {fingerprint}",
        "",
        "array type per sample",
        "inputs/x float32 2 × 3",
        "targets/label int64 one value",
        "",
        "input min mean max SD zeros not finite",
        "x, channel 0 0 0 0 0 100 % 0",
        "x, channel 1 0 0 0 0 100 % 0",
        "",
        "column type missing range values",
        "snr_db float64 10 -5 … 5, 10 infinite 3: -5.0 (10), 5.0 (10), inf (10)",
        "speaker text 20 1: theo (20)",
        "label int64 0 0 … 3 4: 0 (10), 1 (10), 2 (10), 3 (10)",
    ]


def test_show_prints_json(run: Run) -> None:
    status, out, _ = run("show", small(Path("pool.h5")), "--json")
    content = json.loads(out, parse_constant=pytest.fail)
    assert status == 0
    assert content["n"] == 40
    assert content["columns"][0]["missing"] == 10
    assert content["columns"][2]["counts"] == {"0": 10, "1": 10, "2": 10, "3": 10}


def test_an_npz_is_imported_by_flags(run: Run) -> None:
    np.savez("data.npz", x=np.ones((6, 2), np.float32), y=np.arange(6), noise=np.ones(6), z=[1])
    status, out, err = run(
        "import", "data.npz", "out/pool.h5",
        "--input", "image=x", "--target", "label=y", "--meta", "noise", "--compress",
    )  # fmt: skip
    assert (status, out) == (0, f"{Path('out/pool.h5')}: 6 samples\n")
    assert err == "calaudit: note: data.npz: arrays left out: z\n"
    with open_pool("out/pool.h5") as pool:
        assert (list(pool.inputs), pool.column_names()) == (["image"], ["noise", "label"])


def test_images_are_imported_by_flags_and_by_a_config_alike(run: Run) -> None:
    for i in range(3):
        Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(f"{i}.png")
    Path("list.csv").write_text("path,label,place\n0.png,0,street\n1.png,1,\n2.png,0,room\n")
    Path("how.toml").write_text(
        "[inputs.image.image]\nsize = [4, 5]\nmean = [0.5]\nstd = [0.25]\n"
        'layout = "NHWC"\n[targets.label]\ncolumn = "label"\n'
    )
    status, _, err = run(
        "import", "list.csv", "flags.h5", "--input", "image", "--target", "label",
        "--size", "4x5", "--mean", "0.5", "--std", "0.25", "--layout", "NHWC",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert run("import", "list.csv", "config.h5", "--config", "how.toml")[0] == 0
    with open_pool("flags.h5") as flags, open_pool("config.h5") as config:
        assert flags.fingerprint() == config.fingerprint()
        assert flags.inputs["image"].shape == (4, 5, 3)
        assert flags.ids(np.array([2])).tolist() == ["2.png"]
        assert flags.columns(["place"])["place"].to_list() == ["street", None, "room"]


def test_recordings_are_imported_by_flags(run: Run) -> None:
    for i in range(2):
        soundfile.write(f"{i}.wav", np.zeros(100 * (i + 1)), 8000)
    Path("list.csv").write_text("file,snr_db\n0.wav,5\n1.wav,0\n")
    status, out, _ = run(
        "import", "list.csv", "pool.h5", "--input", "wave=file",
        "--sample-rate", 16000, "--length", 300, "--layout", "NL", "--mean", "0", "--std", "1",
    )  # fmt: skip
    assert (status, out) == (0, "pool.h5: 2 samples\n")
    with open_pool("pool.h5") as pool:
        assert pool.inputs["wave"].shape == (300,)


def test_a_python_function_is_imported(run: Run) -> None:
    Path("made_for_cli.py").write_text(
        "def samples():\n    for i in range(5):\n"
        "        yield {'inputs': {'x': [float(i)]}, 'targets': {'label': i}}\n"
    )
    assert run("import", "made_for_cli:samples", "pool.h5")[:2] == (0, "pool.h5: 5 samples\n")


def test_a_missing_pool_is_refused(run: Run) -> None:
    assert "none.h5: there is no such file" in refused(run, "show", "none.h5")


def test_a_truncated_pool_is_refused(run: Run) -> None:
    path = small(Path("pool.h5"))
    path.write_bytes(path.read_bytes()[:3000])
    assert "pool.h5: is truncated" in refused(run, "show", "pool.h5")


def test_a_foreign_hdf5_file_is_refused(run: Run) -> None:
    with h5py.File("other.h5", "w") as file:
        file["weights"] = np.zeros(3)
    assert "other.h5: is an HDF5 file, but not a calaudit pool" in refused(run, "show", "other.h5")


def test_columns_of_differing_n_are_refused(run: Run) -> None:
    with h5py.File(small(Path("pool.h5")), "a") as file:
        file["meta/age"] = np.zeros(39)
        file["meta/sex"] = ["a"] * 41
    message = refused(run, "show", "pool.h5")
    assert "/meta/age has 39, /meta/sex has 41, but 40 in 4 others" in message


def test_a_missing_source_is_refused(run: Run) -> None:
    flags = ("pool.h5", "--input", "x")
    assert "none.npz: there is no such file" in refused(run, "import", "none.npz", *flags)
    assert "none.csv: there is no such file" in refused(run, "import", "none.csv", *flags)
    assert "none.csv: there is no such file" in refused(run, "import", "none.csv", "pool.h5")
    assert "no module 'none'" in refused(run, "import", "none:samples", "pool.h5")


def test_nan_inputs_are_refused(run: Run) -> None:
    x = np.zeros((5, 2), np.float32)
    x[3, 0] = np.inf
    np.savez("data.npz", x=x)
    message = refused(run, "import", "data.npz", "pool.h5", "--input", "x")
    assert "pool.h5: /inputs/x: holds NaN or infinity in 1 sample: 3" in message


def test_pickled_objects_are_refused(run: Run) -> None:
    np.savez("data.npz", x=np.zeros((2, 2)), names=np.array([{"a": 1}, None], dtype=object))
    message = refused(run, "import", "data.npz", "pool.h5", "--input", "x", "--meta", "names")
    assert "data.npz: names: holds pickled Python objects" in message


def test_an_output_folder_that_cannot_be_written_is_refused(run: Run) -> None:
    np.savez("data.npz", x=np.zeros((2, 2)))
    Path("file").write_text("")
    message = refused(run, "import", "data.npz", "file/pool.h5", "--input", "x")
    assert f"{Path('file/pool.h5')}: can't be written" in message
    if os.geteuid() != 0:
        Path("locked").mkdir(mode=0o555)
        refused(run, "import", "data.npz", "locked/pool.h5", "--input", "x")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "x", "--size", "3"], "--size means nothing for this source"),
        (["--input", "x", "--input", "x=y"], "names 'x' again"),
        (["--input", "=x"], "has no name"),
        (["--input", "xx"], "Did you mean x?"),
    ],
)
def test_flags_that_make_no_sense_for_an_npz_are_refused(
    run: Run, arguments: list[str], said: str
) -> None:
    np.savez("data.npz", x=np.zeros((2, 2)))
    assert said in refused(run, "import", "data.npz", "pool.h5", *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no column is an input"),
        (["--input", "x", "--item", "a"], "--item means nothing"),
        (["--input", "x=pth"], "Did you mean path?"),
        (["--input", "x", "--size", "big"], "'big' isn't a size"),
        (["--input", "x", "--size", "1x2x3"], "'1x2x3' isn't a size"),
        (["--input", "x", "--mean", "a,b"], "'a,b' isn't numbers"),
        (["--input", "x", "--sample-rate", "8"], "sample_rate: unknown key"),
        (["--input", "x", "--kind", "video"], "unknown key"),
        (["--input", "x", "--config", "how.toml"], "--input means nothing"),
        (["--config", "none.toml"], "none.toml: there is no such file"),
        (["--config", "how.toml"], "how.toml: inputs.x.image.sise: unknown key"),
    ],
)
def test_flags_that_make_no_sense_for_a_manifest_are_refused(
    run: Run, arguments: list[str], said: str
) -> None:
    Image.fromarray(np.zeros((2, 2), np.uint8)).save("a.png")
    Path("list.csv").write_text("path,label\na.png,1\n")
    Path("how.toml").write_text("[inputs.x.image]\nsise = [2, 2]\n")
    assert said in refused(run, "import", "list.csv", "pool.h5", *arguments)


def test_ctrl_c_leaves_nothing_half_written_and_the_next_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, time\n"
        "def samples():\n"
        "    for i in range(2000):\n"
        "        if i == 1000:\n"
        "            open('started', 'w').close()\n"
        "            time.sleep(0 if os.path.exists('go') else 60)\n"
        "        yield {'inputs': {'x': [float(i)] * 100}}\n"
    )
    script = "import sys; from calaudit.cli import main; main()"
    command = [sys.executable, "-c", script, "pool", "import", "slow:samples", "pool.h5"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "started").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    assert process.stderr is not None
    assert process.stderr.read() == "calaudit: interrupted; no partial file was left\n"
    assert not [path for path in tmp_path.iterdir() if "pool.h5" in path.name]
    (tmp_path / "go").touch()
    subprocess.run(command, cwd=tmp_path, check=True)
    with open_pool(tmp_path / "pool.h5") as pool:
        assert len(pool) == 2000


def test_the_type_of_inputs_is_said_by_a_flag_for_every_kind_of_source(run: Run) -> None:
    np.savez("a.npz", **{"inputs/x": np.ones((3, 2)), "inputs/n": np.arange(3)[:, None]})
    Path("made.py").write_text(
        "def samples():\n    yield {'inputs': {'x': [1.0, 2.0], 'n': [1]}}\n"
    )
    np.save("0.npy", np.ones(2))
    soundfile.write("0.wav", np.zeros(8, np.float32), 8000)
    Path("list.csv").write_text("path,n,sound\n0.npy,0.npy,0.wav\n")
    both = ["--dtype", "x=float16", "--dtype", "n=int32"]
    for source, flags in {
        "a.npz": both,
        "made:samples": both,
        "list.csv": ["--input", "x=path", "--input", "n=n", *both],
    }.items():
        status, _, err = run("import", source, "p.h5", *flags)
        assert status == 0, err
        with open_pool(Path("p.h5")) as pool:
            assert {k: v.dtype.name for k, v in pool.inputs.items()} == {
                "x": "float16",
                "n": "int32",
            }
    assert run("import", "list.csv", "q.h5", "--input", "x=sound", "--sample-rate", 8000,
               "--dtype", "float16")[0] == 0  # fmt: skip
    Image.fromarray(np.full((2, 2, 3), 7, np.uint8)).save("0.png")
    Path("pictures.csv").write_text("path\n0.png\n")
    assert run("import", "pictures.csv", "q.h5", "--input", "x", "--dtype", "uint8")[0] == 0
    with open_pool(Path("q.h5")) as pool:
        assert (pool.read_inputs(np.arange(1))["x"] == 7).all()
    assert "isn't a type that a pool stores" in refused(
        run, "import", "a.npz", "r.h5", "--dtype", "bfloat16"
    )
    assert "there is no input 'y'" in refused(
        run, "import", "a.npz", "r.h5", "--dtype", "y=float16"
    )


def test_classes_are_named_by_a_flag_for_every_kind_of_source(run: Run) -> None:
    np.savez("a.npz", **{"inputs/x": np.ones((3, 2)), "targets/label": [1, 0, 1]})
    Path("labelled.py").write_text(
        "def samples():\n"
        "    for label in (1, 0, 1):\n"
        "        yield {'inputs': {'x': [1.0]}, 'targets': {'label': label}}\n"
    )
    for i in range(3):
        np.save(f"{i}.npy", np.ones(2))
    Path("list.csv").write_text("path,animal\n0.npy,cat\n1.npy,dog\n2.npy,cat\n")
    Path("names.txt").write_text("dog\ncat\neel\n")
    fields = ["--input", "x=path", "--target", "label=animal"]
    for source, flags in {"a.npz": [], "labelled:samples": [], "list.csv": fields}.items():
        for named in ("dog,cat,eel", "label=dog,cat,eel", "names.txt", "label=names.txt"):
            status, _, err = run("import", source, "p.h5", *flags, "--classes", named)
            assert status == 0, err
            with open_pool(Path("p.h5")) as pool:
                assert pool.class_names("label") == ("dog", "cat", "eel")
                assert pool.columns(["label"])["label"].to_list() == ["cat", "dog", "cat"]
    _, out, _ = run("show", "p.h5")
    assert "3 classes of label, in the order of the outputs: dog, cat, eel" in out
    assert "there is no target 'y'" in refused(
        run, "import", "list.csv", "q.h5", *fields, "--classes", "y=dog,cat"
    )
    assert "again" in refused(
        run, "import", "a.npz", "q.h5", "--classes", "dog,cat", "--classes", "label=dog,cat"
    )
    assert "none.txt" in refused(run, "import", "a.npz", "q.h5", "--classes", "none.txt")


def test_show_tells_objects_by_class_and_size_and_their_columns(run: Run) -> None:
    objects = Objects.from_images(
        [[[0, 0, 10, 10], [0, 0, 40, 40]], [], [[0, 0, 100, 100]]],
        [[0, 1], [], [1]],
        classes=["red", "white"],
        crowd=[[False, True], [], [False]],
        columns={"stain": [["a", ""], [], ["b"]]},
    )
    write_pool("p.h5", inputs={"x": np.zeros((3, 1), np.float32)}, targets={"cells": objects})
    status, out, _ = run("show", "p.h5")
    assert status == 0
    assert (
        "objects of cells: 3, of which 1 crowd; 1 sample has none\n"
        "  by class  red (1), white (2)\n"
        "  by size   small (1), medium (1), large (1) (COCO's, by area)\n"
        "of each object  type  missing  range  values\n"
        "stain           text        1         2: a (1), b (1)"
    ) in out
    shown = json.loads(run("show", "p.h5", "--json")[1])
    assert shown["objects"][0]["classes"] == {"red": 1, "white": 2}


def test_masks_are_imported_by_flags_and_shown_by_class(run: Run) -> None:
    rows = ["path,mask"]
    for i in range(2):
        Image.new("RGB", (4, 4)).save(f"{i}.png")
        Image.fromarray(np.array([[0, 0, 1, 7]] * 4, np.uint8)).save(f"m{i}.png")
        rows.append(f"{i}.png,m{i}.png")
    Path("frames.csv").write_text("\n".join(rows))
    status, _, err = run(
        "import", "frames.csv", "p.h5", "--input", "image=path", "--mask", "mask", "--ignore", 7,
        "--classes", "road,sky",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert (
        "pixels of mask\n  by class  road (50 %), sky (25 %), (ignored) (25 %)"
        in run("show", "p.h5")[1]
    )
    said = refused(run, "import", "frames.csv", "q.h5", "--input", "image=path", "--ignore", 7)
    assert "--ignore: there are no masks" in said


def test_coco_and_yolo_are_imported_by_flags_with_a_table(run: Run) -> None:
    write_coco(Path("coco"))
    write_yolo(Path("yolo"))
    rows = ["file,light", *(f"{at}.png,{'day' if at else 'night'}" for at in range(4))]
    Path("images.csv").write_text("\n".join(rows))
    flags = ("--input", "x", "--target", "cells", "--size", "64", "--meta", "images.csv")
    for number, source in enumerate(("coco/annotations.json", "coco", "yolo/data.yaml", "yolo")):
        status, out, err = run("import", source, f"{number}.h5", *flags)
        assert (status, out) == (0, f"{number}.h5: 4 samples\n")
        assert "rows are found by the column file" in err
        assert "were letterboxed to 64 × 64 pixels" in err
        with open_pool(f"{number}.h5") as pool:
            assert (*pool.inputs, *pool.objects) == ("x", "cells")
            assert pool.columns(["light"])["light"].to_list() == ["night"] + ["day"] * 3


def test_flags_choose_splits_images_and_classes_of_annotations(run: Run) -> None:
    write_yolo(Path("yolo"))
    status, out, _ = run(
        "import", "yolo", "p.h5", "--size", "64", "--most", "train=1", "--classes", "a,b,c",
        "--fit", "stretch",
    )  # fmt: skip
    assert (status, out) == (0, "p.h5: 3 samples\n")
    with open_pool("p.h5") as pool:
        assert pool.class_names("objects") == ("a", "b", "c")
    status, out, _ = run("import", "yolo", "p.h5", "--size", "64", "--splits", "val")
    assert (status, out) == (0, "p.h5: 2 samples\n")
    Path("how.toml").write_text('input = "x"\n[image]\nsize = [32, 32]\nborder = 0\n')
    assert run("import", "yolo", "p.h5", "--config", "how.toml")[0] == 0
    with open_pool("p.h5") as pool:
        assert pool.inputs["x"].shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--meta", "light"], "--meta: 'light' is no table"),
        (["--input", "a=b"], "--input: 'a=b' isn't one name"),
        (["--most", "val"], "--most: 'val' isn't a number of images"),
        (["--splits", "tset"], "there is no split 'tset'"),
        (["--ids", "id"], "--ids means nothing for this source"),
        (["--length", "5"], "--length means nothing for this source"),
        (["--fit", "zoom"], "fit"),
    ],
)
def test_flags_that_annotations_do_not_take_are_refused(
    run: Run, flags: list[str], said: str
) -> None:
    write_yolo(Path("yolo"))
    assert said in refused(run, "import", "yolo", "p.h5", "--size", "64", *flags)


def test_flags_of_boxes_are_refused_for_a_manifest(run: Run) -> None:
    Image.new("RGB", (4, 4)).save("a.png")
    Path("list.csv").write_text("path\na.png\n")
    said = refused(run, "import", "list.csv", "p.h5", "--input", "x=path", "--most", "3")
    assert "--most means nothing for this source" in said
