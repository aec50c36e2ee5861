"""Forms of the report: what it can be written as, by name.

A form is one module or folder that offers a :class:`Form`. Entry points of the group
``calaudit.forms`` name them, so another package can add one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from shutil import rmtree
from typing import TYPE_CHECKING, Final

from calaudit.runtime.errors import (
    CalauditError,
    Notice,
    OutputError,
    PoolError,
    Problem,
    SettingsError,
    near,
)
from calaudit.runtime.registry import BUILT_IN, Registry
from calaudit.runtime.user_code import blamed

if TYPE_CHECKING:
    from calaudit.calibration.observation import Observation
    from calaudit.results.report import Report
    from calaudit.runtime.pool import Pool


@dataclass(frozen=True, slots=True)
class Evidence:
    """The audit's other files, for forms that show more than the report; any may be missing."""

    observation: "Observation | None" = None
    """The ranges: histograms of every tap per calibration set and slice."""
    pool: "Pool | None" = None
    pictures: Path | None = None
    """Folder of the pictures that the report names."""
    text: str | None = None
    """What report.json holds, for a form that carries it; it is made again where this is None."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the report."""

    file_name: str
    """Of what is written, in the audit's results folder."""
    write: "Callable[[Report, Evidence, Path], None]"
    """Writes the report to a path: an empty file of another name beside the final one, which
    becomes it when the function returns and is deleted when it raises."""
    in_all: bool = True
    """Whether it is written where nothing or ``all`` is asked for."""
    uses_evidence: bool = False
    """Whether it looks at more than the report."""


class FormsError(OutputError):
    """Some forms of a report couldn't be written; all the others were."""

    report: "Report"
    """The report itself, which is whole."""
    written: tuple[Path, ...] = ()
    """Forms that were written."""
    failed: tuple[str, ...] = ()
    """Names of those that weren't."""


FORMS: Final[Registry[Form]] = Registry(
    "calaudit.forms",
    "form of the report",
    lambda found: isinstance(found, Form),
    "a calaudit.report.forms.Form",
)


def parse_forms(
    asked: str | Sequence[str], *, where: str, tell: Callable[[Notice], None] = lambda _: None
) -> tuple[str, ...]:
    """Names of forms, in a list or a text with commas; ``"all"`` and ``"none"`` are understood.

    ``"all"`` goes without those of other packages that can't be loaded, and says so to `tell`.

    Raises
    ------
    SettingsError
        There is no form of a name, or two forms would write the same file.
    """
    listed = asked.split(",") if isinstance(asked, str) else asked
    if not isinstance(listed, Sequence) or not all(isinstance(name, str) for name in listed):
        raise SettingsError(
            f"should be names of forms (got {asked!r})",
            where=where,
            next_step=f"Name some of {', '.join(FORMS.names())}; or all, or none.",
        )
    names = [name.strip() for name in listed if name.strip()]
    if names == ["none"]:
        return ()
    known = [*FORMS.names(), "all", "none"]
    unknown = [name for name in names if name not in FORMS and name != "all"]
    if unknown or not names:
        message = f"there is no format {unknown[0]!r}" if unknown else "no format is named"
        next_step = near(unknown[0] if unknown else "", known, limit=len(known))
        if "none" in unknown:
            message = "'none' can't be combined with other formats"
            next_step = "Leave it out, or name no other format."
        raise SettingsError(message, where=where, next_step=next_step)
    chosen = {name: None for name in names if name != "all"}
    if "all" in names:
        chosen = dict.fromkeys(n for n in FORMS.names() if n in names or _is_usual(n, tell))
    _check_files(chosen, where)
    return tuple(chosen)


def _is_usual(name: str, tell: Callable[[Notice], None]) -> bool:
    """Whether a form that nobody named is written where all are asked for."""
    try:
        return FORMS.load(name).in_all
    except SettingsError as error:
        if FORMS.package(name) == BUILT_IN:  # what a reader counts on isn't left out
            raise
        told = "; ".join(each.message for each in error.problems)
        tell(Notice("form_left_out", f"the form {name} is left out: {told}"))
        return False


def _check_files(names: Iterable[str], where: str) -> None:
    taken: dict[str, str] = {}
    for name in names:
        file = FORMS.load(name).file_name
        if PurePath(file).name != file:
            raise SettingsError(
                f"the form {name} writes {file!r}, which is no file's name",
                where=where,
                next_step=f"Fix {FORMS.package(name)}, or leave the form out.",
            )
        if taken.setdefault(file, name) != name or (file == "report.json" and name != "json"):
            other = taken[file] if taken[file] != name else "the report itself"
            raise SettingsError(
                f"{name} and {other} both write {file}",
                where=where,
                next_step="Leave one of them out.",
            )


