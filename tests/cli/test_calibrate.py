from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.calibset import open_calibset
from calaudit.formats.ranges import open_ranges
from calaudit.formats.scales import open_scales
from calaudit.steps.calibrate import calibrate_sets
from tests.cli.running import calaudit
from tests.steps.calibrating import draw, images, write_images, write_model

TAPS = ["x", "r0", "r1", "ra1", "down", "r3", "flat"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_model(tmp_path / "model.onnx")
    pool = write_images(tmp_path / "pool.h5", images(24))
    draw(pool, tmp_path / "loud.h5", "loud", 6, candidates="loudness = 'loud'")
    draw(pool, tmp_path / "any.h5", "any", 12)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(text: str) -> tuple[str, dict[str, list[float]]]:
    """Heading, and tap → its numbers."""
    heading, *rows = text.splitlines()
    return heading, {row.split()[0]: list(map(float, row.split()[1:])) for row in rows}


def test_a_pass_prints_what_each_method_chooses_and_writes_ranges_and_scales(folder: Path) -> None:
    ended = calaudit(
        "calibrate", "model.onnx", "loud.h5", "any.h5", "--out", "ranges.h5",
        "--scales", "scales", "--method", "minmax", "--method", "mse",
    )  # fmt: skip
    assert ended.status == 0
    assert ended.err.endswith("wrote ranges.h5\n")
    heading, rows = table(ended.out)
    assert heading.split() == [
        "tap",
        "loud",
        "minmax",
        "loud",
        "mse",
        "any",
        "minmax",
        "any",
        "mse",
    ]
    assert list(rows) == TAPS
    made = calibrate_sets("model.onnx", ["loud.h5", "any.h5"], "api.h5", methods=["minmax", "mse"])
    assert sorted(path.name for path in Path("scales").iterdir()) == [
        "any-minmax.json", "any-mse.json", "loud-minmax.json", "loud-mse.json",
    ]  # fmt: skip
    for position, each in enumerate(made):
        assert open_scales(Path(f"scales/{each.calibset}-{each.method}.json")) == each
        for tap, numbers in rows.items():
            assert numbers[position] == pytest.approx(each.taps[tap].amax, rel=1e-3)
    assert set(open_ranges(Path("ranges.h5")).groups) >= {"loud", "any"}


def test_a_ranges_file_gives_groups_and_mixtures_without_the_model(folder: Path) -> None:
    assert (
        calaudit("calibrate", "model.onnx", "loud.h5", "any.h5", "--out", "ranges.h5").status == 0
    )
    Path("model.onnx").unlink()
    ended = calaudit(
        "calibrate", "ranges.h5", "--group", "loud", "--mix", "loud=0.5,rest=0.5",
        "--method", "minmax", "--scales", "mixed",
    )  # fmt: skip
    assert ended.status == 0
    heading, rows = table(ended.out)
    assert heading.split() == ["tap", "loud", "minmax", "loud=0.5,rest=0.5", "minmax"]
    loudest = np.abs(open_calibset(Path("loud.h5")).read_inputs(0, 6)["x"]).max()
    assert rows["x"][0] == pytest.approx(loudest, rel=1e-3)
    found = open_scales(Path("mixed/loud=0.5,rest=0.5-minmax.json"))
    assert found.calibset == "loud=0.5,rest=0.5"


def test_entropy_trt_takes_a_second_pass_and_is_told_how_batches_are_made(folder: Path) -> None:
    ended = calaudit(
        "calibrate", "model.onnx", "loud.h5", "any.h5", "--out", "ranges.h5",
        "--method", "entropy-trt", "--calibration-batch", "5", "--calibration-order", "stored",
        "--scales", "scales",
    )  # fmt: skip
    assert ended.status == 0
    assert "the last batch of 5 is filled with 4 samples once more, of 6" in ended.err
    found = open_scales(Path("scales/loud-entropy-trt.json"))
    assert found.options == {"calibration_batch": 5, "calibration_order": "stored"}
    Path("model.onnx").unlink()
    again = calaudit("calibrate", "ranges.h5", "--method", "entropy-trt")
    assert again.out == ended.out
    refused = calaudit("calibrate", "ranges.h5", "--mix", "loud=1", "--method", "entropy-trt")
    assert refused.status == 2
    assert "slices, unions and mixtures have no batches" in refused.err
    calls = (["--calibration-batch", "3"], ["--calibration-order", "mixed"])
    for flags in calls:
        refused = calaudit("calibrate", "ranges.h5", *flags)
        assert refused.status == 2
        assert f"Leave {flags[0]} out" in refused.err


def test_slices_named_by_flags_are_recorded(folder: Path) -> None:
    ended = calaudit(
        "calibrate", "model.onnx", "any.h5", "--out", "ranges.h5",
        "--pool", "pool.h5", "--by", "loudness", "--where", "early=number < 12",
    )  # fmt: skip
    assert ended.status == 0
    assert {"loudness = loud", "loudness = quiet", "early"} <= set(
        open_ranges(Path("ranges.h5")).groups
    )
    ended = calaudit("calibrate", "ranges.h5", "--mix", "early=0.7,rest=0.3", "--method", "entropy")
    assert ended.status == 0
    assert "early=0.7,rest=0.3" in ended.out


def test_how_well_sets_cover_the_slices_is_said_after_the_table(folder: Path) -> None:
    ended = calaudit(
        "calibrate", "model.onnx", "loud.h5", "any.h5", "--out", "ranges.h5", "--method", "minmax",
        "--pool", "pool.h5", "--by", "loudness",
    )  # fmt: skip
    assert ended.status == 0
    first, rest = ended.out.split("\n\nPredicted harm to each slice")
    assert list(table(first)[1]) == TAPS
    rows = {line.split("  ")[0]: line for line in rest.splitlines()}
    assert {"all", "loudness = loud", "loudness = quiet"} <= set(rows)
    assert rest.splitlines()[2].split() == [
        "slice", "samples", "least", "loud", "minmax", "any", "minmax",
    ]  # fmt: skip
    assert "loud, minmax: farthest from the least possible is" in rest
    assert "Whatever the ranges, some slice's harm is at least" in rest


def test_slices_of_another_ranges_file_are_covered_where_asked(folder: Path) -> None:
    ended = calaudit(
        "calibrate", "model.onnx", "any.h5", "--out", "all.h5", "--method", "minmax",
        "--pool", "pool.h5", "--where", "early=number < 12",
    )  # fmt: skip
    assert ended.status == 0
    plain = ["calibrate", "model.onnx", "loud.h5", "--out", "loud-ranges.h5", "--method", "mse"]
    assert "Predicted harm" not in calaudit(*plain).out
    covered = calaudit(*plain, "--cover", "all.h5")
    assert (covered.status, "early" in covered.out) == (0, True)
    again = calaudit(
        "calibrate", "loud-ranges.h5", "--group", "loud", "--method", "mse", "--cover", "all.h5"
    )
    assert again.out.split("Predicted harm")[1] == covered.out.split("Predicted harm")[1]
    missing = calaudit(*plain, "--cover", "none.h5")
    assert (missing.status, "none.h5" in missing.err) == (2, True)


def test_options_of_percentile_and_weights_are_passed_on(folder: Path) -> None:
    calaudit("calibrate", "model.onnx", "any.h5", "--out", "ranges.h5", "--weighted")
    ended = calaudit(
        "calibrate", "ranges.h5", "--group", "any", "--method", "percentile", "--fraction", "0.5"
    )
    whole = calaudit("calibrate", "ranges.h5", "--group", "any", "--method", "percentile")
    assert table(ended.out)[1]["x"][0] < table(whole.out)[1]["x"][0] / 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["model.onnx", "any.h5"], "a model needs calibration sets and a ranges file to write"),
        (["model.onnx", "--out", "r.h5"], "a model needs calibration sets"),
        (["model.onnx", "any.h5", "--out", "r.h5", "--mix", "a=1"], "Leave --mix out"),
        (["model.onnx", "any.h5", "--out", "r.h5", "--group", "any"], "Leave --group out"),
        (["model.onnx", "any.h5", "--out", "any.h5"], "any.h5"),
        (["model.onnx", "any.h5", "--out", "r.h5", "--method", "entrpy"], "Did you mean entropy"),
        (["model.onnx", "any.h5", "--out", "r.h5", "--by", "loudness"], "Add --pool"),
        (["model.onnx", "any.h5", "--out", "r.h5", "--calibration-batch", "8"], "Add --method"),
        (
            ["model.onnx", "any.h5", "--out", "r.h5", "--method", "entropy-trt", "--weighted"],
            "Leave out --weighted",
        ),
        (["any.h5", "--method", "minmax"], "any.h5"),
        (["none.h5"], "none.h5"),
        (["none.onnx", "any.h5", "--out", "r.h5"], "there is no such model file"),
    ],
)
def test_wrong_requests_end_with_status_2_and_say_what_to_do(
    folder: Path, arguments: list[str], reason: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    ended = calaudit("calibrate", *arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert reason in ended.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_flags_of_a_pass_are_refused_with_a_ranges_file(folder: Path) -> None:
    calaudit("calibrate", "model.onnx", "any.h5", "--out", "ranges.h5")
    ended = calaudit("calibrate", "ranges.h5", "any.h5", "--weighted", "--skip-bad-samples")
    assert ended.status == 2
    for flag in ("SET", "--weighted", "--skip-bad-samples"):
        assert f"Leave {flag} out" in ended.err


def test_notes_of_dead_taps_go_to_stderr_once(folder: Path) -> None:
    write_images(folder / "zero.h5", np.zeros((4, 3, 8, 8), np.float32))
    draw(folder / "zero.h5", folder / "zeros.h5", "zeros", 4)
    ended = calaudit("calibrate", "model.onnx", "zeros.h5", "--out", "r.h5")
    assert ended.status == 0
    assert ended.err.count("tap 'x': never above 0") == 1
