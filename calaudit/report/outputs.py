"""The forms a report is written in beside report.json, by name."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from calaudit.errors import SettingsError, near
from calaudit.report.junit import write_junit
from calaudit.report.markdown import write_markdown
from calaudit.report.prometheus import write_prometheus
from calaudit.report.records import Report

Writer = Callable[[Report, Path], None]

OUTPUTS: Mapping[str, tuple[str, Writer]] = {
    "junit": ("junit.xml", write_junit),
    "markdown": ("summary.md", write_markdown),
    "prometheus": ("metrics.prom", write_prometheus),
}
"""Form → file name, and what writes it."""


def parse_formats(text: str, *, where: str) -> tuple[str, ...]:
    """Names of forms in a list with commas; ``"all"`` and ``"none"`` are understood.

    Raises
    ------
    SettingsError
        There is no form of a name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return tuple(OUTPUTS)
    if names == ["none"]:
        return ()
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown or not names:
        known = [*OUTPUTS, "all", "none"]
        raise SettingsError(
            f"there is no format {unknown[0]!r}" if unknown else "no format is named",
            where=where,
            next_step=near(unknown[0], known) if unknown else f"Known: {', '.join(known)}.",
        )
    return tuple(dict.fromkeys(names))


def write_outputs(report: Report, folder: Path, formats: Iterable[str]) -> list[Path]:
    """Write a report in several forms into one folder; the paths written.

    Raises
    ------
    OutputError
        A file can't be written.
    """
    written = []
    for name in formats:
        file_name, write = OUTPUTS[name]
        write(report, folder / file_name)
        written.append(folder / file_name)
    return written
