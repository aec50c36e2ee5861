"""What can't pass with as many units as its slice holds is told before any engine runs."""

from pathlib import Path

from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.audit.weak_gates import WeakGate, weak_gates
from calaudit.results.comparison import Verdict
from tests.audit.detector import DETECTOR, make_detector
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit


def _weak(path: Path) -> dict[tuple[str, str], WeakGate]:
    with prepared_audit(path, Overrides()) as audit:
        return {(each.metric, each.slice): each for each in weak_gates(audit)}


def test_too_few_images_for_ap_are_told_by_a_dry_run(tmp_path: Path) -> None:
    path = make_detector(tmp_path, photographs=120)
    found = _weak(path)
    ap = {name: each for (metric, name), each in found.items() if metric == "ap"}
    assert {(e.unit, e.n_needed) for e in ap.values()} == {("image", 100)}
    assert {name: e.n for name, e in ap.items()} == {
        "light = bright": 80, "light = dark": 80,
    }  # fmt: skip
    assert all(each.may_pass for each in ap.values())
    told = calaudit("compare", path, "--dry-run").out
    assert "Can pass only where hardly a score changes: ap on light = bright (80 images, " in told
    assert not (tmp_path / "detector").exists()


def test_a_gate_that_a_slice_is_too_small_for_names_what_it_needs(tmp_path: Path) -> None:
    gated = AUDIT.replace("max_drop = 0.05", 'max_drop = 0.01\nslices = "*"')
    path = make_world(tmp_path, n=500)
    path.write_text(gated, encoding="utf-8")
    found = _weak(path)
    with prepared_audit(path, Overrides()) as audit:
        counts = audit.slices.counts()
    assert {name for _, name in found} == {name for name, n in counts.items() if n < 268}
    assert {(each.n_needed, each.may_pass) for each in found.values()} == {(268, False)}
    path.write_text(gated.replace("0.01", "0.2"), encoding="utf-8")
    assert _weak(path) == {}
    assert "Can" not in calaudit("status", path).out


def test_objects_of_too_few_photographs_are_told_and_none_of_them_pass(tmp_path: Path) -> None:
    path = make_detector(tmp_path, DETECTOR.replace("max_drop = 0.05", "max_drop = 0.02"))
    found = {key: each for key, each in _weak(path).items() if not each.may_pass}
    assert found
    for each in found.values():
        assert (each.metric, each.unit) == ("object_recall", "object")
        # 134 independent objects would do.
        assert each.n > 134
        assert each.n_needed is not None
        assert each.n_needed > each.n
    report, _ = run_audit(path, formats="none")
    gated = {(r.metric, r.slice): r for r in report.results if r.gate is not None}
    assert all(gated[key].verdict is not Verdict.PASS for key in found)
    for (metric, name), each in found.items():
        judged = [r for r in report.results if (r.metric, r.slice) == (metric, name)]
        assert {r.n_to_prove for r in judged} == {each.n_needed}
