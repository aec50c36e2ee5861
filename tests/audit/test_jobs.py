"""Several engines at a time give what one after the other gives, and leave nothing at work."""

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from calaudit.audit.abreast import abreast
from calaudit.audit.engines import map_in_threads
from calaudit.audit.prepare import Audit, Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.formats.predictions import Predictions
from calaudit.results.document import to_document, without_times
from calaudit.runtime import compiled
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit


def test_any_number_of_jobs_gives_the_same_predictions_and_report(tmp_path: Path) -> None:
    audit = make_world(tmp_path)
    one, _ = run_audit(audit, Overrides(out=tmp_path / "1", jobs=1))
    for jobs in (2, 5, None):
        out = tmp_path / str(jobs)
        several, _ = run_audit(audit, Overrides(out=out, jobs=jobs))
        assert without_times(to_document(several)) == without_times(to_document(one))
        for path in sorted((tmp_path / "1" / "predictions").glob("*.h5")):
            first, second = Predictions(path), Predictions(out / "predictions" / path.name)
            assert np.array_equal(first.read("y"), second.read("y"))
        assert list(out.rglob("*.part")) == []
        shutil.rmtree(out)


@pytest.mark.parametrize(
    ("more", "cores", "wanted"),
    [
        ("", 2, (2, 1)),
        ("", 8, (4, 2)),  # of four engines
        ("", 1, (1, 0)),
        ("threads = 1", 8, (1, 1)),  # which the file says
        ("threads = 6", 8, (4, 1)),
        ("batch_size = 2_000_000", 8, (1, 0)),  # hundreds of bytes of each sample
        ("batch_size = 1_000_000", 8, (2, 4)),
    ],
)
def test_engines_of_a_small_model_share_the_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: str,
    cores: int,
    wanted: tuple[int, int],
) -> None:
    """Engines at a time, and the threads of each."""
    monkeypatch.setattr(compiled, "n_cores", lambda: cores)
    text = AUDIT.replace("batch_size = 100", "" if "batch_size" in more else "batch_size = 100")
    path = make_world(tmp_path, n=100, audit=text.replace("[audit]", f"[audit]\n{more}"))
    with prepared_audit(path, Overrides()) as audit:
        cells = audit.plan.cells
        assert len(cells) == 4
        sharing, found = abreast(audit, cells)
        assert (found, made_with(sharing)) == wanted
        # whoever comes later has all cores again
        assert made_with(audit) == made_with(abreast(audit, cells[:1])[0])
    with prepared_audit(path, Overrides(jobs=3)) as audit:
        sharing, found = abreast(audit, cells)
        assert sharing is audit
        assert found == 3


def made_with(audit: Audit) -> int:
    """Threads of the audit's backend; 0: all cores."""
    backend = audit.backends["onnxruntime"]
    assert isinstance(backend, OnnxruntimeBackend)
    return backend._how.threads


def test_the_command_takes_jobs(tmp_path: Path) -> None:
    audit = make_world(tmp_path, n=400)
    assert calaudit("compare", audit, "--jobs", 2, "--formats", "none").status == 1
    assert calaudit("compare", audit, "--jobs", 0).status == 2


def test_results_come_in_the_order_of_the_items() -> None:
    second = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second.wait(60)  # the first ends after the second
        if item == 1:
            second.set()
        return item * item

    assert map_in_threads(work, range(8), jobs=3) == [item * item for item in range(8)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_when_one_fails_nobody_is_left_at_work(error: type[BaseException]) -> None:
    started, at_work, ended = threading.Event(), [], []

    def work(item: int) -> int:
        at_work.append(item)
        try:
            if item == 1:
                started.set()
            assert started.wait(60)
            if item == 0:
                raise error("stop")
            time.sleep(0.01)  # so that the failure is seen before all are begun
            return item
        finally:
            ended.append(item)

    with pytest.raises(error, match="stop"):
        map_in_threads(work, range(2000), jobs=2)
    assert len(at_work) < 2000, "nothing is begun after a failure"
    assert sorted(at_work) == sorted(ended)
