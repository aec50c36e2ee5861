import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.formats.trt_header import CacheHeader, TrtVersion, algorithm_named, header_for
from calaudit.runtime.errors import SettingsError


@pytest.mark.parametrize(
    ("number", "version"),
    [
        ("4000", "4.0.0"),
        ("5105", "5.1.5"),
        ("7103", "7.1.3"),
        ("8412", "8.4.12"),
        ("8601", "8.6.1"),
        ("9300", "9.3.0"),
        ("100300", "10.3.0"),
        ("101601", "10.16.1"),
        ("110400", "11.4.0"),
    ],
)
def test_version_numbers_of_every_tensorrt_are_read_and_written(number: str, version: str) -> None:
    found = TrtVersion.of_number(number)
    assert str(found) == version
    assert TrtVersion.parse(version).number == int(number)


@pytest.mark.parametrize("number", ["8XXX", "", "86", "0860", "86010", "010300", "1003000", "٨٦٠١"])
def test_numbers_that_no_version_has_give_none(number: str) -> None:
    assert TrtVersion.of_number(number) is None


@given(st.integers(1, 12), st.integers(0, 9), st.integers(0, 99))
def test_a_version_survives_its_number(major: int, minor: int, patch: int) -> None:
    version = TrtVersion(major, minor, patch)
    assert TrtVersion.of_number(str(version.number)) == version


@pytest.mark.parametrize(
    ("text", "version"), [("8.6.1", "8.6.1"), ("10.3", "10.3.0"), (" 8.6.1.6 ", "8.6.1")]
)
def test_versions_may_be_short_or_carry_a_build(text: str, version: str) -> None:
    assert str(TrtVersion.parse(text)) == version


@pytest.mark.parametrize("text", ["", "8", "8.x", "8601", "8.10.0", "0.1.0", "8.6.1-rc", "v8.6.1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a valid TensorRT version") as caught:
        TrtVersion.parse(text)
    assert caught.value.problems[0].next_step == "Give it as 8.6.1 or 10.3.0."


@pytest.mark.parametrize(
    ("line", "number", "algorithm"),
    [
        ("TRT-8601-EntropyCalibration2", "8601", "EntropyCalibration2"),
        ("TRT-100300-MinMaxCalibration\r", "100300", "MinMaxCalibration"),
        ("TRT-7000-EntropyCalibration", "7000", "EntropyCalibration"),
        ("TRT-8XXX-EntropyCalibration2 ", "8XXX", "EntropyCalibration2"),
    ],
)
def test_headers_are_read_as_tensorrt_and_other_tools_write_them(
    line: str, number: str, algorithm: str
) -> None:
    assert CacheHeader.parse(line) == CacheHeader(number, algorithm)


@pytest.mark.parametrize("line", ["", "1", "TRT-8601", "TRT--x", " TRT-8601-x", "x: 3c010204"])
def test_other_lines_are_no_headers(line: str) -> None:
    assert CacheHeader.parse(line) is None


@pytest.mark.parametrize(
    ("method", "algorithm"),
    [
        ("minmax", "MinMaxCalibration"),
        ("MinMaxCalibration", "MinMaxCalibration"),
        ("entropy", "EntropyCalibration2"),
        ("entropy-trt", "EntropyCalibration2"),
        ("percentile", "EntropyCalibration2"),
        ("EntropyCalibration", "EntropyCalibration"),
    ],
)
def test_the_header_follows_the_method(method: str, algorithm: str) -> None:
    header = header_for(TrtVersion(8, 6, 1), method)
    assert str(header) == f"TRT-8601-{algorithm}"


def test_tensorrt_11_gets_no_cache() -> None:
    with pytest.raises(SettingsError, match=r"TensorRT 11\.4\.0 reads no calibration caches"):
        header_for(TrtVersion(11, 4, 0), "minmax")


def test_an_unknown_algorithm_is_refused_with_the_near_ones() -> None:
    assert algorithm_named("entropy") == "EntropyCalibration2"
    assert algorithm_named("MinMaxCalibration") == "MinMaxCalibration"
    with pytest.raises(SettingsError, match="Did you mean minmax"):
        algorithm_named("min-max")
