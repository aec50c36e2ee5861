"""A finished audit: its report, where its files lie, and the cell that is chosen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from calaudit.audit.config import read_audit
from calaudit.audit.keys import content_key
from calaudit.audit.store import state_of
from calaudit.formats.calibset import Calibset, open_calibset
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.report.files import read_report
from calaudit.report.index import Index
from calaudit.results.audited import CellRecord
from calaudit.results.comparison import Verdict
from calaudit.results.recommendation import Outcome
from calaudit.results.report import Report
from calaudit.runtime.errors import (
    FileFormatError,
    ModelError,
    Notice,
    SettingsError,
    near,
)
from calaudit.runtime.words import command_line, counted, visible

RECOMMENDED: Final = Path("recommend", "recommended.toml")
"""What ``calaudit recommend`` writes, within the audit's results folder unless it is said."""
_RUN = "Run calaudit compare again: it makes what is missing or damaged."


@dataclass(frozen=True, slots=True)
class Finished:
    """The report of an audit, with the files that it names."""

    report: Report
    path: Path
    """Of report.json."""
    beside: Path
    """What paths of the audit file are relative to."""
    notices: tuple[Notice, ...] = ()

    def file(self, name: str) -> Path:
        """A file that the report names, as the audit wrote it.

        Raises
        ------
        FileFormatError
            It is gone, or was changed.
        """
        path = self.path.parent / name
        if not path.is_file():
            raise FileFormatError("isn't there", where=path, next_step=_RUN)
        if state_of(path) == "damaged":
            raise FileFormatError("isn't what the audit wrote", where=path, next_step=_RUN)
        return path

    def model(self, given: Path | None) -> Model:
        """The FP32 model that was audited.

        Parameters
        ----------
        given : Path, optional
            Where it is; default: where the audit file says.

        Raises
        ------
        ModelError
            It isn't there, or is another one.
        """
        path = given or self.beside / str(_table(self.report, "audit").get("model", ""))
        if not path.is_file():
            raise ModelError(
                "the FP32 model isn't there",
                where=path,
                next_step="Give the model that was audited by --model.",
            )
        model = load_model(path)
        wanted = self.report.audit.model.fingerprint
        if model.fingerprint != wanted:
            raise ModelError(
                f"isn't the model that was audited (its fingerprint is {model.fingerprint}, the "
                f"report's {wanted})",
                where=path,
                next_step="Give the model that was audited by --model.",
            )
        return model

    def engine(self, cell: CellRecord) -> Path:
        """The file of an engine that somebody else made.

        Raises
        ------
        FileFormatError
            It isn't where the audit file says, or its answers are all there is.
        """
        told = cell.foreign
        tables = _tables(self.report, "engines")
        named = [each.get("file") for each in tables if told and each.get("name") == told.name]
        path = self.beside / str(named[0] if named else "")
        if told is None or told.kind == "answers":
            raise FileFormatError(
                f"of {cell.id} the answers were given, and no engine",
                where=path,
                next_step="Export an engine that has a file.",
            )
        if not path.is_file():
            raise FileFormatError(
                f"the engine {cell.id} isn't there",
                where=path,
                next_step="Put it where the audit file says.",
            )
        return path

    def calibset(self, name: str) -> Calibset:
        """A calibration set of the audit.

        Raises
        ------
        FileFormatError
            It isn't there, or is another one.
        """
        record = next(each for each in self.report.calibsets if each.name == name)
        path = self.path.parent / (record.file or f"calibsets/{name}.h5")
        if not path.is_file():
            given = (each.get("file") for each in _tables(self.report, "calibsets"))
            named = [str(each) for each in given if each and Path(str(each)).name == path.name]
            path = self.beside / named[0] if named else path
        found = open_calibset(path)
        if record.fingerprint not in {None, found.fingerprint}:
            raise FileFormatError(
                f"isn't the calibration set {name!r} of the report: its content is another",
                where=path,
                next_step=_RUN,
            )
        return found


def open_finished(path: Path) -> Finished:
    """Find an audit's report.

    Parameters
    ----------
    path : Path
        The audit file, report.json, or the folder that holds it.

    Raises
    ------
    SettingsError
        The audit file can't be read.
    FileFormatError
        There is no report, or it can't be read.
    """
    if path.suffix != ".toml":
        path = path / "report.json" if path.is_dir() else path
        report = read_report(path)
        beside = path.absolute().parent.parent / str(_table(report, "audit").get("relative_to", ""))
        return Finished(report, path, beside)
    config = read_audit(path)
    found = config.folder / "report.json"
    if not found.is_file():
        raise FileFormatError(
            f"has no report: {visible(found)} isn't there",
            where=path,
            next_step=f"Run {command_line('calaudit', 'compare', path)} first, or give the "
            "report.json that it wrote elsewhere.",
        )
    report = read_report(found)
    notices = []
    if content_key(config.raw) != report.audit.config_fingerprint:
        message = "has changed since the report was made: what follows is the report's"
        notices.append(Notice("audit_changed", message, str(path)))
    return Finished(report, found, config.base.absolute(), tuple(notices))