def write_forms(
    report: "Report", folder: Path, names: Iterable[str], *, evidence: Evidence | None = None
) -> list[Path]:
    """Write a report in several forms into one folder; the paths written.

    Parameters
    ----------
    report : Report
    folder : Path
    names : iterable of str
        Of :data:`FORMS`.
    evidence : Evidence, optional
        What forms may show beyond the report.

    Raises
    ------
    FormsError
        Files that can't be written, or another package's forms that failed. What these had written
        is deleted; every form that can be written is.
    """
    written: list[Path] = []
    failed: list[str] = []
    problems: list[Problem] = []
    for name in names:
        try:
            written.append(_write_form(report, folder, name, evidence or Evidence()))
        except CalauditError as error:
            failed.append(name)
            problems += error.problems
    if failed:
        told = FormsError.of(problems)
        assert isinstance(told, FormsError)
        told.report, told.written, told.failed = report, tuple(written), tuple(failed)
        raise told
    return written


def _write_form(report: "Report", folder: Path, name: str, evidence: Evidence) -> Path:
    from calaudit.formats.writing import atomic_write

    form = FORMS.load(name)
    path = folder / form.file_name
    package = FORMS.package(name)
    offer = f"the form {name} of the package {package}"
    told = blamed(offer, "failed", OutputError)
    with atomic_write(path) as aside:
        with nullcontext() if package == BUILT_IN else told:
            form.write(report, evidence, aside)
        if package != BUILT_IN:
            _check_written(aside, path, offer)
    return path


def remove_forms(folder: Path, *, but: Iterable[str] = ()) -> tuple[Path, ...]:
    """Delete the forms in a results folder that an earlier run wrote; the paths deleted.

    Parameters
    ----------
    folder : Path
        The caller holds it.
    but : iterable of str
        Names of forms that stay.

    Raises
    ------
    OutputError
        One can't be deleted.
    """
    kept = {"report.json", *(FORMS.load(name).file_name for name in but)}
    known = []
    for name in FORMS.names():
        with suppress(SettingsError):  # one that can't be loaded has written nothing
            known.append(FORMS.load(name).file_name)
    removed = []
    for file in dict.fromkeys(known):
        path = folder / file
        if file in kept or PurePath(file).name != file or not path.is_file():
            continue
        try:
            path.unlink()
        except OSError as error:
            raise OutputError(
                f"tells of an earlier report and can't be deleted: {error.strerror}",
                where=path,
                next_step="Check the folder's permissions.",
            ) from error
        removed.append(path)
    return tuple(removed)


def _check_written(aside: Path, path: Path, offer: str) -> None:
    """Refuse what another package's form left instead of a file. Raises `OutputError`."""
    if aside.is_dir() and not aside.is_symlink():
        rmtree(aside)
        wrong = "made a folder where it was given a file to write"
    elif aside.is_symlink() or not aside.is_file():
        wrong = "removed the file that it was given to write, or put something else there"
    elif aside.stat().st_size == 0:
        wrong = "wrote nothing into the file that it was given"
    else:
        return
    raise OutputError(
        f"{offer} {wrong}", where=path, next_step="Fix the package, or leave the form out."
    )


def form_path(folder: Path, name: str) -> Path:
    """Where a form is written in a results folder."""
    return folder / FORMS.load(name).file_name


def ranges_beside(report: "Report", folder: Path) -> Path | None:
    """The ranges file that the audit kept beside a report in `folder`; None where it is gone."""
    if report.audit.ranges is None:
        return None
    # a report is data: the name in it may not lead out of the folder
    path = folder / "ranges" / PurePath(report.audit.ranges.replace("\\", "/")).name
    return path if path.is_file() else None


@contextmanager
def open_evidence(
    report: "Report",
    *,
    ranges: Path | None = None,
    pool: Path | None = None,
    pictures: Path | None = None,
) -> Iterator[Evidence]:
    """Open the audit's other files.

    Parameters
    ----------
    report : Report
    ranges : Path, optional
        The audit's ranges file.
    pool : Path, optional
        The audit's pool; read only if the report has samples to show. Its content is compared with
        what was audited, which reads all of it.
    pictures : Path, optional
        The folder of pictures beside the report.

    Raises
    ------
    FileFormatError
        A file can't be read.
    PoolError
        The pool isn't the audit's.
    """
    from calaudit.formats.pool import open_pool
    from calaudit.formats.ranges import open_ranges

    observation = None if ranges is None else open_ranges(ranges)
    if pool is None or not any(group.shown for group in report.exemplars):
        yield Evidence(observation, None, pictures)
        return
    with open_pool(pool) as opened:
        if opened.fingerprint() != report.audit.pool.fingerprint:
            raise PoolError(
                "isn't the pool that was audited: its content differs",
                where=pool,
                next_step=f"Give the pool that was {report.audit.pool.name} then, or none.",
            )
        yield Evidence(observation, opened, pictures)
