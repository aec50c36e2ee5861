"""Files of trtexec, in the layouts of TensorRT's own sources."""

import json
from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.trtexec import open_trtexec
from calaudit.runtime.errors import FileFormatError
from tests.formats.trtexec_files import LAYERS, NAMES_ALONE, PROFILE, TIMES, old_times, write


def test_files_are_told_by_their_content_in_any_order(tmp_path: Path) -> None:
    paths = write(tmp_path, a=LAYERS, b=TIMES, c=PROFILE)
    for order in (paths, paths[::-1]):
        found = open_trtexec(order)
        assert found.times is not None
        assert found.profile is not None
        assert found.layers is not None


def test_times_are_those_of_the_gpus_events(tmp_path: Path) -> None:
    times = open_trtexec(write(tmp_path, times=TIMES)).times
    assert times is not None
    np.testing.assert_array_equal(times.latency_ms, [5, 7])
    np.testing.assert_array_equal(times.device_ms, [4, 6])
    assert times.seconds == pytest.approx(0.012)  # 201 … 213 ms
    assert times.warm == 0


def test_the_warm_up_of_older_releases_is_left_out_and_counted(tmp_path: Path) -> None:
    times = open_trtexec(write(tmp_path, times=old_times([10, 150, 200, 210]))).times
    assert times is not None
    assert (times.warm, len(times.latency_ms)) == (2, 2)
    assert times.seconds == pytest.approx(0.013)
    short = open_trtexec(write(tmp_path, times=old_times([10, 20]))).times
    assert short is not None
    assert (short.warm, len(short.latency_ms)) == (0, 2)  # --warmUp=0


def test_layers_of_one_name_are_one(tmp_path: Path) -> None:
    content = json.loads(PROFILE)
    content.append(content[-1])
    profile = open_trtexec(write(tmp_path, profile=json.dumps(content))).profile
    assert profile is not None
    assert profile.count == 50
    assert list(profile.ms.values()) == [0.2, 0, 0.4]


def test_a_batch_is_read_off_the_first_input(tmp_path: Path) -> None:
    found = open_trtexec(write(tmp_path, times=TIMES, layers=LAYERS)).layers
    assert found is not None
    assert found.batch == 8
    assert len(found.layers) == 2
    bare = open_trtexec(write(tmp_path, times=TIMES, layers=NAMES_ALONE)).layers
    assert bare is not None
    assert (bare.batch, bare.layers, bare.names) == (None, (), ("Conv_9", "Gemm_12"))


def test_control_characters_in_names_are_read(tmp_path: Path) -> None:
    """TensorRT writes them between the nodes of a layer, unescaped."""
    text = PROFILE.replace("Gemm_12", "Gemm_12\x1eAdd_13")
    profile = open_trtexec(write(tmp_path, profile=text)).profile
    assert profile is not None
    assert "Gemm_12\x1eAdd_13" in profile.ms


def changed(text: str, place: int, **values: object) -> str:
    content = json.loads(text)
    content[place].update(values)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TIMES[:200], "isn't JSON in line 2"),
        ("", "isn't JSON in line 1"),
        ("[]", "holds no query"),
        ("{}", "is none of trtexec's files"),
        ("[3]", "is none of trtexec's files"),
        ('{"Layers": []}', "has no layers"),
        ('{"Layers": [{"LayerType": "x"}]}', "layer 0 has no name"),
        ('{"Layers": ["a"]}', "tells no times"),
        (changed(TIMES, 1, computeMs="x"), "query 1 has 'x' in computeMs, expected a number"),
        (changed(TIMES, 1, latencyMs=None), "query 1 has None in latencyMs"),
        (changed(TIMES, 1, latencyMs=-2), "query 1 takes -2 ms"),
        (TIMES.replace('"endD2hMs"', '"end"'), "no endD2hMs"),
        (TIMES.replace('"startH2dMs" : 206', '"startH2dMs" : NaN'), "expected a number"),
        ('[{"count": 0}, {"name": "a", "averageMs": 1}]', "count of 0 queries"),
        ('[{"count": 5}]', "has no layers"),
        ('[{"count": 5}, {"averageMs": 1}]', "layer 1 has no name"),
        (changed(PROFILE, 2, averageMs=-1), "takes -1 ms"),
        ('[{"count": 5}, {"name": "a", "averageMs": 0}]', "no layer takes any time"),
        ("[" * 100_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_file_and_what_writes_it(
    tmp_path: Path, text: str, told: str
) -> None:
    (path,) = write(tmp_path, given=text)
    with pytest.raises(FileFormatError, match=told) as caught:
        open_trtexec([path])
    (problem,) = caught.value.problems
    assert str(problem.where) == str(path)
    assert "--exportTimes" in str(problem.next_step)


def test_two_files_of_one_kind_and_files_that_arent_there_are_refused(tmp_path: Path) -> None:
    paths = write(tmp_path, a=TIMES, b=TIMES)
    with pytest.raises(FileFormatError, match="another file of times"):
        open_trtexec(paths)
    with pytest.raises(FileFormatError, match="can't be read"):
        open_trtexec([tmp_path / "none.json"])
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="byte 0 is no UTF-8"):
        open_trtexec([tmp_path / "binary.json"])
