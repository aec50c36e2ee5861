"""Several engines at a time give what one after the other gives, and leave nothing at work."""

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from calaudit.audit.engines import map_in_threads
from calaudit.audit.prepare import Overrides
from calaudit.audit.run import run_audit
from calaudit.formats.predictions import Predictions
from calaudit.results.document import to_document, without_times
from tests.audit.world import make_world
from tests.cli.running import calaudit


def test_any_number_of_jobs_gives_the_same_predictions_and_report(tmp_path: Path) -> None:
    audit = make_world(tmp_path)
    one, _ = run_audit(audit, Overrides(out=tmp_path / "1"))
    for jobs in (2, 5):
        out = tmp_path / str(jobs)
        several, _ = run_audit(audit, Overrides(out=out, jobs=jobs))
        assert without_times(to_document(several)) == without_times(to_document(one))
        for path in sorted((tmp_path / "1" / "predictions").glob("*.h5")):
            first, second = Predictions(path), Predictions(out / "predictions" / path.name)
            assert np.array_equal(first.read("y"), second.read("y"))
        assert list(out.rglob("*.part")) == []
        shutil.rmtree(out)


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
