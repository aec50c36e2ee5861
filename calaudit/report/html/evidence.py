"""What report.html shows beyond report.json: distributions from the ranges, pictures of samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from calaudit.formats.pool import open_pool
from calaudit.formats.ranges import open_ranges
from calaudit.report.html.samples import Picture, draw_samples
from calaudit.report.html.taps import Taps, make_taps
from calaudit.results.report import Report
from calaudit.runtime.errors import PoolError


@dataclass(frozen=True, slots=True)
class Evidence:
    """Facts from files other than the report; without them their parts of the page are empty."""

    taps: Taps | None = None
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    """Sample id → picture."""


def ranges_beside(report: Report, folder: Path) -> Path | None:
    """The ranges file that the audit kept beside a report in `folder`; None where it is gone."""
    if report.audit.ranges is None:
        return None
    # a report is data: the name in it may not lead out of the folder
    path = folder / "ranges" / PurePath(report.audit.ranges.replace("\\", "/")).name
    return path if path.is_file() else None


def gather_evidence(
    report: Report,
    *,
    ranges: Path | None = None,
    pool: Path | None = None,
    check_pool: bool = True,
) -> Evidence:
    """Read what report.html can show from the audit's other files.

    Parameters
    ----------
    report : Report
    ranges : Path, optional
        The audit's ranges file.
    pool : Path, optional
        The audit's pool, for pictures of the exemplars; read only if the report has some.
    check_pool : bool
        Whether to compare the pool's content with what was audited, which reads all of it.

    Raises
    ------
    FileFormatError
        A file can't be read.
    PoolError
        The pool isn't the audit's.
    """
    taps = None if ranges is None else make_taps(report, open_ranges(ranges))
    ids = {one.id for group in report.exemplars for one in group.shown}
    if pool is None or not ids:
        return Evidence(taps)
    with open_pool(pool) as opened:
        if check_pool and opened.fingerprint() != report.audit.pool.fingerprint:
            raise PoolError(
                "isn't the pool that was audited: its content differs",
                where=pool,
                next_step=f"Give the pool that was {report.audit.pool.name} then, or none.",
            )
        return Evidence(taps, draw_samples(opened, ids))