def recommended(finished: Finished) -> Finished | None:
    """What ``calaudit recommend`` judged for this audit; None where there is nothing to ship.

    Of another model, pool, or other tasks, slices or gates it doesn't count: the audit has changed
    since.

    Raises
    ------
    FileFormatError
        Its report can't be read.
    """
    path = finished.path.parent / RECOMMENDED.with_suffix("") / "report.json"
    if not path.is_file():
        return None
    found = open_finished(path)
    told, mine, other = found.report.recommendation, finished.report.audit, found.report.audit
    same = (mine.model.fingerprint, mine.pool.fingerprint) == (
        other.model.fingerprint,
        other.pool.fingerprint,
    ) and all(mine.config.get(key) == other.config.get(key) for key in ("tasks", "slices", "gates"))
    if told is None or told.outcome == Outcome.NOTHING_HOLDS or not same:
        return None
    notice = Notice("recommended", f"{told.winner} is what calaudit recommend chose", str(path))
    return replace(found, notices=(*finished.notices, notice))


def choose_cell(report: Report, cell: str | None = None) -> CellRecord:
    """The engine to hand over.

    Parameters
    ----------
    report : Report
    cell : str, optional
        Its id; default: the recommended one, or else the only candidate that keeps every gate.

    Raises
    ------
    SettingsError
        There is no such engine, it has no files to hand over, or there is more than one choice.
    """
    index = Index(report)
    name = _default(index) if cell is None else cell
    if name.lower() == "fp32" and name not in index.cells:
        raise _the_model_itself(name, index)
    if name not in index.cells:
        raise SettingsError(
            f"the report has no engine {name!r}", where="CELL", next_step=near(name, index.cells)
        )
    found = index.cells[name]
    if found.status != "judged":
        raise SettingsError(
            f"engine {name!r} {'failed' if found.status == 'failed' else 'was skipped'}: "
            f"{found.reason or 'it was not evaluated'}",
            where="CELL",
            next_step=f"Choose one that was judged: {_listed(_exportable(index))}.",
        )
    if found.precision == "fp32":
        raise _the_model_itself(name, index)
    return found


def _the_model_itself(name: str, index: Index) -> SettingsError:
    return SettingsError(
        f"{name!r} is FP32, the model itself: there is nothing to export",
        where="CELL",
        next_step=f"Choose an engine: {_listed(_exportable(index))}.",
    )


def _default(index: Index) -> str:
    told = index.report.recommendation
    if told is not None and told.outcome != Outcome.NOTHING_HOLDS:
        return told.plain if told.outcome == Outcome.KEEP else told.winner
    passed = [
        cell.id
        for cell in _exportable(index)
        if cell.role == "candidate" and index.verdict_of(cell.id) == Verdict.PASS
    ]
    if len(passed) == 1:
        return passed[0]
    which = f"{counted(len(passed), 'candidate')} keep" if passed else "no candidate keeps"
    offered = [index.cells[each] for each in passed] or _exportable(index)
    why, advice = "none of what was tried holds", ""
    if told is None:
        why = "nothing is recommended"
        advice = "; or run calaudit recommend, whose choice is then exported"
    raise SettingsError(
        f"{which} every gate, and {why}: which engine is meant?",
        where="CELL",
        next_step=f"Name one: {_listed(offered)}{advice}.",
    )


def _exportable(index: Index) -> list[CellRecord]:
    cells = index.report.cells
    return [each for each in cells if each.status == "judged" and each.precision != "fp32"]


def _listed(cells: Iterable[CellRecord], limit: int = 12) -> str:
    names = [visible(cell.id) for cell in cells]
    if not names:
        return "there is none"
    return ", ".join(names[:limit]) + (f", … {len(names)} in all" if len(names) > limit else "")


def _table(report: Report, name: str) -> Mapping[str, Any]:
    found = report.audit.config.get(name)
    return found if isinstance(found, Mapping) else {}


def _tables(report: Report, name: str) -> list[Mapping[str, Any]]:
    found = report.audit.config.get(name)
    found = found if isinstance(found, list | tuple) else []
    return [each for each in found if isinstance(each, Mapping)]
