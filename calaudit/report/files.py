"""report.json on disk: written whole or not at all, never without satisfying the schema.

As a form of the report it writes an older file again as this release's version has it.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pydantic_core import to_json

from calaudit.formats.writing import atomic_write
from calaudit.report.forms import Evidence, Form
from calaudit.results.document import inconsistencies, read_document, to_document
from calaudit.results.report import Report
from calaudit.results.schema import SHOWN, schema_problems
from calaudit.runtime.errors import FileFormatError


def write_report(
    report: Report, path: Path | str, *, replacing: Callable[[], object] | None = None
) -> str:
    """Write report.json: UTF-8, one key per line, the same bytes for the same report.

    Parameters
    ----------
    report : Report
    path : Path
    replacing : callable, optional
        Is called when the file was written aside, before it takes its place.

    Returns
    -------
    str
        What it holds.

    Raises
    ------
    FileFormatError
        The report breaks its own schema or contradicts itself; nothing is written.
    OutputError
        The file can't be written.
    """
    path = Path(path)
    document = to_document(report)
    problems = schema_problems(document, where=path) or list(inconsistencies(report, where=path))
    if problems:
        raise FileFormatError.of(problems[:SHOWN])
    text = dump(document)
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8")
        if replacing is not None:
            replacing()
    return text


def read_report(path: Path | str) -> Report:
    """Read report.json.

    Raises
    ------
    FileFormatError
        Missing, not JSON, not a report, of another version, or broken: every problem with its
        place in the file.
    """
    path = Path(path)
    return read_document(_read_json(path), where=path)


def dump(document: Any) -> str:
    """`document` as deterministic JSON text with a final newline.

    Raises
    ------
    ValueError
        For NaN or an infinity, which JSON doesn't have.
    """
    try:
        text = to_json(document, indent=1) + b"\n"
    except ValueError:
        # file names that aren't UTF-8 reach Python as lone surrogates, which no UTF-8 file can hold
        made = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)
        return re.sub("[\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", made) + "\n"
    # no line within a text ends so: its own line breaks are escaped, and a quote ends it
    if any(word + end in text for word in (b"NaN", b"Infinity") for end in (b"\n", b",\n")):
        raise ValueError("NaN and infinities aren't JSON numbers")
    return text.decode()


def _read_json(path: Path) -> Any:
    again = "Run calaudit compare again to write a new one."
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except FileNotFoundError:
        raise FileFormatError(
            "there is no such file", where=path, next_step="Check the path."
        ) from None
    except OSError as error:
        raise FileFormatError(f"can't be read: {error.strerror or error}", where=path) from None
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"isn't JSON: {error}", where=path, next_step=again) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} isn't a JSON number")


def _write(report: Report, evidence: Evidence, path: Path) -> None:
    write_report(report, path)


JSON = Form("report.json", _write, in_all=False)
