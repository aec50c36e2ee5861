import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.groups import split_into_parts
from calaudit.calibration.observation import Observation
from calaudit.cli.cache_text import verdict
from calaudit.formats.pool_writer import write_pool
from calaudit.formats.ranges import write_ranges
from calaudit.formats.scales import open_scales, write_scales
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.steps.verify_cache import Verification
from tests.calibration.trt import trt_amax
from tests.cli.running import Ended, calaudit
from tests.steps.cached import edit, smooth, table_for, write_cache, write_model
from tests.steps.calibrating import draw

COMMANDS = ("write", "show", "diff", "verify", "convert")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def cache(tmp_path: Path, model: Path) -> Path:
    return write_cache(tmp_path / "f.cache", table_for(model))


def run(*arguments: object) -> Ended:
    return calaudit("cache", *arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_names_the_command(command: str) -> None:
    ended = run(command, "--help")
    assert ended.status == 0
    assert f"Example:  calaudit cache {command} " in ended.out


def test_show_prints_header_and_every_scale(tmp_path: Path) -> None:
    path = tmp_path / "f.cache"
    path.write_text("TRT-8601-EntropyCalibration2\nimage: 3c010204\n(Layer 1) [x]: y: 0\n")
    ended = run("show", path)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        f"{path}: TensorRT 8.6.1, EntropyCalibration2, 2 scales",
        "",
        "tensor                 scale  amax      bits",
        "image             0.00787402     1  3c010204",
        "(Layer 1) [x]: y           0     0         0",
    ]


def test_one_scale_and_one_tensor_are_told_in_the_singular(tmp_path: Path) -> None:
    path = tmp_path / "f.cache"
    path.write_text("TRT-8601-EntropyCalibration2\nimage: 3c010204\n")
    assert run("show", path).out.startswith(
        f"{path}: TensorRT 8.6.1, EntropyCalibration2, 1 scale\n"
    )
    assert run("diff", path, path).out.splitlines()[2].startswith("1 tap in both, ")
    found = Verification(open_trt_cache(path), (), (), 1)
    assert verdict(path, Path("m.onnx"), found).endswith("1 scale, for 1 tensor of m.onnx")


@pytest.mark.parametrize("command", ["show", "verify"])
def test_what_isnt_a_cache_is_shown_with_its_bytes_escaped_once(
    tmp_path: Path, command: str
) -> None:
    path = tmp_path / "f.cache"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\0")
    ended = run(command, path)
    assert ended.status == 2
    assert "it begins with '\\x89HDF'\n" in ended.err


def test_show_as_json_holds_every_scale_and_problem(tmp_path: Path) -> None:
    path = tmp_path / "f.cache"
    path.write_text("TRT-8XXX-MinMaxCalibration\nimage: 3c010204\nbad: 7fc00000\nno colon\n")
    ended = run("show", path, "--json")
    content = json.loads(ended.out)
    assert content["header"] == "TRT-8XXX-MinMaxCalibration"
    assert content["tensorrt"] is None
    assert content["algorithm"] == "MinMaxCalibration"
    assert content["scales"][1] == {
        "tensor": "bad",
        "scale": None,
        "amax": None,
        "bits": "7fc00000",
    }
    assert [problem["where"] for problem in content["problems"]] == [f"{path}: line 4"]


def test_names_cant_write_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "f.cache"
    path.write_bytes(b"TRT-8601-EntropyCalibration2\n\x1b[2J\x07: 0\n")
    for ended in (run("show", path), run("verify", path), run("diff", path, path)):
        assert "\x1b" not in ended.out + ended.err
        assert "\x07" not in ended.out + ended.err


def test_verify_of_a_clean_cache_ends_with_0(cache: Path, model: Path) -> None:
    ended = run("verify", cache, "--model", model, "--tensorrt", "8.6.1", "--algorithm", "minmax")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == (
        f"{cache}: clean; TensorRT 8.6.1, MinMaxCalibration, 38 scales, for 38 tensors of {model}\n"
    )


