import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.calibration.accumulate import Accumulator
from calaudit.calibration.batching import Batching
from calaudit.calibration.equal_bins import EqualBins, GrowingBins
from calaudit.calibration.scales import ScaleTable, TapScale, estimate_scales, scale_of
from calaudit.formats.trt_cache import (
    CacheEntry,
    TrtCache,
    bits_of,
    cache_of,
    open_trt_cache,
    parse_trt_cache,
    table_of,
    write_trt_cache,
)
from calaudit.formats.trt_header import CacheHeader, TrtVersion
from calaudit.runtime.errors import FileFormatError, OutputError, RangesError, SettingsError

V8 = TrtVersion(8, 6, 1)
HEADER = CacheHeader("8601", "EntropyCalibration2")
NAMES = [
    "input",
    "input_1:0",
    "/model.0/conv/Conv_output_0",
    "(Unnamed Layer* 12) [Constant]_output",
    "Conv block [3: relu]: out ",
    "a: 3c010204",
    "Größe: 層",
]


def table(*amaxes: float, method: str = "minmax") -> ScaleTable:
    taps = {name: TapScale(amax, scale_of(amax)) for name, amax in zip(NAMES, amaxes, strict=False)}
    return ScaleTable(taps, method, "some")


def parsed(text: str | bytes) -> TrtCache:
    return parse_trt_cache(text.encode() if isinstance(text, str) else text, where="f.cache")


def test_minmax_of_amax_1_is_written_as_tensorrt_writes_it() -> None:
    assert cache_of(table(1.0), V8).to_bytes() == b"TRT-8601-MinMaxCalibration\ninput: 3c010204\n"


def test_entropy_of_amax_1_is_written_as_tensorrt_writes_it() -> None:
    # TensorRT's unclipped candidate: T = (2048 + 0.5) bins of amax / 2048.
    content = cache_of(table(2048.5 / 2048, method="entropy"), TrtVersion(10, 3, 0)).to_bytes()
    assert content == b"TRT-100300-EntropyCalibration2\ninput: 3c010a14\n"


@pytest.mark.parametrize(("method", "bits"), [("minmax", "3c010204"), ("entropy-trt", "3c010a14")])
def test_methods_reach_tensorrts_scales_from_data_that_ends_at_1(method: str, bits: str) -> None:
    values = np.random.default_rng(0).random((4, 20_000)).astype(np.float32)
    values[0, 0] = 1
    collected = Accumulator(["input"], 1)
    collected.add(0, values, np.zeros(4, np.int64))
    bins = GrowingBins()
    bins.add(values)
    width, start = np.array([bins.width]), np.zeros(1, np.int64)
    equal = EqualBins(("input",), bins.counts[None], width, start, 4, Batching(4))
    made = estimate_scales(collected.histograms, 0, method, calibset="uniform", equal=equal)
    assert cache_of(made, V8).entries[0].hex == bits


def test_awkward_names_come_back(tmp_path: Path) -> None:
    cache = cache_of(table(*range(1, len(NAMES) + 1)), V8)
    write_trt_cache(tmp_path / "f.cache", cache)
    found = open_trt_cache(tmp_path / "f.cache")
    assert found == cache
    assert list(found.scales) == NAMES


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")).filter(str.strip)


@given(st.dictionaries(names, st.integers(0, 2**32 - 1), max_size=20))
def test_any_name_and_any_bits_survive(entries: dict[str, int]) -> None:
    cache = TrtCache(HEADER, tuple(CacheEntry(name, bits) for name, bits in entries.items()))
    assert parse_trt_cache(cache.to_bytes(), where="f") == cache


@given(st.floats(2.0**-126, 2.0**127, width=32))
def test_scales_are_the_bits_of_float32(scale: float) -> None:
    bits = bits_of(scale)
    assert bits == np.float32(scale).view(np.uint32)
    assert CacheEntry("t", bits).scale == scale
    assert struct.unpack(">f", bytes.fromhex(f"{bits:08x}"))[0] == scale


def outcome(content: bytes) -> TrtCache | FileFormatError:
    try:
        return parsed(content)
    except FileFormatError as error:
        return error


@given(st.sampled_from([b"", b"TRT-8601-EntropyCalibration2\n", b"t: 3c010204\n"]), st.binary())
def test_any_bytes_are_a_cache_or_an_error_that_says_what_to_do(
    start: bytes, content: bytes
) -> None:
    found = outcome(start + content)
    if isinstance(found, FileFormatError):
        assert found.problems[0].next_step
    else:
        assert all(0 <= entry.bits < 2**32 for entry in found.entries)
        assert len(found.scales) == len(found.entries)
        assert all("f.cache: line " in str(problem.where) for problem in found.problems)


