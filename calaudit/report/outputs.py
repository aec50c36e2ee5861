"""The forms a report is written in beside report.json, by name."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from calaudit.report.html.evidence import Evidence
from calaudit.report.html.page import write_html
from calaudit.report.junit import write_junit
from calaudit.report.markdown import write_markdown
from calaudit.report.prometheus import write_prometheus
from calaudit.results.report import Report
from calaudit.runtime.errors import SettingsError, near

FILE_NAMES: Mapping[str, str] = {
    "html": "report.html",
    "junit": "junit.xml",
    "markdown": "summary.md",
    "prometheus": "metrics.prom",
}
"""Form → file name."""

_WRITERS: Mapping[str, Callable[[Report, Path], None]] = {
    "junit": write_junit,
    "markdown": write_markdown,
    "prometheus": write_prometheus,
}


def parse_formats(text: str, *, where: str) -> tuple[str, ...]:
    """Names of forms in a list with commas; ``"all"`` and ``"none"`` are understood.

    Raises
    ------
    SettingsError
        There is no form of a name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if "all" in names:
        return tuple(FILE_NAMES)
    if names == ["none"]:
        return ()
    known = [*FILE_NAMES, "all", "none"]
    unknown = [name for name in names if name not in FILE_NAMES]
    if not unknown and names:
        return tuple(dict.fromkeys(names))
    message = f"there is no format {unknown[0]!r}" if unknown else "no format is named"
    if "none" in unknown:
        message = "'none' stands alone"
        next_step = "Leave it out, or name no other format."
    else:
        next_step = near(unknown[0] if unknown else "", known, limit=len(known))
    raise SettingsError(message, where=where, next_step=next_step)


def write_outputs(
    report: Report, folder: Path, formats: Iterable[str], *, evidence: Evidence | None = None
) -> list[Path]:
    """Write a report in several forms into one folder; the paths written.

    Parameters
    ----------
    report : Report
    folder : Path
    formats : iterable of str
        Keys of :data:`FILE_NAMES`.
    evidence : Evidence, optional
        What report.html shows beyond the report.

    Raises
    ------
    OutputError
        A file can't be written.
    """
    written = []
    for name in formats:
        path = folder / FILE_NAMES[name]
        if name == "html":
            write_html(report, path, evidence=evidence)
        else:
            _WRITERS[name](report, path)
        written.append(path)
    return written