def test_verify_groups_findings_and_ends_with_1(cache: Path, model: Path) -> None:
    edit(cache, "\nrelu2: ", "\nRelu2: ")
    edit(cache, "MinMaxCalibration", "MinMax")
    ended = run("verify", cache, "--model", model, "--no-random")
    assert ended.status == 1
    assert ended.out.split("\n\n")[1:] == [
        "algorithm: 1\n  line 1: the header's algorithm, 'MinMax', is none of TensorRT's\n"
        "  → Did you mean MinMaxCalibration?",
        "missing_tap: 1\n  tap 'relu2': has no scale: the layers around it run in float",
        "unknown_name: 1\n  tap 'Relu2': the model has no such tensor: TensorRT ignores the scale\n"
        "  → Did you mean relu2 or relu32 or relu28?\n",
    ]


def test_verify_shows_five_findings_of_a_kind_unless_asked_for_all(
    cache: Path, model: Path
) -> None:
    header, first, *_ = cache.read_text().splitlines()
    cache.write_text(f"{header}\n{first}\n")
    ended = run("verify", cache, "--model", model, "--no-random")
    assert "missing_tap: 37" in ended.out
    assert "… 32 more; --all prints them" in ended.out
    ended = run("verify", cache, "--model", model, "--no-random", "--all")
    assert ended.out.count("run in float") == 37


def test_verify_as_json_holds_findings_and_notices(cache: Path, model: Path) -> None:
    edit(cache, "\nx: ", "\nx: 0")
    content = json.loads(run("verify", cache, "--json").out)
    assert (content["model"], content["n_taps"]) == (None, None)
    assert [finding["code"] for finding in content["findings"]] == ["unreadable_line"]
    assert content["findings"][0]["where"] == "line 2"
    assert [notice["code"] for notice in content["notices"]] == ["no_model"]
    content = json.loads(run("verify", cache, "--model", model, "--json", "--no-random").out)
    assert (content["model"], content["n_taps"]) == (str(model), 38)


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "{model}"],
        ["verify", "{absent}"],
        ["verify", "{cache}", "--model", "{cache}"],
        ["verify", "{cache}", "--model", "{absent}"],
        ["verify", "{cache}", "--tensorrt", "eight"],
        ["verify", "{cache}", "--algorithm", "max"],
        ["show", "{model}"],
        ["diff", "{cache}", "{absent}"],
        ["diff", "{cache}", "{cache}", "--group", "g"],
        ["diff", "{cache}", "{cache}", "--ranges", "{cache}"],
        ["convert", "{cache}", "{out}.json", "--tensorrt", "8.6.1"],
        ["convert", "{cache}", "{out}.json", "--algorithm", "minmax"],
        ["convert", "{cache}", "{out}.cache", "--tensorrt", "8.6.1", "--calibset", "x"],
        ["convert", "{cache}", "{out}.cache"],
        ["convert", "{cache}", "{out}.cache", "--tensorrt", "11.0"],
        ["convert", "{model}", "{out}.json"],
    ],
)
def test_bad_input_ends_with_2_and_a_message(
    cache: Path, model: Path, tmp_path: Path, arguments: list[str]
) -> None:
    names = {
        "cache": str(cache),
        "model": str(model),
        "absent": str(tmp_path / "absent"),
        "out": str(tmp_path / "out"),
    }
    ended = run(*(argument.format(**names) for argument in arguments))
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err.startswith("calaudit: error: ")
    assert not list(tmp_path.glob("out*"))


def test_diff_prints_the_taps_that_differ_most(cache: Path, model: Path, tmp_path: Path) -> None:
    other = write_cache(tmp_path / "other.cache", table_for(model, 2 * smooth(4)))
    edit(other, "\nrelu2: ", "\nr2: ")
    ended = run("diff", cache, other, "--limit", "2")
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[:2] == [f"A: {cache}", f"B: {other}"]
    assert lines[2].startswith("37 taps in both, ")
    assert lines[3:5] == ["1 only in A: relu2", "1 only in B: r2"]
    assert lines[6].split() == ["tap", "amax", "A", "amax", "B", "B", "/", "A"]
    assert len(lines) == 9


def test_diff_of_equal_files_prints_no_rows(cache: Path) -> None:
    ended = run("diff", cache, cache)
    assert ended.out.splitlines()[2:] == ["38 taps in both, 0 with different scales"]


