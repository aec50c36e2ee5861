"""The scale table on disk: JSON that a person can read and edit."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Literal

from calaudit.calibration.methods import N_STEPS
from calaudit.calibration.scales import RangesBy, ScaleTable, TapScale
from calaudit.formats.writing import write_text
from calaudit.runtime.errors import CalauditError, FileFormatError, Notice, Problem, SettingsError
from calaudit.runtime.settings import parse_settings, setting

FORMAT = "scales"
# 1: method, options, calibset, ranges_by, model_fingerprint, taps {name: {amax, scale}}, notices
# 2: options may be texts (entropy-trt's calibration_order)
FORMAT_VERSION = 2
MADE_BY = "`calaudit calibrate`"


@setting
class _StoredScale:
    amax: float
    scale: float

    def __post_init__(self) -> None:
        if not math.isclose(self.amax, self.scale * N_STEPS, rel_tol=1e-6):
            raise SettingsError(
                f"amax {self.amax!r} isn't {N_STEPS} times scale {self.scale!r}",
                next_step="Fix one of the two.",
            )


@setting
class _StoredNotice:
    code: str
    message: str
    where: str | None = None


@setting
class _Stored:
    calaudit_format: Literal["scales"]
    format_version: int
    method: str
    calibset: str
    taps: dict[str, _StoredScale]
    options: dict[str, float | str] = field(default_factory=dict)
    ranges_by: RangesBy = "calaudit"
    model_fingerprint: str | None = None
    notices: list[_StoredNotice] = field(default_factory=list)


def write_scales(path: Path | str, table: ScaleTable) -> None:
    """Write a scale table, whole or not at all.

    Raises
    ------
    OutputError
        The file can't be written.
    """
    write_text(Path(path), _text(table), check=open_scales)


def keep_scales(path: Path, table: ScaleTable) -> None:
    """Write a scale table unless the file holds just that already, and is left untouched.

    Raises
    ------
    OutputError
        The file can't be written, and lacks or differs.
    """
    text = _text(table)
    with suppress(OSError):  # what can't be read is written anew
        if path.read_bytes() == text.encode():
            return
    write_text(path, text, check=open_scales)


def _text(table: ScaleTable) -> str:
    content = {
        "calaudit_format": FORMAT,
        "format_version": FORMAT_VERSION,
        "method": table.method,
        "options": dict(table.options),
        "calibset": table.calibset,
        "ranges_by": table.ranges_by,
        "model_fingerprint": table.model_fingerprint,
        "taps": {name: asdict(tap) for name, tap in table.taps.items()},
        "notices": [asdict(notice) for notice in table.notices],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def open_scales(path: Path | str) -> ScaleTable:
    """Read a scale table. Scales come back bit for bit as they were written.

    Raises
    ------
    FileFormatError
        The file is missing, not JSON, not a scale table, of a newer version, or holds a scale
        that isn't finite, positive and normal or isn't amax / 127. Every problem is named.
    """
    path = Path(path)
    content = _read_json(path)
    found = content.get("calaudit_format")
    if found != FORMAT:
        raise FileFormatError(
            f"isn't a scale table: its calaudit_format is {found!r}",
            where=path,
            next_step=f"Check the path; {MADE_BY} makes one.",
        )
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise FileFormatError(
            f"has format_version {version}; this release reads up to {FORMAT_VERSION}",
            where=path,
            next_step="Update calaudit, or build the file with this release.",
        )
    try:
        return _table(parse_settings(content, _Stored, where=path))
    except CalauditError as error:
        raise FileFormatError.of(_located(problem, path) for problem in error.problems) from None


def _table(stored: _Stored) -> ScaleTable:
    return ScaleTable(
        {name: TapScale(tap.amax, tap.scale) for name, tap in stored.taps.items()},
        stored.method,
        stored.calibset,
        options=stored.options,
        ranges_by=stored.ranges_by,
        model_fingerprint=stored.model_fingerprint,
        notices=tuple(Notice(n.code, n.message, n.where) for n in stored.notices),
    )


def _located(problem: Problem, path: Path) -> Problem:
    where = problem.where or ""
    place = where if where.startswith(str(path)) else f"{path}: {where}"
    return Problem(problem.message, place, problem.next_step)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileFormatError(
            "there is no such file", where=path, next_step=f"Check the path; {MADE_BY} makes one."
        ) from None
    except UnicodeDecodeError:
        raise FileFormatError(
            "isn't text, so it isn't a scale table",
            where=path,
            next_step=f"Check the path; {MADE_BY} makes one.",
        ) from None
    except OSError as error:
        raise FileFormatError(
            f"can't be read: {error.strerror or error}", where=path, next_step="Check the path."
        ) from None
    except json.JSONDecodeError as error:
        raise FileFormatError(
            f"isn't valid JSON: {error}",
            where=path,
            next_step=f"Fix that place, or build the file again with {MADE_BY}.",
        ) from None
    if not isinstance(content, Mapping):
        raise FileFormatError(
            f"holds {type(content).__name__}, not a JSON object",
            where=path,
            next_step=f"Check the path; {MADE_BY} makes one.",
        )
    return content
