from pathlib import Path

import numpy as np
import pytest

from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import ScaleTable, TapScale, scale_of
from calaudit.formats.ranges import write_ranges
from calaudit.formats.scales import open_scales, write_scales
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.formats.trt_header import TrtVersion
from calaudit.runtime.errors import FileFormatError, RangesError, SettingsError
from calaudit.steps.cache import cache_to_table, diff_files, make_cache, read_scales
from tests.steps.cached import V8, edit, write_cache

V10 = TrtVersion(10, 3, 0)


def table(method: str = "entropy", **amaxes: float) -> ScaleTable:
    taps = {name: TapScale(amax, scale_of(amax)) for name, amax in amaxes.items()}
    return ScaleTable(taps, method, "clean only")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return write_cache(tmp_path / "a.cache", table(image=1.0, relu=3.0, gone=2.0))


@pytest.fixture
def scales(tmp_path: Path) -> Path:
    path = tmp_path / "b.json"
    write_scales(path, table(relu=1.5, image=1.0))
    return path


@pytest.fixture
def ranges(tmp_path: Path) -> Path:
    values = np.linspace(-3, 3, 6000, dtype=np.float32).reshape(2, -1)
    collected = Accumulator(["relu"], 2)
    collected.add(0, values, np.arange(2))
    path = tmp_path / "ranges.h5"
    observed = Observation(
        collected.histograms, ("low", "high"), np.eye(2), np.ones(2, np.int64), "m", "p"
    )
    write_ranges(path, observed)
    return path


def test_a_cache_and_a_scale_table_can_be_compared(cache: Path, scales: Path) -> None:
    found, notices = diff_files(cache, scales)
    assert [(each.tap, each.ratio) for each in found.different] == [("relu", 0.5)]
    assert found.only_first == ("gone",)
    assert notices == []


def test_ranges_tell_what_is_clipped(cache: Path, scales: Path, ranges: Path) -> None:
    found, notices = diff_files(cache, scales, ranges=ranges)
    relu = found.shared[0]
    assert relu.first_clips is not None
    assert relu.first_clips.values == 0
    assert relu.second_clips is not None
    assert relu.second_clips.values == pytest.approx(0.5, abs=0.01)
    assert [notice.code for notice in notices] == ["unobserved_taps"]
    assert notices[0].message == "has no distribution of 1 of the 2 shared taps"


def test_a_group_can_be_chosen(cache: Path, scales: Path, ranges: Path) -> None:
    found, _ = diff_files(cache, scales, ranges=ranges, group="high")
    assert found.shared[0].second_clips is not None
    with pytest.raises(RangesError, match="Did you mean high"):
        diff_files(cache, scales, ranges=ranges, group="hihg")
    with pytest.raises(SettingsError, match="Give --ranges too"):
        diff_files(cache, scales, group="high")


def test_unreadable_lines_are_told_and_left_out(cache: Path, scales: Path) -> None:
    edit(cache, "relu: ", "relu: 0x")
    found, notices = diff_files(cache, scales)
    assert [each.tap for each in found.shared] == ["image"]
    assert [(notice.code, notice.where) for notice in notices] == [
        ("unreadable_line", f"{cache}: line 3")
    ]


def test_a_cache_becomes_a_scale_table_named_after_its_file(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert cache_to_table(cache, out) == ()
    made = open_scales(out)
    assert (made.calibset, made.method, made.ranges_by) == ("a", "EntropyCalibration2", "tensorrt")
    assert made.scales == open_trt_cache(cache).scales
    cache_to_table(cache, out, calibset="street")
    assert open_scales(out).calibset == "street"


def test_there_and_back_the_bytes_are_the_same(cache: Path, tmp_path: Path) -> None:
    cache_to_table(cache, tmp_path / "t.json")
    make_cache(tmp_path / "t.json", tmp_path / "b.cache", version=V8)
    assert (tmp_path / "b.cache").read_bytes() == cache.read_bytes()


def test_a_scale_table_needs_a_version_and_keeps_its_notices(scales: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.cache"
    with pytest.raises(SettingsError, match=r"such as --tensorrt 8\.6\.1"):
        make_cache(scales, out)
    (told,) = make_cache(scales, out, version=V10)
    assert told.code == "incomplete"
    assert "the scale table's 2 tensors; TensorRT asks for every" in told.message
    assert out.read_text() == ("TRT-100300-EntropyCalibration2\nrelu: 3c418306\nimage: 3c010204\n")
    make_cache(scales, out, version=V10, algorithm="MinMaxCalibration")
    assert out.read_text().startswith("TRT-100300-MinMaxCalibration\n")


def test_a_header_changes_and_every_scale_stays_as_it_was(tmp_path: Path) -> None:
    source, out = tmp_path / "in.cache", tmp_path / "out.cache"
    lines = "dead: 0\nhuge: 7f800000\na: b [c]: 3c010a14\n"
    source.write_text(f"TRT-8XXX-EntropyCalibration2\n{lines}")
    make_cache(source, out, version=V8)
    assert out.read_text() == f"TRT-8601-EntropyCalibration2\n{lines}"
    make_cache(source, out, algorithm="MinMaxCalibration")
    assert out.read_text() == f"TRT-8XXX-MinMaxCalibration\n{lines}"
    make_cache(source, out, version=V10, algorithm="MinMaxCalibration")
    assert out.read_text() == f"TRT-100300-MinMaxCalibration\n{lines}"


def test_a_headless_cache_needs_the_whole_header(tmp_path: Path) -> None:
    source, out = tmp_path / "in.cache", tmp_path / "out.cache"
    source.write_text("x: 3c010204\n")
    for part in ({"version": V8}, {"algorithm": "MinMaxCalibration"}):
        with pytest.raises(SettingsError, match="Give both"):
            make_cache(source, out, **part)  # type: ignore[arg-type]  # one of both options
    make_cache(source, out, version=V8, algorithm="MinMaxCalibration")
    assert out.read_text() == "TRT-8601-MinMaxCalibration\nx: 3c010204\n"


def test_nothing_to_change_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing to change"):
        make_cache(cache, tmp_path / "out.cache")


def test_a_cache_with_unreadable_lines_isnt_converted(cache: Path, tmp_path: Path) -> None:
    edit(cache, "relu: ", "relu: 0x")
    with pytest.raises(FileFormatError, match="line 3"):
        cache_to_table(cache, tmp_path / "o.json")
    with pytest.raises(FileFormatError, match="line 3"):
        make_cache(cache, tmp_path / "o.cache", version=V10)
    assert list(tmp_path.glob("o.*")) == []


def test_a_tensorrt_without_caches_is_refused(cache: Path, scales: Path, tmp_path: Path) -> None:
    for source in (cache, scales):
        with pytest.raises(SettingsError, match="reads no calibration caches"):
            make_cache(source, tmp_path / "out.cache", version=TrtVersion(11, 0, 0))


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\0", b"[1]"])
def test_files_that_hold_no_scales_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FileFormatError):
        read_scales(path)
    with pytest.raises(FileFormatError):
        read_scales(tmp_path / "absent")
    with pytest.raises(FileFormatError):
        read_scales(tmp_path)