def test_diff_with_ranges_tells_what_clips(cache: Path, model: Path, tmp_path: Path) -> None:
    x = smooth(8)
    atoms = split_into_parts((x[:, 0, 0, 0][None] > 15).astype(np.float64))
    collected = Accumulator(["x"], atoms.weights.shape[1])
    collected.add(0, x, atoms.of_sample[:, 0])
    ranges = tmp_path / "ranges.h5"
    observed = Observation(
        collected.histograms,
        ("bright",),
        atoms.weights,
        np.bincount(atoms.of_sample[:, 0]),
        "m",
        "p",
    )
    write_ranges(ranges, observed)
    other = write_cache(tmp_path / "other.cache", table_for(model, smooth() / 4))
    ended = run("diff", cache, other, "--ranges", ranges, "--group", "bright", "--limit", "12")
    row = next(line for line in ended.out.splitlines() if line.startswith("x "))
    _, _, _, ratio, values, energy, values_b, _ = row.split()
    assert (ratio, values, energy) == ("0.25", "0.00%", "0.00%")
    assert float(values_b.rstrip("%")) > 50
    assert "has no distribution of 37 of the 38 shared taps" in ended.err
    content = json.loads(run("diff", cache, other, "--ranges", ranges, "--json").out)
    assert {each["tap"] for each in content["shared"] if each["second_clips"]} == {"x"}
    assert content["ranges"] == str(ranges)


def test_convert_goes_there_and_back(cache: Path, tmp_path: Path) -> None:
    scales, back = tmp_path / "s.json", tmp_path / "back.cache"
    ended = run("convert", cache, scales, "--calibset", "street")
    assert (ended.status, ended.out) == (0, f"{scales}: scale table of {cache}\n")
    assert open_scales(scales).calibset == "street"
    ended = run("convert", scales, back, "--tensorrt", "8.6.1")
    assert ended.out == f"{back}: TensorRT 8.6.1, MinMaxCalibration, 38 scales\n"
    assert back.read_bytes() == cache.read_bytes()
    newer = tmp_path / "newer.cache"
    ended = run("convert", back, newer, "--tensorrt", "10.3", "--algorithm", "entropy")
    assert ended.out == f"{newer}: TensorRT 10.3.0, EntropyCalibration2, 38 scales\n"
    assert run("convert", cache, newer, "--tensorrt", "8.5").status == 0, "a cache may be replaced"


@pytest.mark.parametrize("out", ["f.cache", "set.h5", "report.json"])
def test_convert_writes_over_caches_and_scale_tables_alone(
    cache: Path, tmp_path: Path, out: str
) -> None:
    (tmp_path / "set.h5").write_bytes(b"\x89HDF\r\n\x1a\n\0 samples")
    (tmp_path / "report.json").write_text('{"format": "report"}')
    before = (tmp_path / out).read_bytes()
    ended = run(
        "convert", cache, tmp_path / out, *["--tensorrt", "10.3"][: 2 * ("json" not in out)]
    )
    assert (ended.status, ended.out) == (2, "")
    assert f"{tmp_path / out}: is" in ended.err
    assert "would be overwritten" in ended.err
    assert (tmp_path / out).read_bytes() == before


def test_convert_notes_fallbacks(tmp_path: Path) -> None:
    path = tmp_path / "f.cache"
    path.write_text("TRT-8601-EntropyCalibration2\ndead: 0\n")
    ended = run("convert", path, tmp_path / "s.json")
    assert ended.err == "calaudit: note: tap 'dead': the cache's scale is 0: taken as amax = 1\n"


def test_a_scale_table_in_a_json_file_with_a_tensor_tensorrt_cant_name(tmp_path: Path) -> None:
    table = tmp_path / "s.json"
    write_scales(table, table_for(write_model(tmp_path / "m.onnx")))
    edit(table, '"relu2"', '"relu2\\n\\ud800"')
    ended = run("convert", table, tmp_path / "out.cache", "--tensorrt", "8.6.1")
    assert ended.status == 2
    assert "can't hold the name" in ended.err


@pytest.fixture(scope="module")
def calibset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibset")
    x = smooth(12)
    write_pool(
        folder / "pool.h5",
        inputs={"x": x},
        targets={"label": np.zeros(len(x), np.int64)},
        meta={"number": np.arange(len(x))},
    )
    return draw(folder / "pool.h5", folder / "all.h5", "all", 12).path


