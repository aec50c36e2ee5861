"""A small audit that is finished, opened as a replay opens it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from calaudit.ab.answers import AnswerKeeper, Wanted
from calaudit.ab.asked import Asked
from calaudit.ab.comparing import Requests
from calaudit.ab.opened import Known, open_known, read_log, scheduled, wanted_outputs
from calaudit.ab.scoring import MetricScores, cell_of, judged_by_request
from calaudit.ab.traffic import Traffic
from calaudit.audit.prepare import Audit, Overrides, prepared_audit
from calaudit.results.ab import Mode
from tests.audit.world import make_world
from tests.cli.running import calaudit

HARMED = "loud only/minmax"


@dataclass(frozen=True, eq=False)
class Opened:
    """An audit, and what its engines answer."""

    audit: Audit
    known: Known

    def requests(self, mode: Mode, n: int = 1500) -> Requests:
        """So many, each by a user of its own."""
        asked = _asked(mode, n)
        return scheduled(self.audit, asked, read_log(self.audit, asked, lambda notice: None))[1]

    def scores(self) -> MetricScores:
        """Top-1 accuracy of what the audit's engines answered."""
        cells = {cell_of(arm): given for arm, given in enumerate(self.known.arms)}
        judged = judged_by_request(self.audit, cells, self.known.reference, metrics=("top1",))
        return judged.metrics[0]

    def keeper(self, requests: Requests) -> AnswerKeeper:
        """Keeps answers as a replay does."""
        kept = self.audit.kept(self.audit.plan.cells[0])
        wanted = Wanted(wanted_outputs(self.audit), kept, self.known.reference)
        return AnswerKeeper(wanted, requests.rows, requests.judged)


def _asked(mode: Mode, n: int) -> Asked:
    made = Traffic(rate=500.0, users=n, skew=0.0, seed=3)
    return Asked(arms=("fp32", HARMED), requests=made, n=n, mode=mode, metrics=("top1",))


@contextmanager
def opened_world(folder: Path) -> Iterator[Opened]:
    """FP32 against an engine that does harm on quiet samples."""
    path = make_world(folder, n=2400)
    assert calaudit("compare", path, "--formats", "none").status == 1
    with prepared_audit(path, Overrides()) as audit:
        yield Opened(audit, open_known(audit, _asked("split", 10)))
