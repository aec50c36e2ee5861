import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.calibration.scales import ScaleTable, TapScale, scale_of
from calaudit.formats.scales import open_scales, write_scales
from calaudit.runtime.errors import FileFormatError, Notice, OutputError


def table() -> ScaleTable:
    return ScaleTable(
        {
            "input": TapScale(1.0, scale_of(1.0)),
            "(Unnamed Layer* 3) [Größe]: out": TapScale(0.1, scale_of(0.1)),
        },
        "percentile",
        "clean only",
        options={"fraction": 0.999},
        model_fingerprint="abc",
        notices=(Notice("dead_tap", "never above 0", "tap 'input'"),),
    )


def changed(path: Path, **changes: Any) -> Path:
    write_scales(path, table())
    content = json.loads(path.read_text(encoding="utf-8"))
    content.update(changes)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_scale_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_scales(tmp_path / "s.json", table())
    assert open_scales(tmp_path / "s.json") == table()


def test_options_may_be_texts_and_version_1_is_read(tmp_path: Path) -> None:
    options = {"calibration_batch": 64, "calibration_order": "stored"}
    write_scales(tmp_path / "s.json", replace(table(), method="entropy-trt", options=options))
    assert open_scales(tmp_path / "s.json").options == options
    assert open_scales(changed(tmp_path / "old.json", format_version=1)) == table()


@given(st.floats(2.0**-110, 2.0**120, width=32))
def test_scales_keep_every_bit_in_text(amax: float) -> None:
    scale = scale_of(amax)
    assert np.float32(json.loads(json.dumps(scale))) == np.float32(scale)


def test_the_file_is_readable_text_with_real_names(tmp_path: Path) -> None:
    write_scales(tmp_path / "s.json", table())
    text = (tmp_path / "s.json").read_text(encoding="utf-8")
    assert '"(Unnamed Layer* 3) [Größe]: out": {\n' in text
    assert '"ranges_by": "calaudit"' in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calaudit_format": "pool"}, "isn't a scale table: its calaudit_format is 'pool'"),
        ({"format_version": 3}, "format_version 3; this release reads up to 2"),
        ({"metod": "mse"}, r"metod: unknown key\n  → Did you mean method"),
        ({"method": 3}, "method: should be text"),
        ({"ranges_by": "me"}, "ranges_by"),
        ({"taps": {"t": {"amax": 1.0}}}, "taps.t.scale: this key is missing"),
        ({"taps": {"t": {"amax": 1.0, "scal": 1}}}, "Did you mean scale"),
        ({"taps": {"t": {"amax": 1.0, "scale": 1.0}}}, "amax 1.0 isn't 127 times scale 1.0"),
        ({"taps": {"t": {"amax": 0.0, "scale": 0.0}}}, "tap 't': the scale is 0.0"),
        ({"taps": {"t": {"amax": 1.27e-40, "scale": 1e-42}}}, "the scale is 1e-42"),
        ({"taps": {"t": {"amax": float("inf"), "scale": float("inf")}}}, "the scale is inf"),
        ({"taps": {"t": {"amax": float("nan"), "scale": float("nan")}}}, "taps.t: amax nan"),
    ],
)
def test_wrong_content_is_named_with_file_and_place(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = changed(tmp_path / "s.json", **changes)
    with pytest.raises(FileFormatError, match=message) as caught:
        open_scales(path)
    assert all(str(problem.where).startswith(str(path)) for problem in caught.value.problems)


def test_all_problems_are_raised_at_once(tmp_path: Path) -> None:
    path = changed(tmp_path / "s.json", method=1, calibset=2, extra=3)
    with pytest.raises(FileFormatError) as caught:
        open_scales(path)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "isn't valid JSON"),
        (b"[]", "holds list, not a JSON object"),
        (b"\xff\xfe", "isn't text"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        open_scales(tmp_path / "s.json")
    with pytest.raises(FileFormatError, match="no such file"):
        open_scales(tmp_path / "absent.json")


def test_an_invalid_table_never_takes_the_place_of_a_good_one(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    write_scales(path, table())
    with pytest.raises(OutputError, match="isn't 127 times scale") as caught:
        write_scales(path, ScaleTable({"input": TapScale(1.0, 0.5)}, "minmax", "clean"))
    assert ".part" not in str(caught.value)
    assert open_scales(path) == table()
    assert [each.name for each in tmp_path.iterdir()] == ["s.json"]