def test_write_makes_a_cache_that_verify_finds_clean(
    model: Path, calibset: Path, tmp_path: Path
) -> None:
    out, ranges = tmp_path / "calib.cache", tmp_path / "all tensors.h5"
    ended = run(
        "write", model, calibset, "--method", "minmax", "--tensorrt", "8.6.1", "--out", out,
        "--ranges", ranges,
    )  # fmt: skip
    assert ended.status == 0
    assert ended.err.splitlines()[-2:] == [f"wrote {ranges}", f"wrote {out}"]
    assert ended.out.splitlines() == [
        f"{out}: TensorRT 8.6.1, MinMaxCalibration, 38 scales, every tensor of TensorRT's network: "
        "38 of the model",
        "Next: a calibrator of MinMaxCalibration that returns it from read_calibration_cache; for "
        "trtexec, which has an entropy calibrator, add --algorithm entropy",
    ]
    assert run("verify", out, "--model", model, "--no-random").status == 0
    expected = table_for(model, smooth(12)).scales
    assert open_trt_cache(out).scales == pytest.approx(expected, rel=1e-6)


def test_write_takes_kept_ranges_for_another_method(
    model: Path, calibset: Path, tmp_path: Path
) -> None:
    out, ranges = tmp_path / "calib.cache", tmp_path / "all.h5"
    given = ["--tensorrt", "10.3", "-o", out, "--ranges", ranges]
    run("write", model, calibset, *given, "--method", "entropy")
    first = out.read_bytes()
    ended = run("write", model, *given, "--method", "mse")
    assert ended.out.splitlines()[-1] == f"Next: trtexec --onnx={model} --int8 --calib={out}"
    assert first.startswith(b"TRT-100300-EntropyCalibration2\n")
    assert out.read_bytes().startswith(b"TRT-100300-EntropyCalibration2\n")
    assert out.read_bytes() != first


