import json
import sys
from pathlib import Path

import numpy as np
import pytest

from calaudit.cli import main
from calaudit.formats.pool_writer import write_pool
from calaudit.runtime.objects import Objects


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pools") / "pool.h5"
    n = 400
    write_pool(
        path,
        inputs={"x": np.zeros((n, 1), np.float32)},
        targets={"label": np.arange(n) % 4},
        meta={
            "snr_db": np.repeat(np.array([-5, 5, np.inf, np.nan], np.float32), 100),
            "speaker": ["theo", "lucas"] * (n // 2),
            "split": ["calibration"] * 150 + ["evaluation"] * 250,
            "recording": np.arange(n),
        },
    )
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["calaudit", "slices", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return command


BINS = "snr_db:edges=0,inf"


def test_the_table_shows_n_share_support_and_label_mix(run, pool: Path) -> None:
    status, out, err = run(pool, "--by", BINS, "--by", "speaker", "--min-support", "150")
    assert status == 0
    assert err == ""
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "slice n share support label 0 1 2 3",
        "all 400 100.0% ok 25% 25% 25% 25%",
        "snr_db < 0 100 25.0% thin, needs 150 25% 25% 25% 25%",
        "0 ≤ snr_db < ∞ 100 25.0% thin, needs 150 25% 25% 25% 25%",
        "snr_db = ∞ 100 25.0% thin, needs 150 25% 25% 25% 25%",
        "snr_db missing 100 25.0% thin, needs 150 25% 25% 25% 25%",
        "speaker = lucas 200 50.0% ok · 50% · 50%",
        "speaker = theo 200 50.0% ok 50% · 50% ·",
    ]


def test_columns_are_aligned(run, pool: Path) -> None:
    _, out, _ = run(pool, "--by", BINS, "--by", "speaker")
    lines = out.splitlines()
    assert len({len(line) for line in lines}) == 1


def test_the_thinnest_slice_is_marked(run, pool: Path) -> None:
    _, out, _ = run(pool, "--where", "few=recording < 3", "--by", "speaker")
    marked = [line for line in out.splitlines() if "← least" in line]
    assert len(marked) == 1
    assert marked[0].startswith("few ")
    assert "thin, needs 30" in marked[0]


def test_many_labels_are_shown_by_the_largest(run, pool: Path) -> None:
    _, out, _ = run(pool, "--label", "recording", "--where", "few=recording < 5")
    assert out.splitlines()[0].endswith("recording mix")
    assert out.splitlines()[2].endswith("0 20%, 1 20%, 2 20%, 2 more")


def test_json_holds_the_same_facts(run, pool: Path) -> None:
    status, out, _ = run(
        pool, "--by", BINS, "--by", "speaker", "--cross", "snr_db,speaker",
        "--within", "split = 'evaluation'", "--json",
    )  # fmt: skip
    assert status == 0
    content = json.loads(out)
    assert content["n_rows"] == 250
    assert content["within"] == "split = 'evaluation'"
    assert content["label"] == "label"
    slices = {each["name"]: each for each in content["slices"]}
    assert slices["all"]["n"] == 250
    # Named by the whole pool, counted within the split.
    assert slices["snr_db < 0"]["n"] == 0
    assert slices["snr_db = ∞ & speaker = theo"] == {
        "name": "snr_db = ∞ & speaker = theo",
        "n": 50,
        "share": 0.2,
        "min_support": 30,
        "support_ok": True,
        "label_mix": {"0": 0.5, "2": 0.5},
    }


def test_notes_go_to_stderr(run, pool: Path) -> None:
    status, out, err = run(pool, "--by", "speaker", "--by", BINS + ":missing=drop")
    assert status == 0
    assert "100 samples without a value are in no slice" in err
    assert "note" not in out


def test_labels_without_a_mix_are_skipped_with_a_note_unless_asked_for(run, tmp_path: Path) -> None:
    n = 1500
    write_pool(
        tmp_path / "many.h5",
        inputs={"x": np.zeros((n, 1), np.float32)},
        targets={"label": np.arange(n)},
    )
    status, _, err = run(tmp_path / "many.h5")
    assert status == 0
    assert "no label mix" in err
    status, _, err = run(tmp_path / "many.h5", "--label", "label")
    assert status == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "snr"], ['slices: snr: no column "snr"', "Did you mean snr_db?"]),
        (["--by", "spekaer", "--by", "lable"], ["Did you mean speaker?", "Did you mean label?"]),
        (["--where", "x=snr_db <"], ["'snr_db <' doesn't parse", "→"]),
        (["--where", "x=snr_db"], ["gives Float64, not true or false"]),
        (["--within", "speker = 'theo'"], ["--within", "Did you mean speaker?"]),
        (["--label", "lebel"], ['--label: no column "lebel"', "Did you mean label?"]),
        (["--by", "snr_db:edges=5,0"], ["--by snr_db:edges=5,0", "edges must ascend"]),
        (["--by", "speaker:edges=0"], ['column "speaker" holds String']),
        (
            ["--by", "speaker", "--cross", "speaker,snr_db"],
            ['no dimension is called "snr_db"', 'add [[slices]] by = "snr_db"'],
        ),
        (["--by", "speaker", "--by", "speaker"], ['2 dimensions are called "speaker"']),
        (["--by", "recording", "--by", "snr_db:missing=error"], ["100 samples have no value"]),
    ],
)
def test_bad_input_ends_with_status_2_and_a_message_on_stderr(
    run, pool: Path, arguments: list[str], said: list[str]
) -> None:
    status, out, err = run(pool, *arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("calaudit: error: ")
    assert all(text in err for text in said), err


def test_a_missing_file_is_named(run, tmp_path: Path) -> None:
    status, out, err = run(tmp_path / "nowhere.h5", "--by", "speaker")
    assert (status, out) == (2, "")
    assert "nowhere.h5" in err


def test_a_gate_shows_what_each_slice_can_prove(pool: Path, run) -> None:
    code, out, _ = run(pool, "--by", "speaker", "--max-drop", 0.02, "--flip-rate", 0)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == [
        "slice",
        "n",
        "min.",
        "detectable",
        "drop",
        "at",
        "2",
        "points",
        "required",
        "n",
    ]
    assert lines[1].split() == ["all", "400", "0.7", "points", "enough", "133"]
    assert lines[2].split() == ["speaker", "=", "lucas", "200", "1.3", "points", "enough", "133"]
    code, out, _ = run(pool, "--by", "speaker", "--max-drop", 0.02, "--flip-rate", 0.1, "--json")
    (everything, *_) = json.loads(out)["slices"]
    assert everything["n_needed"] > 400
    assert everything["smallest_provable_drop"] > 0.02


def test_in_clusters_less_can_be_proven(pool: Path, run) -> None:
    alone, together = (
        json.loads(run(pool, "--max-drop", 0.02, "--flip-rate", 0, "--json", *more)[1])["slices"][0]
        for more in ((), ("--cluster-by", "speaker"))
    )
    assert (alone["n_independent"], together["n_independent"]) == (400, 2)
    assert together["smallest_provable_drop"] is None
    assert "independent" in run(pool, "--max-drop", 0.02, "--cluster-by", "speaker")[1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--cluster-by", "speaker"), "needs a gate"),
        (("--max-drop", "0"), "between 0 and 1"),
        (("--max-drop", "0.02", "--cluster-by", "speakr"), "speaker"),
    ],
)
def test_a_contract_that_makes_no_sense_is_refused(pool: Path, run, flags, message) -> None:
    code, _, err = run(pool, *flags)
    assert code == 2
    assert message in err


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of three objects each, of which the last is a crowd in every second image."""
    path = tmp_path_factory.mktemp("cells") / "cells.h5"
    box = [[0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 50.0, 50.0], [0.0, 0.0, 99.0, 99.0]]
    objects = Objects.from_images(
        [box] * 20, [[0, 1, 1]] * 20, classes=["red", "white"],
        crowd=[[False, False, i % 2 == 1] for i in range(20)],
    )  # fmt: skip
    write_pool(
        path,
        inputs={"x": np.zeros((20, 3, 8, 8), np.float32)},
        targets={"boxes": objects, "others": objects},
        meta={"light": ["clean"] * 5 + ["dark"] * 15, "photograph": np.arange(20) // 4},
    )
    return path


OF_OBJECTS = ("--by", "light", "--by", "object.class:name=class", "--cross", "class,light")


def test_objects_have_a_table_of_their_own(run, cells: Path) -> None:
    status, out, _ = run(cells, *OF_OBJECTS, "--objects", "boxes")
    assert status == 0
    images, head, objects = (part.splitlines() for part in out.split("\n\n"))
    assert head == ["objects of boxes"]
    assert [" ".join(line.split()[:4]) for line in images[1:]] == [
        "all 20 100.0% thin,", "light = clean 5", "light = dark 15",
    ]  # fmt: skip
    rows = {line.split("  ")[0]: line.split() for line in objects}
    assert rows["all"][1] == "50"
    assert rows["class = white & light = dark"][7] == "22"
    assert objects[0].split()[-2:] == ["red", "white"]


def test_objects_of_an_image_or_of_a_cluster_prove_no_more_than_one(run, cells: Path) -> None:
    flags = (*OF_OBJECTS, "--objects", "boxes", "--max-drop", 0.5, "--json")
    told = json.loads(run(cells, *flags)[1])
    (everything, *_) = told["objects"]["slices"]
    assert (told["objects"]["target"], told["objects"]["n"], everything["n"]) == ("boxes", 50, 50)
    assert 15 < everything["n_independent"] <= 20
    assert told["slices"][0]["n_independent"] == 20
    together = json.loads(run(cells, *flags, "--cluster-by", "photograph")[1])
    assert together["objects"]["slices"][0]["n_independent"] <= 5


def test_whose_objects_are_meant_must_be_told_apart(run, cells: Path, pool: Path) -> None:
    status, _, err = run(cells, *OF_OBJECTS)
    assert status == 2
    assert "2 targets of objects (boxes, others)" in err
    assert "--objects" in err
    assert "no objects 'boxs'" in run(cells, *OF_OBJECTS, "--objects", "boxs")[2]
    assert "the pool has no objects" in run(pool, "--by", "object.class")[2]


def test_columns_of_objects_choose_no_samples(run, cells: Path) -> None:
    status, _, err = run(cells, "--within", "object.area > 100")
    assert status == 2
    assert "Columns of objects slice what a detection task judges" in err
