"""A run that is killed at the worst moments is taken up by the next as if nothing had been.

The moments are counted, not timed: the process ends itself, as ``kill -9`` would, right before or
right after one of the renames that put a finished file into place, or while HDF5 is written.
"""

import signal
from pathlib import Path

import pytest

from calaudit.audit.run import run_audit
from calaudit.results.document import to_document, without_times
from tests.audit.world import make_world
from tests.forked import run_program

pytestmark = pytest.mark.slow

KILLED = """
import os, signal, sys
from pathlib import Path
import h5py
from calaudit.audit.run import run_audit

kind, number = sys.argv[2], int(sys.argv[3])
done = {"before": 0, "after": 0, "within": 0}

def passed(moment):
    done[moment] += 1
    if moment == kind and done[moment] == number:
        os.kill(os.getpid(), signal.SIGKILL)

def replace(source, target, put=os.replace):
    passed("before")
    put(source, target)
    passed("after")

def store(self, key, value, put=h5py.Dataset.__setitem__):
    put(self, key, value)
    passed("within")

os.replace = replace
h5py.Dataset.__setitem__ = store
run_audit(Path(sys.argv[1]))
print("ended by itself")
"""


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    report, _ = run_audit(make_world(tmp_path_factory.mktemp("whole"), n=400))
    return without_times(to_document(report))


@pytest.mark.parametrize(
    ("kind", "number"),
    [("before", 1), ("within", 2), ("after", 11), ("before", 24)],
)
def test_a_killed_run_is_taken_up(
    tmp_path: Path, expected: dict[str, object], kind: str, number: int
) -> None:
    audit = make_world(tmp_path, n=400)
    killed = run_program(KILLED, audit, kind, number)
    assert killed.status == -signal.SIGKILL, killed.out + killed.err
    assert not (tmp_path / "audit" / "report.json").exists()
    report, path = run_audit(audit)
    assert without_times(to_document(report)) == expected
    assert path.exists()
    assert list(tmp_path.rglob("*.part")) == []