def test_unpadded_upper_case_and_spaceless_values_are_read() -> None:
    cache = parsed("TRT-8601-EntropyCalibration2\r\na: 0\r\nb:3C010204\r\n\r\nc:   800000 \n")
    assert [(entry.tensor, entry.hex) for entry in cache.entries] == [
        ("a", "0"),
        ("b", "3c010204"),
        ("c", "800000"),
    ]
    assert cache.problems == ()
    assert cache.entries[1].amax == pytest.approx(1.0, abs=1e-7)


def test_bad_lines_are_collected_with_their_numbers() -> None:
    cache = parsed(
        b"TRT-8601-MinMaxCalibration\n"
        b"good: 3c010204\n"
        b"no colon\n"
        b": 3c010204\n"
        b"decimal: 0.0078\n"
        b"prefixed: 0x3c010204\n"
        b"long: 13c010204\n"
        b"empty:\n"
        b"\xff\xfe: 3c010204\n"
        b"good: 3d000000\n"
    )
    assert list(cache.scales) == ["good"]
    assert cache.entries[0].hex == "3c010204"
    assert [str(problem.where) for problem in cache.problems] == [
        f"f.cache: line {number}" for number in range(3, 11)
    ]
    assert "isn't UTF-8" in cache.problems[6].message
    assert cache.problems[7].message == "has 'good' again, first on line 2"
    assert all(problem.next_step for problem in cache.problems)


@pytest.mark.parametrize("start", ["", "1\n", "\n"])
def test_a_file_of_entries_alone_is_a_cache_without_header(start: str) -> None:
    cache = parsed(f"{start}a: 3c010204\nb: 0\n")
    assert cache.header is None
    assert list(cache.scales) == ["a", "b"]
    assert cache.problems[0].where == "f.cache: line 1"
    with pytest.raises(OutputError, match="without a header"):
        cache.to_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"hello",
        b"hello\nworld",
        b'{"calaudit_format": "scales"}',
        b"{\n  'a': 1\n}",
        b"a: 3c010204\nand prose\n",
        b"\x08\x07\x12\x00onnx: 1\n",
        b"\x89HDF\r\n\x1a\n\x00",
    ],
)
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(FileFormatError, match="isn't a TensorRT calibration cache") as caught:
        parsed(content)
    assert "TRT-<version>-<algorithm>" in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such file"):
        open_trt_cache(tmp_path / "absent.cache")
    with pytest.raises(FileFormatError, match="can't be read"):
        open_trt_cache(tmp_path)


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "half \ud800"])
def test_names_the_format_cant_hold_are_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    cache = TrtCache(HEADER, (CacheEntry("fine", 1), CacheEntry(name, 1)))
    with pytest.raises(OutputError, match="can't hold the name"):
        write_trt_cache(tmp_path / "f.cache", cache)
    assert list(tmp_path.iterdir()) == []


def test_the_calibrator_may_be_another_than_the_method() -> None:
    made = cache_of(table(1.0, method="percentile"), V8, algorithm="MinMaxCalibration")
    assert str(made.header) == "TRT-8601-MinMaxCalibration"


def test_a_tensorrt_without_caches_is_refused() -> None:
    with pytest.raises(SettingsError, match="no calibration caches"):
        cache_of(table(1.0), TrtVersion(11, 0, 0))


def test_a_cache_becomes_a_scale_table_and_back() -> None:
    cache = cache_of(table(1.0, 0.3, 2048.5 / 2048, method="mse"), V8)
    made = table_of(cache, calibset="clean")
    assert (made.method, made.calibset, made.ranges_by) == (
        "EntropyCalibration2",
        "clean",
        "tensorrt",
    )
    assert made.notices == ()
    assert cache_of(made, V8) == cache


def test_scales_of_dead_tensors_become_amax_1_with_a_notice() -> None:
    made = table_of(parsed("TRT-8601-MinMaxCalibration\na: 0\nb: 7\nc: 800000\n"), calibset="s")
    assert [tap.amax for tap in made.taps.values()][:2] == [1.0, 1.0]
    assert [(n.code, n.where) for n in made.notices] == [
        ("dead_tap", "tap 'a'"),
        ("dead_tap", "tap 'b'"),
    ]


def test_scales_no_engine_may_get_are_refused_all_at_once() -> None:
    cache = parsed("TRT-8601-MinMaxCalibration\na: 7f800000\nb: 7fc00000\nc: bc010204\nd: 3c\n")
    with pytest.raises(RangesError) as caught:
        table_of(cache, calibset="s")
    assert [problem.where for problem in caught.value.problems] == ["tap 'a'", "tap 'b'", "tap 'c'"]


@pytest.mark.parametrize("text", ["a: 3c010204\n", "TRT-8601-MinMaxCalibration\na: 3c010204\nb\n"])
def test_a_cache_that_wasnt_read_whole_gives_no_table(text: str) -> None:
    with pytest.raises(FileFormatError, match=r"f\.cache: line"):
        table_of(parsed(text), calibset="s")