def test_write_as_tensorrts_entropy_calibrator_depends_on_batches(
    model: Path, calibset: Path, tmp_path: Path
) -> None:
    ranges, given = tmp_path / "all.h5", ["--tensorrt", "8.6.1", "--method", "entropy-trt"]
    scales = {}
    for size in ("1", "12"):
        out = tmp_path / f"{size}.cache"
        batches = ["--calibration-batch", size, "--calibration-order", "stored"]
        ended = run("write", model, calibset, *given, *batches, "-o", out, "--ranges", ranges)
        assert ended.status == 0
        scales[size] = open_trt_cache(out).scales
    x = smooth(12)
    for size, each in scales.items():
        amax = trt_amax(*np.split(x, 12 // int(size)))
        assert each["x"] == pytest.approx(amax / 127, rel=1e-6)
    assert scales["1"] != scales["12"]
    again = tmp_path / "again.cache"
    assert run("write", model, *given, "-o", again, "--ranges", ranges).status == 0
    assert open_trt_cache(again).scales == scales["12"]


def test_write_chooses_as_tensorrts_entropy_calibrator_does_unless_told_otherwise(
    model: Path, calibset: Path, tmp_path: Path
) -> None:
    for out, method in (("default", []), ("named", ["--method", "entropy-trt"])):
        ended = run("write", model, calibset, "--tensorrt", "8.6.1", "-o", tmp_path / out, *method)
        assert ended.status == 0
    assert (tmp_path / "default").read_bytes() == (tmp_path / "named").read_bytes()
    found = open_trt_cache(tmp_path / "default")
    assert str(found.header) == "TRT-8601-EntropyCalibration2"
    assert found.scales["x"] == pytest.approx(trt_amax(smooth(12)) / 127, rel=1e-6)


def test_a_cache_is_made_of_the_one_recorded_set_that_is_named(
    model: Path, calibset: Path, tmp_path: Path
) -> None:
    pool, ranges, out = calibset.with_name("pool.h5"), tmp_path / "two.h5", tmp_path / "two.cache"
    few = draw(pool, tmp_path / "few.h5", "few", 3).path
    more = draw(pool, tmp_path / "more.h5", "more", 9).path
    given = ["--tensorrt", "8.6.1", "--method", "minmax", "-o", out]
    assert run("write", model, few, more, *given, "--ranges", ranges).status == 0
    together = out.read_bytes()
    ended = run("write", model, *given, "--ranges", ranges)
    assert (ended.status, ended.out) == (2, "")
    assert f"{ranges}: holds ranges of 2 groups" in ended.err
    assert "few, more" in ended.err
    assert "--group" in ended.err
    assert out.read_bytes() == together
    for name, alone in (("few", few), ("more", more)):
        assert run("write", model, *given, "--ranges", ranges, "--group", name).status == 0
        read = out.read_bytes()
        assert run("write", model, alone, *given).status == 0
        assert out.read_bytes() == read
    assert run("write", model, *given, "--ranges", ranges, "--group", "all").status == 0
    assert out.read_bytes() == together
    lacking = run("write", model, *given[:2], "-o", out, "--ranges", ranges, "--group", "few")
    assert lacking.status == 2
    assert "--method minmax or entropy" in lacking.err
    wrong = run("write", model, *given, "--ranges", ranges, "--group", "fw")
    assert (wrong.status, "no ranges were recorded for 'fw'" in wrong.err) == (2, True)


def test_write_never_writes_over_ranges_or_other_files(
    model: Path, calibset: Path, tmp_path: Path
) -> None:
    ranges, given = tmp_path / "all.h5", ["--tensorrt", "8.6.1", "--method", "minmax"]
    ended = run("write", model, calibset, *given, "--ranges", ranges, "--out", ranges)
    assert (ended.status, ranges.exists()) == (2, False)
    assert "is the ranges file, too" in ended.err
    assert (
        run("write", model, calibset, *given, "--ranges", ranges, "-o", tmp_path / "c").status == 0
    )
    before = ranges.read_bytes()
    link = tmp_path / "link.h5"
    link.hardlink_to(ranges)
    for out, more in ((ranges, ["--ranges", ranges]), (link, ["--ranges", ranges])):
        assert run("write", model, *given, *more, "--out", out).status == 2
    ended = run("write", model, calibset, *given, "--out", ranges)
    assert ended.status == 2
    assert "isn't a calibration cache or a scale table, and would be overwritten" in ended.err
    assert ranges.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["{calibset}", "{calibset}", "--tensorrt", "8.6.1", "--method", "entropy-trt"],
            "batches of one calibration set, and 2 are given",
        ),
        (
            ["{calibset}", "{calibset}", "--tensorrt", "8.6.1"],
            "Give one set, drawn from all that the cache is to be made of, or take --method minmax "
            "or entropy",
        ),
        (
            ["{calibset}", "--tensorrt", "8.6.1", "--group", "all"],
            "beside calibration sets, which are taken together",
        ),
        (
            ["--ranges", "{qdq}", "--tensorrt", "8.6.1", "--calibration-batch", "4"],
            "holds the batches that its bins were counted in",
        ),
        (
            [
                "{calibset}",
                "--tensorrt",
                "8.6.1",
                "--method",
                "mse",
                "--calibration-order",
                "stored",
            ],
            "only entropy-trt depends on batches",
        ),
        (["--tensorrt", "8.6.1"], "no calibration set"),
        (["{calibset}", "--tensorrt", "11.0"], "reads no calibration caches"),
        (["{calibset}", "--tensorrt", "8.6.1", "--method", "max"], "unknown method 'max'"),
        (["{calibset}", "--tensorrt", "8.6.1", "--out", "{calibset}"], "would be overwritten"),
        (["--tensorrt", "8.6.1", "--ranges", "{qdq}"], "observed on another model"),
        (["{model}", "--tensorrt", "8.6.1"], "isn't an HDF5 file"),
    ],
)
def test_what_write_cant_do_is_refused(
    model: Path, calibset: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    qdq = tmp_path / "ranges.h5"
    calaudit("calibrate", model, calibset, "--out", qdq)
    names = {"model": str(model), "calibset": str(calibset), "qdq": str(qdq)}
    given = [argument.format(**names) for argument in arguments]
    ended = run("write", model, "--out", tmp_path / "out.cache", *given)
    assert (ended.status, ended.out) == (2, "")
    assert told in ended.err
    assert not (tmp_path / "out.cache").exists()


heads = st.sampled_from([b"", b"TRT-8601-EntropyCalibration2\n", b"TRT-8601-X\na: 0\n", b"{"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(heads, st.binary(max_size=100), st.sampled_from(["show", "verify", "diff", "convert"]))
def test_no_bytes_make_a_traceback(
    tmp_path: Path, cache: Path, head: bytes, content: bytes, command: str
) -> None:
    path = tmp_path / "any.cache"
    path.write_bytes(head + content)
    more = {"diff": [cache], "convert": [tmp_path / "out.json"]}.get(command, [])
    ended = run(command, path, *more)
    assert ended.status in {0, 1, 2}
    assert (ended.status == 2) == ended.err.startswith("calaudit: error: ")
