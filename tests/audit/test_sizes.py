"""What an audit will take on disk is told before, and an audit that can't fit isn't begun."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from calaudit.audit.preflight import expected_sizes
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.audit.store import take_inventory
from tests.audit.world import make_world

ROOT = Path(__file__).parents[2]
RUN = "import sys; from calaudit.cli import main; main()"


def test_expected_sizes_are_those_that_outputs_and_engines_then_have(tmp_path: Path) -> None:
    path = make_world(tmp_path, n=20_000)
    with prepared_audit(path, Overrides()) as audit:
        expected = expected_sizes(audit)
    run_audit(path)
    with prepared_audit(path, Overrides()) as audit:
        assert expected_sizes(audit) == expected
        made = take_inventory(audit.plan, expected)
    assert {each.expected for each in made}.isdisjoint({None, 0})
    for each in made:
        if each.kind == "predictions":
            assert each.size == pytest.approx(each.expected, rel=0.15)
        if each.kind != "ranges":  # a rule for any model
            assert each.size < 2 * each.expected + 60_000  # HDF5's frame
    assert sum(each.kind == "predictions" for each in made) == 5


def test_of_scores_what_is_expected_is_about_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calaudit.steps.scores_reduction.WIDE", 1)
    path = make_world(tmp_path, n=20_000)
    with prepared_audit(path, Overrides()) as audit:
        expected = expected_sizes(audit)
        planned = [cell.predictions for cell in audit.plan.cells]
    run_audit(path, formats="none")
    for each in planned:
        assert expected[each] / 2 < each.stat().st_size < 1.2 * expected[each]
    kept = path.read_text().replace("batch_size", "keep_outputs = true\nbatch_size")
    path.write_text(kept)
    with prepared_audit(path, Overrides()) as audit:
        more = expected_sizes(audit)
        both = [cell.predictions for cell in audit.plan.cells]
    rows = 14_987
    for scores, outputs in zip(planned, both, strict=True):
        assert more[outputs] - expected[scores] == pytest.approx(16 * rows, rel=0.05)


def test_an_output_of_open_size_is_seen_by_running_one_sample(tmp_path: Path) -> None:
    path = make_world(tmp_path, n=400)
    with prepared_audit(path, Overrides()) as audit:
        expected = expected_sizes(audit)[audit.plan.reference.predictions]
    model = onnx.load(str(tmp_path / "model.onnx"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "classes"
    onnx.save(model, str(tmp_path / "model.onnx"))
    with prepared_audit(path, Overrides()) as audit:
        assert audit.model.outputs[0].shape == (None,)
        assert expected_sizes(audit)[audit.plan.reference.predictions] == expected


def test_an_audit_that_does_not_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk for a while")
    path = make_world(tmp_path, n=20_000)
    (tmp_path / "small").mkdir()
    mount = (
        'mount -t tmpfs -o size=400k none small; "$@"; ended=$?; find small -type f; exit $ended'
    )
    ended = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", RUN),
            *("compare", path.name, "--out", "small/results"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "small/results: not enough disk space: this audit needs 1." in ended.stderr
    assert (
        "MB more (predictions of 5 engines for 14,987 samples), and 409.6 kB free" in ended.stderr
    )
    assert "→ Free space" in ended.stderr
    assert ended.stdout == ""
