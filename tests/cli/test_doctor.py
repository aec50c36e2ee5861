import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from calaudit.backends import health
from calaudit.backends.base import Missing
from calaudit.backends.health import Trial, examine
from calaudit.backends.tensorrt.session import Found, Session
from tests.audit.fake_worker import fake_backend
from tests.audit.world import AUDIT
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
    found = Found(None, {}, None, None, (), (gone,), "off")
    monkeypatch.setattr(Session, "look", lambda self: found)
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


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[object]:
    with fake_backend(tmp_path / "package") as environment:
        yield environment


def test_a_backend_is_tried_where_the_flags_say(fake: object) -> None:
    shown = calaudit("doctor", "fake", "--python", "python3.8", "--ssh", "orin")
    assert shown.status == 0
    (row,) = [line for line in shown.out.splitlines() if line.startswith("fake  ")]
    assert "yes     a fake library of python3.8  orin     Conv, Gemm, MatMul" in row
    assert "fake runs in python3.8 on orin (Python 3.8.10)" in shown.out
    gone = calaudit("doctor", "fake", "--ssh", "nowhere")
    assert gone.status == 1
    assert "fake: nowhere can't be reached: no route to host\n  → Check that" in gone.out


def test_flags_without_a_name_try_the_backends_that_have_them(fake: object) -> None:
    rows = json.loads(calaudit("doctor", "--ssh", "orin", "--json").out)["backends"]
    assert "onnxruntime" not in {each["backend"] for each in rows}
    (mine,) = [each for each in rows if each["backend"] == "fake"]
    assert (mine["name"], mine["interpreter"], mine["python"]) == (
        "fake", "python3 on orin", "3.8.10"
    )  # fmt: skip
    assert calaudit("doctor", "--ssh", "orin").status == 0, "one of them is usable there"
    (only,) = json.loads(calaudit("doctor", "--for", "8.9", "--json").out)["backends"]
    assert only["backend"] == "tensorrt_rtx"


def test_flags_without_a_name_end_with_status_1_where_nothing_is_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Missing("TensorRT", "isn't installed", "Run: pip")
    found = Found(None, {}, None, None, (), (gone,), "off")
    monkeypatch.setattr(Session, "look", lambda self: found)
    for flag, value in (("--python", "python3.8"), ("--ssh", "orin"), ("--for", "8.9")):
        ended = calaudit("doctor", flag, value)
        assert ended.status == 1
        assert "TensorRT isn't installed" in ended.out


def test_flags_that_no_named_backend_takes_are_refused(fake: object) -> None:
    ended = calaudit("doctor", "onnxruntime", "--ssh", "orin")
    assert ended.status == 2
    assert "doctor --ssh: no backend that is named has the key ssh" in ended.err
    assert "Leave it out, or name fake" in ended.err


TARGETS = """
[[targets]]
name = "here"
backend = "onnxruntime"
kernels = "fused"

[[targets]]
name = "orin"
backend = "fake"
ssh = "nvidia@orin"

[[targets]]
name = "spare"
backend = "fake"
ssh = "nowhere"
"""


def audit(folder: Path, keys: str) -> Path:
    path = folder / "audit.toml"
    path.write_text(AUDIT.replace("batch_size", f"{keys}\nbatch_size", 1) + TARGETS, "utf-8")
    return path


def test_an_audits_targets_are_tried_with_their_settings(tmp_path: Path, fake: object) -> None:
    path = audit(tmp_path, 'backend = "orin"\nagree_with = ["here"]')
    shown = calaudit("doctor", str(path))
    assert shown.status == 0, "what the audit doesn't run on doesn't count"
    head, *rows = [line for line in shown.out.splitlines() if "  " in line][:4]
    assert head.split()[:3] == ["target", "backend", "usable"]
    assert [row.split()[:3] for row in rows] == [
        ["orin", "fake", "yes"], ["here", "onnxruntime", "yes"], ["spare", "fake", "no"]
    ]  # fmt: skip
    assert "spare isn't used: neither backend, agree_with nor an engine names it" in shown.out
    assert "spare: nowhere can't be reached" in shown.out
    used = audit(tmp_path, 'backend = "onnxruntime"\nagree_with = ["spare"]')
    assert calaudit("doctor", str(used)).status == 1
    (row,) = json.loads(calaudit("doctor", str(used), "here", "--json").out)["backends"]
    assert (row["name"], row["backend"], row["used"]) == ("here", "onnxruntime", False)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["her"], "the audit has no target 'her'\n  → Did you mean here?"),
        (["--ssh", "orin"], "--ssh can't stand beside the audit file"),
        (["other.toml"], "other.toml can't stand beside the audit file"),
    ],
)
def test_what_doesnt_go_with_an_audit_file_is_refused(
    tmp_path: Path, fake: object, more: list[str], told: str
) -> None:
    path = audit(tmp_path, 'backend = "orin"')
    ended = calaudit("doctor", str(path), *more)
    assert ended.status == 2
    assert told in ended.err
