"""A backend of another package: what touches it is its own folder and its entry point."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from calaudit.audit.config import read_audit
from calaudit.audit.run import run_audit
from calaudit.backends.base import Site
from calaudit.backends.registry import BACKENDS
from calaudit.runtime.errors import BackendError, SettingsError
from tests.audit.world import AUDIT, make_world
from tests.forked import run_program
from tests.packages import installed, package_of

RUN = "from calaudit.cli import main; main()"
PRECISIONS = ("fp32", "fp16", "int8")
KEYS = 'backend = "onnx_reference"\nverify = true\nagree_with = ["onnxruntime"]\n'


def audit(folder: Path, keys: str) -> Path:
    return make_world(folder, n=600, audit=AUDIT.replace("batch_size", f"{keys}batch_size"))


@pytest.mark.slow
def test_an_audit_runs_on_it_and_agrees_with_onnxruntime(
    tmp_path: Path, example_package: object
) -> None:
    report, _ = run_audit(audit(tmp_path, KEYS + 'precisions = ["int8", "fp16"]\n'))
    cells = {cell.id: cell for cell in report.cells}
    mine = {name for name, cell in cells.items() if cell.backend == "onnx_reference"}
    assert mine == {
        *(f"{s}/{m}/onnx_reference" for s in ("loud only", "both") for m in ("minmax", "mse")),
        "fp16/onnx_reference",
    }
    assert {cell.status for cell in cells.values()} == {"judged"}
    assert report.reference.backend == "onnx_reference"
    engine = cells["both/mse/onnx_reference"].engine
    assert engine is not None
    assert (engine.kernels, engine.options) == ("emulated", {"verify": True})
    assert engine.quantized_ops == engine.asked_ops == {"MatMul": 1}
    assert len(report.agreement) == 6
    assert all(each.same_top == pytest.approx(1, abs=0.01) for each in report.agreement)
    assert {each.verdicts_equal == each.verdicts for each in report.agreement} == {True}


def test_ranges_of_its_own_are_held_against_calaudits(
    tmp_path: Path, example_package: object
) -> None:
    path = audit(tmp_path, 'backend = "onnx_reference"\ncalibrates = true\n')
    report, _ = run_audit(path)
    cells = {cell.id: cell for cell in report.cells}
    own = cells["both/own-minmax/onnx_reference"]
    assert (own.status, own.ranges_by) == ("judged", "onnx_reference")
    assert cells["both/minmax/onnx_reference"].ranges_by == "calaudit"
    assert {(each.cell, each.other) for each in report.compared_ranges} == {
        (f"{name}/own-minmax/onnx_reference", f"{name}/minmax/onnx_reference")
        for name in ("loud only", "both")
    }
    for each in report.compared_ranges:
        assert (each.taps, each.differing, each.only_tensorrt, each.only_calaudit) == (1, 0, 0, 0)
    told = {each.where: each.message for each in report.warnings if each.code == "own_ranges"}
    assert set(told) == {
        "cell loud only/own-minmax/onnx_reference", "cell both/own-minmax/onnx_reference"
    }  # fmt: skip
    drops = {r.cell: r.drop for r in report.results if (r.slice, r.metric) == ("all", "top1")}
    same = "both/minmax/onnx_reference", "both/own-minmax/onnx_reference"
    assert drops[same[0]] == drops[same[1]], "the same ranges lose the same"


def test_a_precision_that_it_lacks_ends_the_audit_before_any_work(
    tmp_path: Path, example_package: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = BACKENDS.load("onnx_reference")
    made = kind.make(kind.settings(), Site("onnx_reference", tmp_path, 1, {}))
    lacking = replace(made.capabilities, precisions=frozenset({"fp32", "int8"}))
    monkeypatch.setattr(type(made), "capabilities", lacking)
    path = audit(tmp_path, 'backend = "onnx_reference"\nprecisions = ["int8", "fp16"]\n')
    with pytest.raises(BackendError, match="onnx_reference makes no engines in FP16") as caught:
        run_audit(path)
    assert str(caught.value.problems[0].where).endswith("audit.toml: audit.backend")
    assert not (tmp_path / "audit").exists()


@pytest.mark.slow
def test_its_engines_may_run_several_at_a_time_and_nothing_is_made_twice(
    tmp_path: Path, example_package: Mapping[str, str]
) -> None:
    path = audit(tmp_path, KEYS)
    for _ in range(2):
        done = run_program(RUN, "compare", path, "--jobs", 2, environment=example_package)
        assert done.status in {1, 3}, done.err
    made = {each.name for each in (tmp_path / "audit" / "predictions").glob("*.h5")}
    assert sum("onnx_reference" in name for name in made) == 5
    assert len(made) == 10


def test_doctor_tries_it(example_package: Mapping[str, str]) -> None:
    done = run_program(RUN, "doctor", "onnx_reference", "--json", environment=example_package)
    assert done.status == 0, done.err
    (found,) = json.loads(done.out)["backends"]
    assert found["usable"]
    assert found["device"] == "numpy on the CPU"
    assert found["ops"] == {each: ["Conv", "Gemm", "MatMul"] for each in PRECISIONS}
    assert found["missing"] == []


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("verify = true\n", ("verify", "is for onnx_reference, which this audit doesn't run on",
                              "name onnx_reference as backend")),
        ('backend = "onnx_reference"\nverify = 3\n',
         ("verify", "should be true or false (got 3)", "Change the value.")),
        ('backend = "onnx_reference"\nverifi = true\n', ("verifi", "unknown key", "verify")),
        ('backend = "onnx_referense"\n',
         ("backend", "there is no backend 'onnx_referense'", "Did you mean onnx_reference or")),
        ('agree_with = ["tensort"]\n',
         ("agree_with", "there is no backend 'tensort'", "Did you mean tensorrt")),
        ('compute_capability = "8.9"\n',
         ("compute_capability", "is for tensorrt_rtx, which", "name tensorrt_rtx")),
    ],
)  # fmt: skip
def test_keys_are_read_with_its_own_settings(
    tmp_path: Path, example_package: object, keys: str, told: tuple[str, str, str]
) -> None:
    place, message, step = told
    with pytest.raises(SettingsError) as caught:
        read_audit(audit(tmp_path, keys))
    (problem,) = caught.value.problems
    assert str(problem.where).endswith(f"audit.toml: audit.{place}")
    assert message in problem.message
    assert step in str(problem.next_step)


def test_defaults_of_a_backend_that_isnt_used_may_stand(
    tmp_path: Path, example_package: object
) -> None:
    keys = 'int8 = "explicit"\nranges = ["calaudit"]\nverify = false\n'
    assert set(read_audit(audit(tmp_path, keys)).targets) == {"onnxruntime"}


def test_without_the_package_its_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no backend 'onnx_reference'"):
        read_audit(audit(tmp_path, KEYS))


def test_doctor_shows_a_backend_that_is_broken_and_tries_the_others(tmp_path: Path) -> None:
    group = {"calaudit.backends": {"mine": "KIND"}}
    made = package_of(tmp_path / "odd", "odd", group, "import a_library_that_is_not_there\n")
    with installed(made, tmp_path / "metadata") as environment:
        command = (RUN, "doctor", "--json")
        every = run_program(*command, environment=environment)
        named = run_program(*command, "mine", environment=environment)
    assert every.status == 0, every.err
    rows = {each["backend"]: each for each in json.loads(every.out)["backends"]}
    assert rows["onnxruntime"]["usable"]
    assert not rows["mine"]["usable"]
    (missing,) = rows["mine"]["missing"]
    assert "package odd can't be imported" in missing["reason"]
    assert "a_library_that_is_not_there" in missing["reason"]
    assert (named.status, named.out) == (2, "")


def test_a_backend_that_calls_itself_otherwise_is_refused(tmp_path: Path) -> None:
    text = """
from calaudit.backends.registry import BACKENDS
KIND = type("Kind", (type(BACKENDS.load("onnxruntime")),), {"__module__": "odd_members"})()
"""
    made = package_of(tmp_path / "odd", "odd", {"calaudit.backends": {"mine": "KIND"}}, text)
    with (
        installed(made, tmp_path / "metadata"),
        pytest.raises(
            SettingsError, match="the backend 'mine' calls itself 'onnxruntime'"
        ) as error,
    ):
        BACKENDS.load("mine")
    assert "Fix odd" in str(error.value)
