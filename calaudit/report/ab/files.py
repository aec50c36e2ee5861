"""ab.json and ab.html on disk: written whole or not at all."""

import json
from pathlib import Path

from calaudit.formats.writing import write_text
from calaudit.report.ab.page import ab_page
from calaudit.report.files import dump
from calaudit.results.ab import AbRecord
from calaudit.results.ab_document import ab_problems, ab_to_document, read_ab_document
from calaudit.results.schema import SHOWN
from calaudit.runtime.errors import FileFormatError, OutputError

NAME = "ab.json"
PAGE = "ab.html"


def write_ab(record: AbRecord, folder: Path) -> Path:
    """Write ab.json and ab.html into a folder, which is made if it isn't there.

    Returns
    -------
    Path
        Of ab.json.

    Raises
    ------
    FileFormatError
        The record breaks its own schema; nothing is written.
    OutputError
        A file can't be written.
    """
    path = folder / NAME
    document = ab_to_document(record)
    problems = ab_problems(document, record, where=path)
    if problems:
        raise FileFormatError.of(problems[:SHOWN])
    page = ab_page(record)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"can't be made: {error.strerror or error}",
            where=folder,
            next_step="Choose another output folder, or check its free space and permissions.",
        ) from error
    write_text(path, dump(document))
    write_text(folder / PAGE, page)
    return path


def read_ab(path: Path) -> AbRecord:
    """Read ab.json.

    Raises
    ------
    FileFormatError
        Missing, not JSON, or not an A/B record.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"can't be read: {error.strerror or error}", where=path) from None
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"isn't JSON: {error}", where=path, next_step="Run calaudit ab again."
        ) from None
    return read_ab_document(document, where=path)
