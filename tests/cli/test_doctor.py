import json

import pytest

from calaudit.backends import health
from calaudit.backends.base import Missing
from calaudit.backends.health import Trial, examine
from calaudit.backends.tensorrt import detect
from tests.cli.running import calaudit


def test_what_runs_on_the_cpu_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    shown = calaudit("doctor", "onnxruntime")
    assert shown.status == 0
    (row,) = [line for line in shown.out.splitlines() if line.startswith("onnxruntime")]
    assert "yes" in row
    assert row.count("Conv, Gemm, MatMul") == 3


def test_a_named_backend_that_isnt_usable_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Missing("TensorRT", "isn't installed", "Run: python -m pip install 'calaudit[tensorrt]'")
    monkeypatch.setattr(detect, "find_tensorrt", lambda library: gone)
    named = calaudit("doctor", "tensorrt")
    assert named.status == 1
    assert "tensorrt: TensorRT isn't installed\n  → Run: python -m pip install" in named.out
    assert calaudit("doctor").status == 0
    backends = json.loads(calaudit("doctor", "--json").out)["backends"]
    assert {each["backend"]: each["usable"] for each in backends} == {
        "onnxruntime": True,
        "tensorrt": False,
        "tensorrt_rtx": False,
    }


def test_an_unknown_backend_is_an_error_with_the_nearest_name() -> None:
    ended = calaudit("doctor", "tensort")
    assert ended.status == 2
    assert "Did you mean tensorrt" in ended.err


def test_what_a_release_cant_do_is_told_once_per_reason() -> None:
    trials = (
        Trial("Conv", "fp32", "fp32"),
        Trial("Conv", "int8", None, "X 1 can't build an engine: CHECK(dtype)", "See there."),
        Trial("Gemm", "int8", "fp32", "becomes fp32: reads fp32", "Other."),
        Trial("MatMul", "int8", "fp32", "becomes fp32: reads fp32", "Other."),
    )
    assert [str(each) for each in health._failures("X 1", trials, len(trials))] == [
        "X 1 doesn't run Conv in INT8 here: can't build an engine: CHECK(dtype)",
        "X 1 doesn't run Gemm in INT8, MatMul in INT8 here: becomes fp32: reads fp32",
    ]


def test_only_what_is_wanted_is_tried() -> None:
    found = examine("onnxruntime", {"fp32": {"Gemm"}, "int8": {"MatMul", "Einsum"}})
    assert [(t.op_type, t.precision) for t in found.trials] == [
        ("Gemm", "fp32"),
        ("MatMul", "int8"),
    ]
    assert found.usable
