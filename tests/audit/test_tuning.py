"""Tuning rows in an audit: what is observed of them, kept, resumed and refused."""

from pathlib import Path

import pytest

from calaudit.audit import observed
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.audit.store import seal_of, take_inventory
from calaudit.formats.ranges import open_ranges
from calaudit.runtime.errors import LeakError, SettingsError, SliceError
from tests.audit.world import AUDIT, make_world

ONE = AUDIT.replace('methods = ["minmax", "mse"]', 'methods = ["minmax"]')


def with_tune(predicate: str, more: str = "") -> str:
    return ONE.replace("[audit]\n", f'[audit]\ntune = "{predicate}"\n{more}')


def slice_files(folder: Path) -> list[Path]:
    return sorted((folder / "audit" / "ranges").glob("slices-*.h5"))


def test_slices_of_the_tuning_rows_are_observed_sealed_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_world(tmp_path, n=600, audit=ONE)
    run_audit(path)
    (file,) = slice_files(tmp_path)
    assert seal_of(file).exists()
    with prepared_audit(path, Overrides()) as audit:
        assert audit.plan.slice_ranges == file
        counts = audit.pool_slices.take(audit.tuning.rows).counts()
        states = {each.state for each in take_inventory(audit.plan)}
        taps = audit.qdq.taps
    assert states == {"made"}
    seen = open_ranges(file)
    assert seen.histograms.taps == taps
    assert {name: seen.size(name) for name in seen.groups} == {k: n for k, n in counts.items() if n}

    calls = []
    monkeypatch.setattr(
        observed,
        "observe_tuning",
        lambda *given, **more: calls.append(given) or pytest.fail("observed again"),
    )
    run_audit(path)
    assert calls == []


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    path = make_world(tmp_path, n=600, audit=ONE)
    run_audit(path)
    (file,) = slice_files(tmp_path)
    before = file.read_bytes()
    file.write_bytes(before[:-9])
    report, _ = run_audit(path)
    assert any(
        w.code == "artefact_remade" and "slices-" in (w.where or "") for w in report.warnings
    )
    assert open_ranges(file).groups[0] == "all"


def test_other_tuning_rows_make_no_other_engine(tmp_path: Path) -> None:
    path = make_world(tmp_path, n=600, audit=ONE)
    with prepared_audit(path, Overrides()) as audit:
        plain = audit.plan
    path.write_text(with_tune("split = 'calibration' and loudness = 'quiet'"), encoding="utf-8")
    with prepared_audit(path, Overrides()) as audit:
        other = audit.plan
        assert len(audit.tuning.observed) < 150
    assert other.slice_ranges != plain.slice_ranges
    assert (other.ranges, other.cells, other.calibsets) == (
        plain.ranges,
        plain.cells,
        plain.calibsets,
    )
    path.write_text(with_tune("split = 'calibration'", "tune_samples = 20\n"), encoding="utf-8")
    with prepared_audit(path, Overrides()) as audit:
        assert len(audit.tuning.observed) == 20 < len(audit.tuning.rows)


@pytest.mark.parametrize(
    ("tune", "error", "told"),
    [
        ("split = 'evaluation'", LeakError, "evaluation samples"),
        ("split = 'none'", SliceError, "selects nothing"),
        ("spilt = 'none'", SliceError, "spilt"),
    ],
)
def test_tuning_rows_that_cannot_be_are_refused_before_any_work(
    tmp_path: Path, tune: str, error: type[Exception], told: str
) -> None:
    path = make_world(tmp_path, n=400, audit=with_tune(tune))
    with pytest.raises(error, match=told):
        run_audit(path)
    assert not (tmp_path / "audit").exists()


def test_no_rows_to_observe_are_refused(tmp_path: Path) -> None:
    path = make_world(
        tmp_path, n=400, audit=with_tune("split = 'calibration'", "tune_samples = 0\n")
    )
    with pytest.raises(SettingsError, match="tune_samples must be at least 1"):
        run_audit(path)


def test_fp16_alone_observes_nothing(tmp_path: Path) -> None:
    settings = ONE.replace("[audit]\n", '[audit]\nprecisions = ["fp16"]\n')
    path = make_world(tmp_path, n=400, audit=settings)
    run_audit(path)
    assert slice_files(tmp_path) == []
